"""What an operator does about one drive, by the keyboard alone."""

from __future__ import annotations

import pytest
from as_operator import new_device_id, prepared_once
from axe_playwright_python.sync_playwright import Axe
from board_process import BoardProcess
from daemon_process import DaemonProcess
from playwright.sync_api import Page, expect

SCHEMES = pytest.mark.parametrize("scheme", ["dark", "light"])


def card(page: Page, device_id: str):
    """Return the card of a drive."""
    return page.get_by_role("article", name=device_id)


def press(page: Page, name: str) -> None:
    """Go to a button with the tabulator key, and press it."""
    for _ in range(40):
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == name:
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
        press(page, f"Open sticker: {device_id}")
    sticker = opened.value
    expect(sticker.locator("pre")).to_contain_text(job.job_id)
    is_accessible(sticker)
    sticker.close()

    press(page, f"Print again: {device_id}")
    expect(page.locator("#said")).to_contain_text(device_id)
    daemon.until("it is printed", lambda: file.read_text().count(job.job_id) == 2)
    expect(mine.get_by_role("button", name="Print again")).to_be_focused()

    reconfigure(daemon, board, print=printing("echo jam >&2; exit 3"))
    press(page, f"Print again: {device_id}")
    expect(mine).to_contain_text("sticker not printed")
    expect(mine).to_contain_text("jam")
    expect(page.get_by_role("row", name=device_id)).to_contain_text("sticker not printed")
    is_accessible(page)
