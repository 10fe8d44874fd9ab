"""An operator's day on the page: real browser, daemon, service and NTFS drives."""

from __future__ import annotations

import re

import pytest
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

FAULTY = b"manifestVersion:2.0\ndeviceID:HD001\nfileSystem:FAT\n"


def drop(page: Page, name: str, data: bytes) -> None:
    """Choose a file in the dialog of the page."""
    page.set_input_files("#files", {"name": name, "mimeType": "text/plain", "buffer": data})


def card(page: Page, device_id: str):
    """Return the card of a drive."""
    return page.get_by_role("article", name=device_id, exact=True)


def test_a_day_on_the_page_alone(plug, service, daemon, screen):
    """Drop, plug in, see that it is safe to remove, open the slip, mark as shipped."""
    one = screen()
    page = one.open()
    device_id = new_device_id()

    drop(page, "first.yml", manifest_for(device_id))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("good: first.yml")
    dialog.get_by_role("button", name="Drop first.yml").click()
    expect(dialog).to_contain_text("first.yml: dropped")
    dialog.get_by_role("button", name="Close").click()

    drive = plug(device_id).mount()
    job = prepared_once(service, daemon, drive.mount_point, device_id)
    mine = card(page, device_id)
    expect(mine).to_contain_text("Safe to remove")
    expect(mine).to_contain_text(job.job_id)
    expect(page.locator("#said")).to_contain_text("Safe to remove")

    with one.context.expect_page() as opened:
        mine.get_by_role("button", name="Open slip").click()
    expect(opened.value.locator("body")).to_contain_text("Packing slip")
    opened.value.close()

    mine.get_by_role("button", name="Mark as shipped").click()
    dialog.get_by_label("Carrier").fill("DHL")
    dialog.get_by_label("Tracking number").fill("42")
    dialog.get_by_role("button", name="It has left").click()
    row = page.get_by_role("row", name=re.compile(device_id))
    expect(row).to_contain_text("shipped, DHL")
    row.get_by_role("button", name="Not shipped").click()
    expect(row).to_contain_text("still here")
    assert len(jobs_for(service, device_id)) == 1


def test_faults_have_the_carets_of_the_command(daemon, screen):
    """A faulty manifest cannot be dropped; a good one beside it can."""
    page = screen().open()
    files = [
        {"name": "bad.yml", "mimeType": "text/plain", "buffer": FAULTY},
        {"name": "good.yml", "mimeType": "text/plain", "buffer": manifest_for("HD777")},
    ]
    page.set_input_files("#files", files)

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("bad.yml:2:1: deviceId: is missing; did you mean deviceID")
    expect(dialog).to_contain_text("    3 | fileSystem:FAT")
    dialog.get_by_role("button", name="Drop good.yml").click()
    expect(dialog).to_contain_text("good.yml: dropped, for HD777")
    assert not (daemon.pending / "bad.yml").exists()

    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    page.keyboard.type("hd777")
    expect(page.locator("#find")).to_have_value("hd777")
    found = page.locator("#found")
    expect(found).to_contain_text("1 waiting")
    found.get_by_role("button", name="Withdraw").click()
    daemon.until("it is withdrawn", lambda: not (daemon.pending / "good.yml").exists())


def test_what_strangers_wrote_is_text(plug, daemon, screen):
    """A label with markup is shown as it is, and does nothing."""
    label = "<b onclick=x>HD"
    drive = plug(label)
    drive.mount_point = drive.mount_point.parent / "markup"
    drive.mount()
    page = screen().open()

    expect(page.get_by_role("heading", name=label)).to_be_visible()
    assert page.locator("b[onclick]").count() == 0


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/", {"color_scheme": "dark"}),
        ("/", {"color_scheme": "light"}),
        ("/", {"viewport": {"width": 390, "height": 844}, "has_touch": True}),
        ("/", {"forced_colors": "active"}),
        ("/?wall", {"color_scheme": "dark"}),
        ("/?wall", {"color_scheme": "light"}),
    ],
    ids=["dark", "light", "phone", "forced colours", "wall", "light wall"],
)
def test_axe_finds_nothing(plug, service, daemon, screen, path, options):
    """With cards of several kinds, in each scheme; and in the dialogs."""
    done, alone = new_device_id(), new_device_id()
    daemon.drop(done)
    daemon.drop("HD404")
    drive = plug(done).mount()
    prepared_once(service, daemon, drive.mount_point, done)
    plug(alone).mount()
    page = screen(**options).open(path)
    expect(card(page, done)).to_contain_text("Safe to remove")
    expect(card(page, alone)).to_be_visible()

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    if path == "/":
        card(page, done).get_by_role("button", name="Mark as shipped").click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


def test_ten_tabs_share_one_stream(daemon, board, screen):
    """A browser opens six connections to a host: all tabs work, and each sees a change."""
    one = screen()
    pages = [one.open()]
    for _ in range(9):
        tab = one.tab()
        tab.goto(board.origin)
        pages.append(tab)
    for page in pages:
        expect(page.locator("#counts")).to_contain_text("waiting")

    daemon.drop("HD404")

    for page in pages:
        waiting = page.locator("#counts div", has_text="waiting").locator("dd")
        expect(waiting).to_have_text("1", timeout=3000)


def test_a_page_says_when_it_has_lost_its_server(daemon, board, screen):
    """And when the daemon does not run; both go by themselves."""
    one = screen()
    page = one.open()
    board.stop()
    expect(page.get_by_role("alert")).to_contain_text("what is shown here is old")
    board.start()
    expect(page.locator("#lost")).to_be_hidden(timeout=10000)

    daemon.stop()
    expect(page.locator("#problems")).to_contain_text("The daemon does not run", timeout=10000)
    daemon.start()
    expect(page.locator("#problems")).to_be_hidden(timeout=10000)
    one.complaints[:] = [text for text in one.complaints if "ERR_" not in text]


def test_the_wall_only_shows(plug, service, daemon, screen):
    """Its login can read; there is nothing to press."""
    device_id = new_device_id()
    daemon.drop(device_id)
    drive = plug(device_id).mount()
    prepared_once(service, daemon, drive.mount_point, device_id)

    page = screen().open("/?wall", "--wall")

    expect(card(page, device_id)).to_contain_text("Safe to remove")
    assert page.get_by_role("button").count() == 0
    expect(page.locator("#tools")).to_be_hidden()


def test_without_a_login_there_is_no_data(daemon, board, screen):
    """The page says how to get a link; a used link is refused with the reason."""
    one = screen()
    page = one.tab()
    page.goto(board.origin)
    expect(page.get_by_role("alert")).to_contain_text("driveprep board --link")
    expect(page.locator("#cards")).to_be_hidden()

    token = board.token()
    assert board.open(token).status == 200
    page.goto("about:blank")
    page.goto(f"{board.origin}/#{token}")
    expect(page.get_by_role("alert")).to_contain_text("this link is not good")
    assert "#" not in page.url
    one.complaints[:] = [text for text in one.complaints if "401" not in text]


def test_the_keyboard_is_enough(daemon, screen):
    """From the top: skip link, search, files; a dialog gives the focus back."""
    page = screen().open()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the drives")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#files")).to_be_focused()

    drop(page, "bad.yml", FAULTY)
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
