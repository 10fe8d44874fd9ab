"""What each drive is for, or why it is for nothing; on values, and on a real NTFS image."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from pairs import PENDING, SIGNED, SUBMITTING, device, drive, job, pairing

from daemon.desk.drive_report import DriveReport
from daemon.drives.drive import Unmounted
from daemon.drives.holders import Holder
from daemon.drives.identity import Identity
from daemon.drives.sysfs import Device
from daemon.jobs.job import Obstacle


def verdict(one, jobs, *drives):
    """What is said of a mounted drive among others."""
    return DriveReport(jobs, pairing(jobs, *drives)).of(one)


def test_a_drive_that_a_job_waits_for():
    """It is named with the manifest it is for."""
    one = drive("HD001")

    assert verdict(one, [job(PENDING)], one) == "for a.yml"


@pytest.mark.parametrize(
    ("state", "words"), [(SIGNED, "prepared as K7M3X: safe to remove"), (SUBMITTING, "submitting")]
)
def test_a_drive_whose_job_is_on_its_way(state, words, tmp_path):
    """A prepared drive is safe to remove, one in doubt is not."""
    one = drive("HD001", place=tmp_path)
    (tmp_path / "SIGNATURE").write_text("text")

    assert words in verdict(one, [job(state)], one)


def test_a_drive_that_has_lost_its_signature_is_not_prepared(tmp_path):
    """Missing, or that of another job: the words "safe to remove" are not said."""
    one = drive("HD001", place=tmp_path)

    assert verdict(one, [job(SIGNED)], one) == "NOT prepared: its SIGNATURE is missing"
    (tmp_path / "SIGNATURE").write_text("other")
    assert "not that of its job" in verdict(one, [job(SIGNED)], one)


def test_a_twin_of_a_prepared_drive_is_not_prepared(tmp_path):
    """A job belongs to a drive: another UUID is another drive, mounted or not."""
    made_for = replace(SIGNED, drive={"uuid": "AAAA"})
    twin = drive("HD001", place=tmp_path)
    twin = replace(twin, identity=replace(twin.identity, uuid="BBBB"))
    present = Unmounted(twin.device, twin.identity)

    mounted = verdict(twin, [job(made_for)], twin)
    unmounted = DriveReport([job(made_for)], pairing([job(made_for)])).of_unmounted(present)

    for said in (mounted, unmounted):
        assert said == (
            "recognised as HD001, but job K7M3X was made for another drive (uuid differ)"
        )


def test_a_drive_that_only_the_service_cannot_use():
    """What the service met in its sandbox is told, for nothing of it is seen from a shell."""
    one = drive("HD001")
    obstacle = Obstacle("HD001 is read-only at this mount", "x", 1.0, 0, None)
    hindered = replace(job(PENDING), obstacle=obstacle)

    said = verdict(one, [hindered], one)

    assert said == "for a.yml, but the service reports: HD001 is read-only at this mount. x"


def test_a_drive_that_a_process_uses(tmp_path):
    """The process is named after what the drive is for."""
    one = drive("HD001", place=tmp_path)
    (tmp_path / "SIGNATURE").write_text("text")
    held = {one.mount_point: [Holder(4711, "vlc")]}

    said = DriveReport([job(SIGNED)], pairing([job(SIGNED)], one), held).of(one)

    assert said == "prepared as K7M3X: safe to remove; in use by vlc (process 4711)"


def test_a_drive_nobody_asked_for():
    """Its deviceId has no manifest, or it answers to none at all."""
    named, nameless = drive("HD001"), drive(None, 2)

    assert verdict(named, [], named, nameless) == "no manifest waits for HD001"
    assert "answers to no deviceId" in verdict(nameless, [], named, nameless)


def test_twins():
    """Each of two drives with one label is told of the other."""
    first, second = drive("HD001", 1), drive("HD001", 2)

    for one in (first, second):
        assert "2 drives match HD001" in verdict(one, [job(PENDING)], first, second)


def test_a_read_only_drive():
    """What forbids its use is told before anybody waits for it."""
    one = drive("HD001")
    one = replace(one, mount=replace(one.mount, options="ro", super_options="ro"))

    assert "read-only" in verdict(one, [job(PENDING)], one)


def test_a_drive_that_is_not_known():
    """Why it could not be looked at is told."""
    one = replace(drive("HD001"), identity=Identity(trouble="blkid may not look"))

    assert verdict(one, [job(PENDING)], one) == "not known: blkid may not look"


@pytest.mark.skipif(not shutil.which("ntfs-3g.probe"), reason="ntfs-3g is not installed")
def test_a_device_that_is_not_mounted(tmp_path):
    """ntfs-3g is asked whether it could be; a hibernated one is told as that."""
    image = tmp_path / "ntfs.img"
    image.write_bytes(b"")
    with image.open("r+b") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ntfs", "-q", "-Q", "-F", "-L", "HD001", image], check=True)
    one = Unmounted(
        Device(1, str(image), 1, 1, 8 << 20, False), Identity(file_system="ntfs", label="HD001")
    )
    jobs = [job(PENDING)]

    said = DriveReport(jobs, pairing(jobs, present=[one])).of_unmounted(one)

    assert said.startswith("a job waits for it as HD001; not mounted: mount it")


def test_a_device_that_is_prepared_and_unmounted():
    """No job waits for it any more; it can be shipped."""
    one = Unmounted(device(1), Identity(file_system="ntfs", label="HD001"))
    jobs = [job(SIGNED)]

    said = DriveReport(jobs, pairing(jobs, present=[one])).of_unmounted(one)

    assert said == "prepared as K7M3X: safe to remove"


def test_a_device_with_another_file_system():
    """What it holds is named."""
    one = Unmounted(device(1), Identity(file_system="exfat", label="HD001"))

    assert DriveReport([], pairing([])).of_unmounted(one) == "not mounted: it holds exfat"
