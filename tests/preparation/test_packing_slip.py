"""The packing slip: what is on it, what cannot get onto it, and that its codes can be scanned."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from slips import ATTACKS, RETURN_ADDRESS, SLIP

from daemon.preparation.papers import packing_slip
from daemon.preparation.papers.packing_slip import Contact, Slip, render
from daemon.system.printable import printable

TEXTS = st.lists(st.text(st.characters()) | st.sampled_from(ATTACKS), max_size=4).map("".join)


class Page(HTMLParser):
    """What a reader of HTML makes of a slip: its tags, its attributes, its text, its codes."""

    def __init__(self, text: str):
        super().__init__()
        self.names: set[str] = set()
        self.paths: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        """Keep the names, and what the codes are drawn with."""
        self.names |= {tag, *(f"{tag} {name}" for name, _ in attributes)}
        self.paths += [value for name, value in attributes if (tag, name) == ("path", "d")]

    def handle_data(self, data):
        """Keep the text."""
        self.texts.append(data)

    def handle_comment(self, data):
        """Count a comment as markup: the template makes none."""
        self.names.add("comment")

    @property
    def text(self) -> str:
        """All of its text, without blanks, where lines may be broken."""
        return squeezed("".join(self.texts))


def squeezed(text: str) -> str:
    """The text without its blanks."""
    return "".join(text.split())


def values(slip: Slip) -> Iterator[str]:
    """Every text of a slip that is to be read on it, a line each."""
    named = [slip.job_id, slip.device_id, slip.file_system, slip.manifest_name, slip.station]
    drive = [slip.drive.get(key) for key in ("label", "serial", "uuid", "model")]
    address = [text for key, text in slip.return_address.items() if key in RETURN_ADDRESS]
    address.remove(slip.return_address["phoneNumber"])  # it is the contact's
    contact = [slip.contact.name, slip.contact.phone, slip.contact.email]
    yield from (str(one) for one in named + drive + contact if one)
    yield from (line for line in address if line.strip())
    for text in (slip.shipping_address, slip.warning):
        yield from (line.strip() for line in text.splitlines())


@st.composite
def slips(draw) -> Slip:
    """Slips with any text in any field."""
    drive = {key: draw(st.none() | TEXTS) for key in SLIP.drive}
    texts = {
        one.name: draw(TEXTS) for one in fields(Slip) if isinstance(getattr(SLIP, one.name), str)
    }
    return replace(
        SLIP,
        **texts,
        drive=drive,
        return_address={key: draw(TEXTS) for key in RETURN_ADDRESS},
        contact=Contact(draw(TEXTS), draw(TEXTS), draw(st.none() | TEXTS)),
    )


def scanned(path: str) -> tuple[str, str]:
    """Kind and text of a code, as a scanner reads it from the drawing."""
    runs = [[int(part) for part in run] for run in re.findall(r"M(\d+) (\d+)h(\d+)v1", path)]
    width = max(x + length for x, _, length in runs)
    height = max(y for _, y, _ in runs) + 1
    margin, scale = 10, 3  # white modules around it; pixels a module
    is_bars = height == 1
    columns, rows = width + 2 * margin, (20 if is_bars else height) + 2 * margin
    pixels = [bytearray(b"\xff" * columns * scale) for _ in range(rows)]
    for x, y, length in runs:
        for row in range(margin, rows - margin) if is_bars else [y + margin]:
            start = (x + margin) * scale
            pixels[row][start : start + length * scale] = bytes(length * scale)
    image = b"".join(bytes(row) * scale for row in pixels)
    [found] = zxingcpp.read_barcodes(
        memoryview(image).cast("B", shape=[rows * scale, columns * scale])
    )
    return str(found.format), found.text


def test_everything_the_box_needs_is_on_it():
    """Every value is there, and the drive's size as it is printed on the drive."""
    text = Page(render(SLIP)).text

    for value in [*values(SLIP), "2000 GB", "Bergen Vestland 02142"]:
        assert squeezed(value) in text
    for task in ("One drive", "Cushioned", "power cable", "interface cable", "may erase"):
        assert squeezed(task) in text
    assert squeezed("Must arrive before 8 October 2026") in text
    assert squeezed("expires 8 October 2026, 20:40 UTC") in text


@given(slips())
def test_no_text_of_strangers_becomes_markup(slip):
    """Whatever any field holds, it is read as text: no tag or attribute but the template's own.

    What is too long for its box ends with an ellipsis.
    """
    page = Page(render(slip))

    assert page.names <= Page(render(SLIP)).names | {"p", "p class"}
    for value in values(slip):
        assert squeezed(printable(value)) in page.text or "\u2026" in page.text


