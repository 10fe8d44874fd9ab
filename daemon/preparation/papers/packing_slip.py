"""The packing slip of a prepared job, as one printable page. Opens only its own template."""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.preparation.papers import code128
from daemon.system.printable import printable

if TYPE_CHECKING:
    from jinja2 import Template

MM_PER_POINT = 25.4 / 72
SMALLEST_POINTS = 5  # still legible in print; what does not fit is cut, with an ellipsis
RAGGED = 1.1  # rows that are wrapped at words end early and need this much more space
NO_WRAP = 2 / 3  # down to this part of the largest size, text is made smaller, not wrapped
QR_QUIET = 4  # modules of white around it, of ISO/IEC 18004
SCANNABLE = re.compile(r"[!-~]{1,64}")  # what a scanner can type; no JobId is longer

Modules = Sequence[Sequence[int]]  # rows of a code, 1 is black
_TEMPLATE_LOCK = threading.Lock()  # of several first slips at once, one reads the template


@dataclass(frozen=True, slots=True)
class Contact:
    """The person who answers the service's questions about the package."""

    name: str
    phone: str
    email: str | None  # None: the manifest has no notificationEmail


@dataclass(frozen=True, slots=True)
class Slip:
    """What the slip shows. All of it may be untrusted text."""

    job_id: str
    device_id: str
    file_system: str
    drive: Mapping[str, str | int | None]  # Drive.identities(), and size in bytes if known
    shipping_address: str  # lines; "" where the service gave none
    return_address: Mapping[str, str] = field(repr=False)  # with the manifest's keys
    contact: Contact = field(repr=False)
    submitted_at: float  # seconds since the epoch
    expires_at: float  # seconds since the epoch
    manifest_name: str
    station: str  # that prepared it
    warning: str  # the service's own; "" where it gave none
    shipment: str = ""  # date, carrier and tracking number; "" before it has left
    artifacts: Sequence[tuple[str, str]] = ()  # papers for the box: description and URL


def render(slip: Slip) -> str:
    """Return one self-contained HTML page that prints on one sheet of A4 or Letter.

    Every value is escaped, whatever it contains. The same slip gives the same text.
    """
    is_coded = SCANNABLE.fullmatch(slip.job_id) is not None
    with _TEMPLATE_LOCK:
        template = _template()
    return template.render(
        slip=slip,
        code_128=code128.modules(slip.job_id) if is_coded else None,
        qr=_qr(slip.job_id) if is_coded else None,
        drive=_drive(slip),
        contents=str(slip.drive.get("contents") or ""),
        ship_to=_lines(slip.shipping_address),
        return_to=return_lines(slip.return_address),
        contact=_contact(slip.contact),
        warning=_lines(slip.warning),
        artifacts=[" ".join(filter(None, one)) for one in slip.artifacts],
    )


