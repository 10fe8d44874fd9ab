"""The bench of docs/many-drives.md: forty drives, from the spreadsheet to the list of jobs.

Real disks on loop devices with serials that udev knows, a real daemon, the service on loopback.
"""

from __future__ import annotations

import csv
import io
import random
import subprocess
from pathlib import Path

import daemon_process
import pytest
import udev_database
from as_operator import signature_of
from loop_drives import MIB, attach, detach, run

service, start, udev = daemon_process.service, daemon_process.start, udev_database.udev

BENCH = Path(__file__).parents[1] / "bench"
DOCS = Path(__file__).parents[2] / "docs"
TEMPLATE = Path(__file__).parents[1] / "data" / "guide-manifest.yml"
NAMES = [f"HD{number:03}" for number in range(1, 41)]


@pytest.fixture
def disks(tmp_path, real_drives_work):
    """Forty blank disks of 24 MiB, of which only what is written takes room."""
    images = [tmp_path / f"{name}.img" for name in NAMES]
    for image in images:
        run("truncate", "-s", str(24 * MIB), image)
    nodes = [attach(image, "--partscan") for image in images]
    yield nodes
    for node, image in zip(nodes, images, strict=True):
        subprocess.run(["umount", "--lazy", f"{node}p1"], capture_output=True, check=False)
        subprocess.run(["partx", "--delete", node], capture_output=True, check=False)
        detach(image, wait=False)
    for image in images:
        detach(image)


def listed(faults):
    """The list as a spreadsheet saves it; some rows are replaced."""
    rows = [
        faults.get(number, f"{name};WX-{number};bucket-{number}")
        for number, name in enumerate(NAMES, 1)
    ]
    head = "deviceId;serial;operations[0].exportBucket"
    return "\ufeff" + "\r\n".join([head, *rows, ";;", ""])


@pytest.mark.timeout(300)
def test_forty_drives_before_lunch(disks, tmp_path, service, start, udev):
    """Five wrong rows are reported at once; then each drive gets its own SIGNATURE, once."""
    for number, node in enumerate(disks, 1):
        udev.describe(node, ID_SERIAL_SHORT=f"WX-{number}")
    daemon = start()
    listing = tmp_path / "list.csv"
    wrong = {
        3: "HD002;WX-3;bucket-3",
        7: ";WX-7;bucket-7",
        12: "HD\u200b12;WX-12;bucket-12",
        20: "HD020;WX-20;bucket-20;more",
        33: "HD033;WX-33;No Bucket!",
    }
    listing.write_text(listed(wrong))

    refused = daemon.command("new", TEMPLATE, "--csv", listing, "--submit")
    assert refused.returncode == 65
    for line in (4, 8, 13, 21, 34):
        assert f"list.csv:{line}:" in refused.stderr, refused.stderr
    assert not service.jobs
    listing.write_text(listed({}))
    made = daemon.command("new", TEMPLATE, "--csv", listing, "--submit")
    assert made.returncode == 0, made.stderr

    formatted = daemon.command("format", "--batch", listing, "--present", "--internal")
    assert formatted.returncode == 0, formatted.stderr
    assert "40 of 40 disks are NTFS" in formatted.stdout
    order = list(zip(NAMES, disks, strict=True))
    random.Random(7).shuffle(order)
    for name, node in order:
        place = tmp_path / "media" / name
        place.mkdir(parents=True)
        run("mount", "-t", "ntfs-3g", f"{node}p1", place)
    daemon.until("all are filed", lambda: len(list((daemon.spool / "prepared").iterdir())) == 40)

    made_for = {job.device_id: job for job in service.jobs}
    assert sorted(job.device_id for job in service.jobs) == NAMES
    for name in NAMES:
        root = tmp_path / "media" / name
        assert (root / "SIGNATURE").read_bytes() == signature_of(made_for[name])
    shown = daemon.command("status").stdout.splitlines()
    assert len([line for line in shown if "safe to remove" in line]) == 40

    shipped = daemon.command("shipped", "HD001..HD040", "--carrier", "UPS")
    assert shipped.returncode == 0, shipped.stderr
    assert daemon.command("status").stdout == ""
    rows = list(csv.DictReader(io.StringIO(daemon.command("jobs", "--csv").stdout)))
    assert sorted(row["deviceId"] for row in rows) == NAMES
    assert {row["shipment.carrier"] for row in rows} == {"UPS"}


def test_the_count_of_keystrokes_is_the_scripts(monkeypatch):
    """The tables of the documentation are what the script prints, and below the limit."""
    monkeypatch.syspath_prepend(BENCH)
    import keystrokes  # noqa: PLC0415 - a script, not a module of the tests

    assert keystrokes.tables() in (DOCS / "many-drives.md").read_text()
    assert sum(step.seconds() for step in keystrokes.WITH) / keystrokes.DRIVES <= 6
