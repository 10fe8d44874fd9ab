"""The slip as PDF and the sticker, by the process that makes them.

The PDF by the WeasyPrint of this environment, and by that of the distribution, if it has one:
Debian 12 has 57.2, the oldest one that is supported.
"""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from paper_codes import codes
from slips import SLIP
from test_packing_slip_in_browser import FULL, WORST

from daemon.errors import PaperError
from daemon.preparation.papers import rendering
from daemon.preparation.papers.packing_slip import render
from daemon.preparation.papers.renderer import NOT_INSTALLED, fetch, zpl
from daemon.preparation.papers.sticker import SUPPLIED

SYSTEM = "/usr/bin/python3"
VALUES = {
    "job_id": "K7M3X",
    "device_id": "HD001",
    "bay": "bay 3",
    "serial": "WX11",
    "label": "HD001",
    "expires_on": "2026-10-08",
}


def made(python, page):
    """Return what the program makes of a page in that Python."""
    command = [python, "-I", str(rendering.RENDERER)]
    data = json.dumps({"html": page}).encode()
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode == NOT_INSTALLED and python == SYSTEM:
        pytest.skip("the distribution's weasyprint is not installed")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("python", [sys.executable, SYSTEM])
@pytest.mark.parametrize(
    "slip",
    [SLIP, FULL, replace(SLIP, job_id="gpyqj", shipping_address="", warning="")],
    ids=["usual", "full", "no address"],
)
def test_all_codes_of_the_pdf_scan(python, slip):
    """The barcode and all three QR codes are read; no text is in their way."""
    found = codes(made(python, render(slip)))

    assert found == [("Code 128", slip.job_id)] + [("QR Code", slip.job_id)] * 3


@pytest.mark.parametrize("python", [sys.executable, SYSTEM])
def test_the_pdf_is_one_sheet(python):
    """Whatever is on it; the labels at its end are there, and their QR codes scan."""
    pdf = made(python, render(WORST))

    told = subprocess.run(["pdfinfo", "-"], input=pdf, capture_output=True, check=True).stdout
    assert re.search(rb"Pages: +1\n", told)
    assert codes(pdf).count(("QR Code", WORST.job_id)) == 3


def test_only_data_is_fetched():
    """No network, no file; what is part of the page is read."""
    for url in ("http://127.0.0.1/x", "file:///etc/passwd", "ftp://x", "//x", "/etc/passwd"):
        with pytest.raises(ValueError, match="is not part of the page"):
            fetch(url)

    assert fetch("data:text/css,p%7B%7D") == {"string": b"p{}", "mime_type": "text/css"}


def test_a_file_that_a_page_names_is_not_in_its_pdf(tmp_path):
    """It is left out: neither as a style sheet, nor as an image, nor attached."""
    secret = tmp_path / "secret.css"
    secret.write_text("p::after { content: 'S3CRET' }")
    page = (
        f"<link rel=stylesheet href='file://{secret}'><link rel=attachment href='file://{secret}'>"
        f"<img src='file://{secret}' alt=missing><p>page</p>"
    )

    pdf = rendering.pdf(page)

    words = subprocess.run(["pdftotext", "-", "-"], input=pdf, capture_output=True, check=True)
    assert b"page" in words.stdout
    assert b"S3CRET" not in words.stdout + pdf


def test_a_page_that_takes_too_much_is_given_up():
    """It has an error that says so, and the daemon's own memory stays small."""
    with pytest.raises(PaperError) as caught:
        rendering.pdf("<style>p { height: 9cm; width: 9cm }</style>" + "<p><i>x" * 200_000)

    assert caught.value.code == "paper-not-made"


@pytest.mark.parametrize("name", SUPPLIED)
def test_supplied_templates(name):
    """They have the JobId, the deviceId and the bay."""
    text = rendering.sticker(SUPPLIED[name].read_text(), VALUES).decode()

    for value in ("K7M3X", "HD001", "bay 3, WX11, HD001", "2026-10-08"):
        assert value in text


def test_no_value_is_a_command_of_zpl():
    """Whatever a label or deviceId holds, the printer gets it as a value."""
    hostile = "^XZ^XA^FDx~JA\\5E Ä"

    text = rendering.sticker(SUPPLIED["zpl"].read_text(), VALUES | {"device_id": hostile}).decode()

    assert r"^FD\5EXZ\5EXA\5EFDx\7EJA\5C5E \C3\84^FS" in text
    assert text.count("^XZ") == text.count("^XA") == 1
    assert "~" not in text


def test_zpl_leaves_plain_text_alone():
    """What has no meaning in ZPL stays as it is; ^FH reads the rest as UTF-8."""
    assert zpl("WD-1 _x") == "WD-1 _x"
    assert zpl("a^b\n") == r"a\5Eb\0A"


def test_without_weasyprint(tmp_path, monkeypatch):
    """It is said what to install and what works without it. One Python that has it is enough."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    monkeypatch.setattr(rendering, "PYTHONS", (str(bare), str(bare)))

    with pytest.raises(PaperError) as caught:
        rendering.pdf("<p>page")

    assert caught.value.code == "no-weasyprint"
    assert "apt-get install weasyprint" in caught.value.hint
    assert "driveprep slip JOB --open" in caught.value.hint
    monkeypatch.setattr(rendering, "PYTHONS", (str(bare), sys.executable))
    assert rendering.pdf("<p>page").startswith(b"%PDF")
