"""The packing slip of a prepared job: values in, one printable page out.

Opens no file but its own template.
"""

from __future__ import annotations

import math
import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.system.printable import printable

if TYPE_CHECKING:
    from jinja2 import Template

MM_PER_POINT = 25.4 / 72
SMALLEST_POINTS = 5  # still printed legibly; what does not fit then is cut, with an ellipsis
RAGGED = 1.1  # wrapped at words, rows end early: so much more is needed
NO_WRAP = 2 / 3  # of the largest size: rather smaller than wrapped, down to here
QR_QUIET = 4  # modules of white around it, of ISO/IEC 18004
# Of ISO/IEC 15417, which no library in both Debian 12 and Ubuntu 24.04 has: the widths of each
# symbol's bars and spaces in turn, in modules.
CODE_128 = """
212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232
122132 122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122
321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311
211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113
213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422
121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111
241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121
412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412
211214 211232
"""
CODE_128_START_B = 104
CODE_128_STOP = "2331112"
CODED = re.compile(r"[!-~]{1,64}")  # what a scanner types; the client accepts no longer JobId

Modules = Sequence[Sequence[int]]  # rows of a code, 1 is black
_READER = threading.Lock()  # of eight first slips at once, one reads the template for all


@dataclass(frozen=True, slots=True)
class Contact:
    """Who answers when the service has a question about the package."""

    name: str
    phone: str
    email: str | None  # None: the manifest has no notificationEmail


@dataclass(frozen=True, slots=True)
class Slip:
    """What the slip tells. All of it may be text of strangers."""

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
    warning: str  # the service's own; "" where it gave none


def render(slip: Slip) -> str:
    """One self-contained HTML page that prints on one sheet of A4 or Letter.

    Every value is shown escaped, whatever it holds. The same slip gives the same text.
    """
    is_coded = CODED.fullmatch(slip.job_id) is not None
    with _READER:
        template = _template()
    return template.render(
        slip=slip,
        code_128=_code_128(slip.job_id) if is_coded else None,
        qr=_qr(slip.job_id) if is_coded else None,
        drive=_drive(slip),
        ship_to=_lines(slip.shipping_address),
        return_to=_return_lines(slip.return_address),
        contact=_contact(slip.contact),
        warning=_lines(slip.warning),
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
    return environment.from_string(source, globals=layout)


def _shown(value: object) -> object:
    """Every value on its way into the page; markup of the template's own macros stays."""
    return value if hasattr(value, "__html__") else printable(str(value))


def _qr(text: str) -> Modules:
    import segno  # noqa: PLC0415 - as jinja2 above

    # Level Q survives a torn or smeared quarter, and is no larger for five characters.
    code = segno.make_qr(text, error="q")
    return [list(row) for row in code.matrix_iter(border=QR_QUIET)]


def _code_128(text: str) -> Modules:
    # Alphabet B has all that a JobId can hold, at one symbol each, in the order of ASCII.
    symbols = [CODE_128_START_B, *(ord(character) - ord(" ") for character in text)]
    check = sum(max(1, place) * symbol for place, symbol in enumerate(symbols)) % 103
    patterns = CODE_128.split()
    widths = "".join(patterns[symbol] for symbol in (*symbols, check)) + CODE_128_STOP
    return [[1 - place % 2 for place, width in enumerate(widths) for _ in range(int(width))]]


def _runs(modules: Modules) -> list[tuple[int, int, int]]:
    """The black runs of a code: column, row, length."""
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
    told = {name: str(slip.drive.get(key) or "-") for name, key in names.items()}
    return told | {"Size": _size(slip.drive.get("size")), "File system": slip.file_system}


def _size(size: str | int | None) -> str:
    """Decimal, as it is printed on the drive itself."""
    if not isinstance(size, int):
        return size or "-"
    return f"{size / 1e9:.0f} GB" if size >= 10e9 else f"{size / 1e9:.2f} GB"


def _return_lines(address: Mapping[str, str]) -> list[str]:
    """In the order of an envelope; keys that are not the manifest's are left out."""
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
    """Such as 3 March 2026, which reads the same on both sides of an ocean."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day} {moment:%B %Y}"


def _moment(seconds: float) -> str:
    return f"{_date(seconds)}, {datetime.fromtimestamp(seconds, UTC):%H:%M} UTC"


def _points(
    lines: Sequence[str], width: float, height: float, largest: int, leading: float, is_exact: bool
) -> int:
    """The largest font size, in points, with which the lines fit a box of so many millimetres."""
    ems = [_ems(printable(line), is_exact) for line in lines]
    for points in range(largest, SMALLEST_POINTS, -1):
        row = width / (points * MM_PER_POINT)
        needed = sum(1 if length <= row else math.ceil(length * RAGGED / row) for length in ems)
        is_wrapped_early = needed > len(lines) and points > largest * NO_WRAP
        if needed <= _rows(points, height, leading) and not is_wrapped_early:
            return points
    return SMALLEST_POINTS


def _rows(points: int, height: float, leading: float) -> int:
    """How many rows of text a box of so many millimetres holds."""
    return int(height / (points * MM_PER_POINT * leading))


def _ems(text: str, is_exact: bool) -> float:
    """A width that the text hardly exceeds, in units of the font size."""
    return sum(_em(character, is_exact) for character in text)


def _em(character: str, is_exact: bool) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if is_exact:
        return 0.61  # every monospaced font has 0.60
    if character == " ":
        return 0.3
    return 0.7 if character.isupper() else 0.56  # of Arial and its like, in the mean
