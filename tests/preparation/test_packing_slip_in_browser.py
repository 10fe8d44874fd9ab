"""The packing slip as a browser prints it: one sheet, nothing cut off, codes that scan.

Runs where chromium and poppler-utils are installed; with DRIVEPREP_BROWSER=1 it fails elsewhere.
"""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import zxingcpp
from slips import ATTACKS, RETURN_ADDRESS, SLIP

from daemon.preparation.papers.packing_slip import Contact, Slip, render

MISSING = [name for name in ("chromium", "pdfinfo", "pdftoppm") if not shutil.which(name)]

pytestmark = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("DRIVEPREP_BROWSER") != "1",
    reason=f"not installed: {', '.join(MISSING)} (apt-get install chromium poppler-utils)",
)

CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",  # which root has not
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAPERS = {"A4": "594.96 x 841.92", "letter": "612 x 792"}  # points, as pdfinfo shows them
ATTACK = "<img src=x onerror=document.documentElement.lang='owned'>".join(ATTACKS)
WORST = Slip(
    job_id="W" * 64,
    device_id="W\u5bb6" * 127 + "W",
    file_system="NTFS",
    drive={
        "label": "\u5bb6" * 32,
        "serial": "\u05e9" * 200,
        "uuid": ATTACK,
        "model": "\u0301" * 500,
        "size": 10**30,
    },
    shipping_address="\n".join(f"Line {number} {ATTACK}" for number in range(1, 13)),
    return_address=dict.fromkeys(RETURN_ADDRESS, ATTACK * 3),
    contact=Contact(ATTACK, "1" * 500, "\U000e0001" * 500),
    submitted_at=SLIP.submitted_at,
    expires_at=SLIP.expires_at,
    manifest_name=ATTACK,
    station="W" * 64,
    warning="\n".join([ATTACK] * 100),
)
FULL = replace(
    SLIP,
    job_id="WMWMW",
    device_id="D" * 255,
    drive=SLIP.drive | {"label": "\u5bb6" * 32, "uuid": "4e21f0a8-5c0b-7d3e-8a6c-0123456789ab"},
    shipping_address="\n".join(f"LINE {number} OF A VERY LONG ADDRESS" for number in range(1, 13)),
    return_address=RETURN_ADDRESS | {"street3": "Third floor, ring twice, ask for the archive"},
)


def browse(folder: Path, page: str, *options: str) -> bytes:
    """What chromium prints when it has opened the page with a profile of its own."""
    (folder / "slip.html").write_text(page, "utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [*CHROMIUM, profile, *options, (folder / "slip.html").as_uri()],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def printed(folder: Path, slip: Slip, paper: str) -> Path:
    """The slip as a PDF on that paper, as the printer's dialogue would choose it."""
    chosen = f"<style>@page {{ size: {paper} }}</style></head>"
    page = render(slip).replace("</head>", chosen)
    browse(folder, page, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'slip.pdf'}")
    return folder / "slip.pdf"


def scan(pdf: Path) -> list[tuple[str, str]]:
    """Kinds and texts of all codes on the sheet, at the resolution of a cheap scanner."""
    done = subprocess.run(
        ["pdftoppm", "-gray", "-r", "150", str(pdf)], capture_output=True, check=True
    )
    header = re.match(rb"P5\s(\d+)\s(\d+)\s255\s", done.stdout)
    assert header
    shape = [int(header[2]), int(header[1])]
    pixels = memoryview(done.stdout[header.end() :]).cast("B", shape=shape)
    return sorted((str(code.format), code.text) for code in zxingcpp.read_barcodes(pixels))


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("slip", [SLIP, WORST], ids=["usual", "worst"])
def test_it_is_one_sheet_of_paper(tmp_path, paper, slip):
    """Whatever is on it, there is one page, and its size is the paper's."""
    pdf = printed(tmp_path, slip, paper)

    told = subprocess.run(["pdfinfo", str(pdf)], capture_output=True, check=True, text=True).stdout
    assert re.search(r"Pages:\s+1\n", told)
    assert PAPERS[paper] in told


@pytest.mark.parametrize("job_id", ["K7M3X", "gpyqj"])
def test_its_codes_scan_from_the_sheet(tmp_path, job_id):
    """The printed barcode and all three QR codes are read; no text is in their way."""
    codes = scan(printed(tmp_path, replace(SLIP, job_id=job_id), "letter"))

    assert codes == [("Code 128", job_id)] + [("QR Code", job_id)] * 3


@pytest.mark.parametrize(
    "slip",
    [SLIP, replace(SLIP, warning=""), replace(SLIP, shipping_address=""), FULL],
    ids=["usual", "no warning", "no address", "full"],
)
def test_nothing_of_it_is_cut_off(tmp_path, slip):
    """The longest texts that service and drives are known to give are there to the last letter."""
    measure = """<script>
        const cut = [...document.querySelectorAll("main, main *")].filter(one =>
            getComputedStyle(one).overflowY == "hidden"
            && (one.scrollHeight > one.clientHeight + 1 || one.scrollWidth > one.clientWidth + 1));
        document.body.textContent = "cut off: " + cut.map(one => one.outerHTML).join(" ") + ".";
    </script></body>"""
    page = re.sub("<meta http-equiv[^>]*>", "", render(slip)).replace("</body>", measure)

    assert b"cut off: ." in browse(tmp_path, page, "--dump-dom")


def test_nothing_in_it_runs(tmp_path):
    """Not even where a browser ignores the page's own policy against scripts."""
    page = re.sub("<meta http-equiv[^>]*>", "", render(WORST))

    shown = browse(tmp_path, page, "--dump-dom")

    assert b'<html lang="en"' in shown
    assert b"<img" not in shown
    assert b"<script" not in shown
