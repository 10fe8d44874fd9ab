"""What an operator does about one drive, by the keyboard alone."""

from __future__ import annotations

import pytest
import udev_database
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once, unmount
from axe_playwright_python.sync_playwright import Axe
from board_process import BoardProcess
from daemon_process import DaemonProcess
from playwright.sync_api import Locator, Page, expect

udev = udev_database.udev
SCHEMES = pytest.mark.parametrize("scheme", ["dark", "light"])


def card(page: Page, device_id: str):
    """Return the card of a drive."""
    return page.get_by_role("article", name=device_id)


def press(place: Page | Locator, name: str) -> None:
    """Go to a button in that place with the tabulator key, and press it."""
    button = place.get_by_role("button", name=name)
    page = place if isinstance(place, Page) else place.page
    expect(button).to_be_visible()
    for _ in range(60):
        if button.evaluate("button => button === document.activeElement"):
            page.keyboard.press("Enter")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the keyboard does not reach {name}")


def is_accessible(page: Page) -> None:
    """Have axe look for faults."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def printing(command: str) -> dict[str, object]:
    """Return the settings of a printer that is a shell's command."""
    return {"sticker": {"template": "text", "command": ["/bin/sh", "-c", command]}}


@pytest.fixture
def daemon(start, tmp_path) -> DaemonProcess:
    """Return a daemon that prints stickers to a file, and uses no drive with files on it."""
    return start(print=printing(f"cat >> {tmp_path / 'printed'}"), require_empty=True)


def reconfigure(daemon: DaemonProcess, board: BoardProcess, **settings: object) -> None:
    """Give the daemon another configuration, in which the board stays where it is."""
    before = daemon.log.count("configuration read")
    daemon.configure(board={"listen": f"127.0.0.1:{board.port}"}, **settings)
    daemon.until("it is read", lambda: daemon.log.count("configuration read") > before)


@SCHEMES
def test_papers_are_opened_and_printed(plug, service, daemon, board, tmp_path, screen, scheme):
    """The card says when a paper was printed, and why it was not."""
    file, device_id, one = tmp_path / "printed", new_device_id(), screen(color_scheme=scheme)
    drive = plug(device_id).mount()
    daemon.drop(device_id)
    job = prepared_once(service, daemon, drive.mount_point, device_id)
    page = one.open()
    mine = card(page, device_id)
    expect(mine).to_contain_text("sticker printed at")

    with one.context.expect_page() as opened:
        press(mine, f"Open sticker: {device_id}")
    sticker = opened.value
    expect(sticker.locator("pre")).to_contain_text(job.job_id)
    is_accessible(sticker)
    sticker.close()

    press(mine, f"Print again: {device_id}")
    expect(page.locator("#said")).to_contain_text(device_id)
    daemon.until("it is printed", lambda: file.read_text().count(job.job_id) == 2)
    expect(mine.get_by_role("button", name="Print again")).to_be_focused()

    reconfigure(daemon, board, print=printing("echo jam >&2; exit 3"))
    row = page.get_by_role("row", name=device_id)
    press(row, f"Print again: {device_id}")
    expect(mine).to_contain_text("sticker not printed")
    expect(mine).to_contain_text("jam")
    expect(row).to_contain_text("sticker not printed")
    expect(row.get_by_role("button", name="Print again")).to_be_focused()
    is_accessible(page)
    press(row, f"Why not printed: {device_id}")
    expect(page.get_by_role("dialog")).to_contain_text("it ended with 3: jam")


@SCHEMES
def test_a_drive_that_is_not_empty(plug, service, daemon, screen, scheme):
    """The page says what is on it and what may become of that, before it takes a decision."""
    device_id = new_device_id()
    drive = plug(device_id).mount()
    (drive.mount_point / "thesis.doc").write_text("the only copy")
    daemon.drop(device_id)
    page = screen(color_scheme=scheme).open()
    expect(card(page, device_id)).to_contain_text("is not empty")
    dialog = page.get_by_role("dialog")

    press(page, f"Use as it is: {device_id}")
    expect(dialog).to_contain_text("The service may erase all of it")
    expect(dialog).to_contain_text("is not empty: thesis.doc")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    is_accessible(page)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name=f"Use as it is: {device_id}")).to_be_focused()
    assert not jobs_for(service, device_id)

    press(page, f"Use as it is: {device_id}")
    page.keyboard.press("Shift+Tab")
    expect(dialog.get_by_role("button", name="Use as it is")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(card(page, device_id)).to_contain_text("Safe to remove")
    assert (drive.mount_point / "thesis.doc").read_text() == "the only copy"
    assert len(jobs_for(service, device_id)) == 1


def test_a_decision_about_what_has_changed(plug, service, daemon, screen):
    """What came to the drive while the question was open was not read: nothing is decided."""
    device_id = new_device_id()
    drive = plug(device_id).mount()
    (drive.mount_point / "thesis.doc").write_text("the only copy")
    daemon.drop(device_id)
    one = screen()
    page = one.open()
    dialog = page.get_by_role("dialog")
    press(page, f"Use as it is: {device_id}")

    (drive.mount_point / "more.doc").write_text("came later")
    daemon.command("retry", device_id)
    expect(card(page, device_id)).to_contain_text("more.doc")
    dialog.get_by_role("button", name="Use as it is").click()

    expect(dialog.get_by_role("alert")).to_contain_text("no longer as it was shown")
    assert not jobs_for(service, device_id)
    one.complaints[:] = [text for text in one.complaints if "409" not in text]


def test_a_drive_behind_another_bridge(plug, service, udev, daemon, screen):
    """The page names what differs, and writes SIGNATURE once a person has confirmed it."""
    device_id = new_device_id()
    drive = plug(device_id)
    udev.describe(drive.device, ID_SERIAL_SHORT="BRIDGE1")
    daemon.drop(device_id)
    drive.mount()
    job = prepared_once(service, daemon, drive.mount_point, device_id)
    unmount(drive)
    other = daemon.config.with_name("other.yml")
    other.write_bytes(manifest_for(device_id) + b"# changed\n")
    assert daemon.command("update", job.job_id, other).returncode == 0
    daemon.until("it is to be signed", lambda: daemon.job(device_id)["state"] == "Submitted")
    udev.describe(drive.device, ID_SERIAL_SHORT="BRIDGE2")
    drive.mount()
    page = screen().open()

    press(page, f"It is the same drive: {device_id}")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("serial BRIDGE1 (this one has BRIDGE2)")
    is_accessible(page)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")

    expect(dialog).to_be_hidden()
    expect(card(page, device_id)).to_contain_text("Safe to remove")