@cache
def _template() -> Template:
    import jinja2  # noqa: PLC0415 - an idle daemon stays small: paid for by the first slip only

    environment = jinja2.Environment(
        autoescape=True,
        finalize=_shown,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    source = Path(__file__).with_name("packing_slip.html.j2").read_text("utf-8")
    layout = {"date": _date, "moment": _moment, "points": _points, "rows": _rows, "runs": _runs}
    layout["fitting"] = _fitting
    return environment.from_string(source, globals=layout)


def _shown(value: object) -> object:
    """Escape every value on its way into the page; the markup of the template's macros stays."""
    return value if hasattr(value, "__html__") else printable(str(value))


def _qr(text: str) -> Modules:
    import segno  # noqa: PLC0415 - as jinja2 above

    # Level Q survives a torn or smeared quarter, and is no larger for five characters.
    code = segno.make_qr(text, error="q")
    return [list(row) for row in code.matrix_iter(border=QR_QUIET)]


def _runs(modules: Modules) -> list[tuple[int, int, int]]:
    """Return the black runs of a code: column, row, length."""
    runs = []
    for y, row in enumerate(modules):
        x = 0
        for is_black, group in groupby(row):
            length = len(list(group))
            if is_black:
                runs.append((x, y, length))
            x += length
    return runs


def _drive(slip: Slip) -> dict[str, str]:
    names = {"Label": "label", "Serial": "serial", "UUID": "uuid", "Model": "model"}
    shown = {name: str(slip.drive.get(key) or "-") for name, key in names.items()}
    if bay := slip.drive.get("bay"):
        shown["Bay"] = str(bay)
    return shown | {"Size": _size(slip.drive.get("size")), "File system": slip.file_system}


def _size(size: str | int | None) -> str:
    """Return a decimal size, like the one printed on the drive itself."""
    if not isinstance(size, int):
        return size or "-"
    return f"{size / 1e9:.0f} GB" if size >= 10e9 else f"{size / 1e9:.2f} GB"


def return_lines(address: Mapping[str, str]) -> list[str]:
    """Return the address in the order of an envelope; unknown keys are left out."""
    town = " ".join(
        address[key] for key in ("city", "stateOrProvince", "postalCode") if address.get(key)
    )
    street = ("name", "company", "street1", "street2", "street3")
    lines = [*(address.get(key, "") for key in street), town, address.get("country", "")]
    return [line for line in lines if line.strip()]


def _contact(contact: Contact) -> list[str]:
    return [line for line in (contact.name, contact.phone, contact.email) if line]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _date(seconds: float) -> str:
    """Return a date such as 3 March 2026, which has one meaning in every country."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day} {moment:%B %Y}"


def _moment(seconds: float) -> str:
    return f"{_date(seconds)}, {datetime.fromtimestamp(seconds, UTC):%H:%M} UTC"


def _points(
    lines: Sequence[str], width: float, height: float, largest: int, leading: float, is_exact: bool
) -> int:
    """Return the largest font size, in points, at which the lines fit a box (millimetres)."""
    ems = [_ems(printable(line), is_exact) for line in lines]
    for points in range(largest, SMALLEST_POINTS, -1):
        row = width / (points * MM_PER_POINT)
        needed = sum(1 if length <= row else math.ceil(length * RAGGED / row) for length in ems)
        is_wrapped_early = needed > len(lines) and points > largest * NO_WRAP
        if needed <= _rows(points, height, leading) and not is_wrapped_early:
            return points
    return SMALLEST_POINTS


def _fitting(
    lines: Sequence[str], width: float, height: float, points: int, leading: float, is_exact: bool
) -> list[str]:
    """Return the lines, cut to about what fits: WeasyPrint breaks what is far too long into pages.

    The last one ends with an ellipsis if anything is missing. The box hides what is still too much.
    """
    row = width / (points * MM_PER_POINT)
    room = _rows(points, height, leading) * row  # in ems
    kept: list[str] = []
    for text in map(printable, lines):
        if room <= 0:
            return [*kept[:-1], kept[-1].removesuffix("\u2026") + "\u2026"]
        length = _ems(text, is_exact)
        kept.append(text if length <= room else f"{_head(text, room, is_exact)}\u2026")
        room -= math.ceil(length / row or 1) * row
    return kept


def _head(text: str, ems: float, is_exact: bool) -> str:
    """Return the beginning of a text that is not wider than that."""
    widths = accumulate(_em(character, is_exact) for character in text)
    return "".join(one for one, width in zip(text, widths, strict=True) if width <= ems)


def _rows(points: int, height: float, leading: float) -> int:
    """Return how many rows of text fit a box of that height (millimetres)."""
    return int(height / (points * MM_PER_POINT * leading))


def _ems(text: str, is_exact: bool) -> float:
    """Return a width that the text hardly exceeds, in units of the font size."""
    return sum(_em(character, is_exact) for character in text)


def _em(character: str, is_exact: bool) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if is_exact:
        return 0.61  # every monospaced font has 0.60
    if character == " ":
        return 0.3
    return 0.7 if character.isupper() else 0.56  # of Arial and similar fonts, on average
