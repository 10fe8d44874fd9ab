"""The page of a station in a pool: it shows the others, and offers nothing for what is there."""

import pytest
from as_operator import new_device_id, prepared_once
from playwright.sync_api import expect
from stations import clock, cluster, service, station

__all__ = ["clock", "cluster", "service", "station"]
pytestmark = pytest.mark.xdist_group("pool")


@pytest.fixture
def first(station):
    """The station that has the drives."""
    return station("bench-1").start()


@pytest.fixture
def daemon(first, station):
    """The station whose page it is; it answers to no label."""
    return station("bench-2", require_mapping=True).start()


@pytest.mark.parametrize("path", ["/", "/?wall"])
def test_the_other_bench_is_on_the_page(plug, service, first, daemon, screen, path):
    """With a symbol and a word for its drive, and no button."""
    device_id = new_device_id()
    drive = plug(device_id).mount()
    page = screen().open(path)
    first.drop(device_id)
    job = prepared_once(service, first, drive.mount_point, device_id)

    panel = page.get_by_role("region", name="Station bench-1")
    item = panel.get_by_role("listitem").filter(has_text=device_id)
    expect(item).to_have_text(f"{device_id} Safe to remove ({job.job_id})")
    expect(item.locator("svg")).to_be_visible()
    expect(panel.get_by_role("button")).to_have_count(0)
    expect(page.locator("#station")).to_have_text("bench-2")
