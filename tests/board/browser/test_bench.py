"""A full bench on the page: twenty real drives, each with a manifest of its own."""

from __future__ import annotations

import pytest
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

DRIVES = 20


def count(page: Page, name: str) -> Locator:
    """Return a number of the headline."""
    return page.locator("#counts div", has_text=name).locator("dd")


@pytest.mark.timeout(180)
def test_a_bench_of_twenty_drives(plug, service, daemon, screen):
    """All manifests are dropped at once; each drive gets its card, its job and its SIGNATURE."""
    names = [new_device_id() for _ in range(DRIVES)]
    page = screen().open()
    page.set_input_files(
        "#files",
        [
            {"name": f"{one}.yml", "mimeType": "text/plain", "buffer": manifest_for(one)}
            for one in names
        ],
    )
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Drop {DRIVES} manifests").click()
    expect(dialog.get_by_text(": dropped, for ")).to_have_count(DRIVES)
    dialog.get_by_role("button", name="Close").click()
    expect(count(page, "waiting")).to_have_text(f"{DRIVES}")

    drives = {one: plug(one).mount() for one in names}

    expect(page.get_by_role("article").filter(has_text="Safe to remove")).to_have_count(
        DRIVES, timeout=30_000
    )
    jobs = {one: prepared_once(service, daemon, drives[one].mount_point, one) for one in names}
    expect(count(page, "of 50 jobs today (UTC)")).to_have_text(f"{DRIVES}")
    assert page.locator(".card").count() == DRIVES
    for name, job in jobs.items():
        expect(page.get_by_role("article", name=name)).to_contain_text(job.job_id)
    assert Axe().run(page).violations_count == 0

    page.keyboard.type(names[7].lower())
    expect(page.locator(".card:visible")).to_have_count(1)
    drives[names[7]].unmount()
    expect(page.get_by_role("article", name=names[7])).to_have_count(0)
    assert all(len(jobs_for(service, one)) == 1 for one in names)
