"""Takes the pictures of docs/board.md: a bench in the middle of a day, as each screen shows it.

Usage: sudo .venv/bin/pytest tests/board/browser/pictures.py
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import private_mounts
import pytest
import udev_database
from as_operator import manifest_for
from board_process import beside
from daemon_process import DaemonProcess
from playwright.sync_api import expect

udev = udev_database.udev
MEDIA = Path("/media")
PLACE = Path(__file__).parents[3] / "docs" / "pictures"
BAYS = {f"bay {number}": f"usb-{number}" for number in range(1, 9)}
KINDS = {
    "board": ("/", {"color_scheme": "light"}),
    "board-dark": ("/", {"color_scheme": "dark"}),
    "board-wall": ("/?wall", {"color_scheme": "dark"}),
    "board-phone": ("/", {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"}),
}


@pytest.fixture(autouse=True)
def _media():
    """A /media of the tests' own."""
    subprocess.run(["mount", "-t", "tmpfs", private_mounts.SOURCE, MEDIA], check=True)
    yield
    subprocess.run(["umount", "--lazy", MEDIA], check=True)


@pytest.fixture
def daemon(start) -> DaemonProcess:
    """A daemon with eight named bays."""
    return start(bays=BAYS, station="Bench 7")


@pytest.fixture
def board(daemon, tmp_path):
    """A board beside it."""
    with beside(daemon, tmp_path / "board") as process:
        yield process


def own(device_id: str) -> bytes:
    """A manifest without any placeholder."""
    text = manifest_for(device_id).replace(b"Your ", b"").replace(b"Optional 2nd", b"c/o")
    return text.replace(b"mybucket", b"our-bucket")


def test_pictures(plug, service, daemon, board, screen, udev):
    """Each is looked at by a person afterwards; here only that everything is on them."""
    media = MEDIA / "olga"  # in the mounts of the tests alone
    for number in range(60, 90):
        daemon.drop(f"HD{number:03}", own(f"HD{number:03}"))
    plugged = {"bay 1": "HD001", "bay 2": "HD014", "bay 3": "HD007", "bay 4": "HD022",
               "bay 6": "WD-30K5521", "bay 8": "HD009"}  # fmt: skip
    for bay, name in plugged.items():
        drive = plug(name)
        drive.mount_point = media / name
        udev.describe(drive.device, ID_PATH=BAYS[bay])
        if name.startswith("HD"):
            daemon.drop(name, own(name))
        drive.mount("ro") if name == "HD007" else drive.mount()
    daemon.until("four are filed", lambda: len(list((daemon.spool / "prepared").iterdir())) == 4)
    away = {job.device_id: job for job in service.jobs}
    daemon.command("shipped", "HD009", "--carrier", "DHL", "--tracking", "00340434161")
    service.move(away["HD009"].job_id, location_code="AtAWS", progress_code="Started")
    daemon.command("retry", "HD009")
    PLACE.mkdir(exist_ok=True)
    for name, (path, options) in KINDS.items():
        page = screen(**options).open(path)
        expect(page.get_by_role("article", name="HD007")).to_contain_text("read-only")
        expect(page.get_by_role("article", name="HD001")).to_contain_text("Safe to remove")
        if name == "board-phone":  # cards out of sight are not drawn
            height = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": 390, "height": height})
            page.evaluate("new Promise((drawn) => requestIdleCallback(drawn))")
        file = PLACE / f"{name}.png"
        page.screenshot(path=file)