@pytest.mark.parametrize(("length", "points"), [(20, 20), (30, 16), (60, 13), (100, 13)])
def test_text_is_made_smaller_before_it_is_wrapped(length, points):
    """Down to two thirds of the largest size; a line that is still too long is wrapped there."""
    assert packing_slip._points(["x" * length], 100, 50, 20, 1.2, is_exact=False) == points


def test_lines_that_are_left_out_are_announced():
    """A box that is full ends with an ellipsis: there is more than it shows."""
    box = Page(render(replace(SLIP, warning="one\ntwo\nthree\nfour"))).text

    assert "onetwo\u2026" in box
    assert "three" not in box


@given(slips())
def test_nothing_on_it_moves_hides_or_reorders(slip):
    """Control characters and bidirectional marks are shown as their numbers."""
    text = render(slip)

    assert text.replace("\n", "").isprintable()
    text.encode("utf-8")


def test_it_needs_nothing_but_itself():
    """No address, no file, no script: the page is the same on a machine without a network."""
    text = render(SLIP)

    for forbidden in (
        "http:",
        "https:",
        "//",
        "url(",
        "@import",
        "src=",
        "href=",
        "<script",
        "<link",
    ):
        assert forbidden not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("job_id", ["K7M3X", "53TX4", "12345", "1A234", "a-B", "Z" * 64])
def test_the_job_id_can_be_scanned(job_id):
    """The barcode and each of the three QR codes are read as the JobId."""
    page = Page(render(replace(SLIP, job_id=job_id)))

    codes = [scanned(path) for path in page.paths]
    assert codes == [("Code 128", job_id)] + [("QR Code", job_id)] * 3


def test_a_qr_code_has_white_around_it():
    """Four modules, as ISO/IEC 18004 wants it; some scanners find no code that has fewer."""
    for path in Page(render(SLIP)).paths[1:]:
        runs = [[int(part) for part in run] for run in re.findall(r"M(\d+) (\d+)h", path)]
        assert [min(place) for place in zip(*runs, strict=True)] == [4, 4]


@given(st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True))
def test_every_job_id_the_client_accepts_can_be_scanned(job_id):
    """Also long ones, and those with figures, for which Code 128 changes its alphabet."""
    page = Page(render(replace(SLIP, job_id=job_id)))

    assert {scanned(path)[1] for path in page.paths} == {job_id}


@pytest.mark.parametrize("job_id", ["", "Zürich", "A\x1bB", "A" * 65])
def test_a_job_id_no_scanner_knows_is_printed_all_the_same(job_id):
    """There is no code then, and the slip says so."""
    page = Page(render(replace(SLIP, job_id=job_id)))

    assert page.paths == []
    assert squeezed("cannot be printed as a barcode") in page.text
    assert printable(job_id) in page.text


def test_without_an_address_the_next_step_is_told():
    """Later services give no address but a carrier's label; the slip names the command."""
    text = Page(render(replace(SLIP, shipping_address=" \n"))).text

    assert squeezed("driveprep label K7M3X") in text


def test_without_a_warning_there_is_no_box_for_one():
    """What the service did not say is not on the slip."""
    text = render(replace(SLIP, warning=""))

    assert "The service says" in render(SLIP)
    assert "The service says" not in text


@pytest.mark.parametrize(
    ("size", "shown"),
    [(2_000_398_934_016, "2000 GB"), (64_023_257_088, "64 GB"), (67_108_864, "0.07 GB")],
)
def test_sizes_are_decimal_as_on_the_drive(size, shown):
    """A drive sold as 2000 GB is not told as 1863."""
    text = Page(render(replace(SLIP, drive={"size": size}))).text

    assert f"Size{squeezed(shown)}" in text


def test_a_drive_of_which_little_is_known_has_dashes():
    """A drive without label, serial, model or known size has a slip too."""
    text = Page(render(replace(SLIP, drive={"label": None}))).text

    assert "Label-Serial-UUID-Model-Size-" in text


def test_the_same_slip_gives_the_same_page():
    """Made again, it is the paper that is in the box already."""
    assert render(SLIP) == render(SLIP)


def test_the_template_is_read_once():
    """Forty drives are prepared with one: to read it takes longer than to fill it."""
    assert packing_slip._template() is packing_slip._template()


def test_addresses_stay_out_of_logs():
    """Neither return address nor contact is in the repr."""
    assert "Dokkveien" not in repr(SLIP)
    assert "Maria" not in repr(SLIP)


def test_an_idle_daemon_does_not_pay_for_it():
    """jinja2 and segno are loaded by the first slip only, and Pillow is not needed."""
    program = """
import sys
from daemon.preparation.papers.packing_slip import Contact, Slip, render
sys.modules["PIL"] = None  # an import of it would fail
heavy = {"jinja2", "segno"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
render(Slip("K7M3X", "HD001", "NTFS", {}, "", {}, Contact("", "", None), 0, 0, "", "", ""))
assert heavy <= set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
