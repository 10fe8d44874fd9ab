"""Many drives and manifests, many clients: the board stays small and quick."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import pytest
from as_operator import manifest_for
from loop_drives import wait_until

MANIFESTS, CARDS, CLIENTS = 10_000, 200, 50
MAX_MIB = 80


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("size")
def test_ten_thousand_manifests_and_fifty_clients(daemon, page, board):
    """The first page takes less than a second, a change too, and memory stays under 80 MiB."""
    for number in range(MANIFESTS):
        device_id = f"HD{number:05}"
        daemon.drop(device_id, without_placeholders(device_id))
    for number in range(CARDS):
        daemon.drop("", manifest_for("X").replace(b"NTFS", b"NTSF"), f"R{number}.yml")
    wanted = {"waiting": MANIFESTS, "attention": CARDS}

    def is_shown() -> bool:
        time.sleep(0.5)
        return page.view()["counts"].items() >= wanted.items()

    wait_until("all are shown", is_shown, 300)
    since = time.monotonic()
    assert page.get("/").status == page.get("/api/view").status == 200
    assert time.monotonic() - since < 1

    pages = [board.log_in() for _ in range(5)]
    with contextlib.ExitStack() as stack:
        streams = [
            stack.enter_context(pages[number % len(pages)].events()) for number in range(CLIENTS)
        ]
        for one in streams:
            next(one)
        since = time.monotonic()
        daemon.drop("HD-NEW")
        for one in streams:
            assert next(view for view in one if view["counts"]["waiting"] > MANIFESTS)
        assert time.monotonic() - since < 1
        assert len(page.get("/api/status").json["jobs"]) > MANIFESTS
        assert most_memory(board.pid) < MAX_MIB


def without_placeholders(device_id: str) -> bytes:
    """Return a manifest that warns of nothing, as people write them."""
    text = manifest_for(device_id).replace(b"Your ", b"").replace(b"Optional 2nd", b"c/o")
    return text.replace(b"mybucket", b"our-bucket")


def most_memory(pid: int) -> float:
    """Return the most resident memory that a process ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
