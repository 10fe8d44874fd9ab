"""Drives pulled, swapped, filled and locked while they are being prepared; a full state disk.

Once the trouble is mended all ends as if there had been none: one job, the exact SIGNATURE, and not
a byte anywhere else. "In the middle" is while the service, which has made the job, holds its
answer back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import daemon_process
import pytest
from as_operator import (
    give_own_uuid,
    jobs_for,
    look_again,
    mount,
    new_device_id,
    prepared_once,
    unmount,
    wait_until,
)
from daemon_process import DaemonProcess
from loop_drives import attach, detach, drivers_of

from daemon.importexport.emulator import Emulator

service, start = daemon_process.service, daemon_process.start

HELD_BACK_SECONDS = 0.7  # much longer than what the tests do in the meantime


def in_the_middle(service: Emulator, daemon: DaemonProcess, drive) -> None:
    """Drop the drive's manifest, and return before the response to CreateJob arrives."""
    service.faults.add("delay", "CreateJob", seconds=HELD_BACK_SECONDS)
    daemon.drop(drive.label)
    daemon.until("the job is made", lambda: jobs_for(service, drive.label))


def waits(daemon: DaemonProcess, drive, *words: str) -> None:
    """Wait until the job, known by its JobId, has an obstacle with these words."""
    job = daemon.obstacle(drive.label, *words)
    assert job["state"] == "Submitted"


# Pulled


def torn_out(drive) -> None:
    """Unmount it as a desktop does with a missing drive, even if files on it are open."""
    subprocess.run(["umount", "--lazy", drive.mount_point], check=True)


def detached(drive) -> None:
    """Detach the medium of a mounted file system; it comes back with another device node."""
    detach(drive.image, wait=False)
    torn_out(drive)
    wait_until("the loop device is free", lambda: not drivers_of(drive))
    drive.device = attach(drive.image)


def killed(drive) -> None:
    """Kill ntfs-3g and remove the dead mount."""
    for driver in drivers_of(drive):
        os.kill(driver, signal.SIGKILL)
    torn_out(drive)


@pytest.mark.parametrize(
    ("pull", "restarts"), [(torn_out, False), (torn_out, True), (detached, True), (killed, False)]
)
def test_pulled_in_the_middle(plug, service, start, tmp_path, pull, restarts):
    """The job waits for its drive, and completes it when it is mounted again anywhere."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False)
    in_the_middle(service, daemon, drive)

    pull(drive)
    waits(daemon, drive)
    assert os.listdir(drive.mount_point) == []
    if restarts:
        daemon.restart()
    drive.mount_point = tmp_path / "elsewhere"
    mount(drive)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_pulled_while_in_doubt(plug, service, start):
    """With response and drive lost, the job is found at the service, and then its drive."""
    service.faults.add("hang-after", "CreateJob")
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False, timeout=1)
    daemon.drop(drive.label)
    wait_until("the job is made", lambda: jobs_for(service, drive.label))
    service.faults.add("503", "ListJobs")
    wait_until("the job is looked for", lambda: not service.faults.pending())

    torn_out(drive)
    waits(daemon, drive, "present but not mounted")
    mount(drive)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_a_drive_that_hangs(plug, service, start):
    """It does not stop other drives; when it is mounted again, it is completed."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False)
    in_the_middle(service, daemon, drive)
    (driver,) = drivers_of(drive)

    os.kill(driver, signal.SIGSTOP)
    try:
        daemon.until("it hangs", lambda: daemon.job(drive.label)["state"] == "Submitted")
        look_again(service, daemon, plug)
        assert daemon.job(drive.label)["obstacle"] is None
    finally:
        os.kill(driver, signal.SIGKILL)  # anything that uses the mount point hangs until then
    waits(daemon, drive)
    torn_out(drive)
    mount(drive)

    prepared_once(service, daemon, drive.mount_point, drive.label)


# Swapped


def test_a_twin_at_the_same_mount_point(plug, service, start):
    """Nothing is written to the twin or the folder below it; the right drive is completed."""
    drive, twin = plug(new_device_id()), plug("twin")
    twin.make(drive.label)
    give_own_uuid(drive)
    twin.pull()  # as long as it is there, neither of the two is used
    drive.mount()
    daemon = start(validate_on_drop=False)
    in_the_middle(service, daemon, drive)

    detach(drive.image, wait=False)  # as long as it is there, too, both match
    torn_out(drive)
    twin.device = attach(twin.image)
    twin.mount_point = drive.mount_point
    twin.mount()
    waits(daemon, drive, "is a different one")

    assert os.listdir(twin.mount_point) == []
    twin.pull()
    assert os.listdir(drive.mount_point) == []
    wait_until("the loop device is free", lambda: not drivers_of(drive))
    drive.device = attach(drive.image)
    mount(drive)
    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_a_memory_file_system_over_the_drive(plug, service, start):
    """Nothing is written to what hides the drive; uncovered, the drive is completed."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False)
    in_the_middle(service, daemon, drive)

    drive.cover(drive.mount_point)
    waits(daemon, drive)

    assert os.listdir(drive.mount_point) == []
    unmount(drive)
    prepared_once(service, daemon, drive.mount_point, drive.label)


# Full, read-only


def test_a_full_drive(plug, service, start):
    """No job is made for it until there is space."""
    drive = plug(new_device_id()).mount()
    fill(drive.mount_point)
    daemon = start(validate_on_drop=False)
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "No space left")
    assert not jobs_for(service, drive.label)
    assert not signs_of_us(drive)

    make_room(drive.mount_point)
    daemon.command("retry", drive.label)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_filled_in_the_middle(plug, service, start):
    """SIGNATURE waits for space, and nothing half written is left in the meantime."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False)
    in_the_middle(service, daemon, drive)

    fill(drive.mount_point)
    waits(daemon, drive, "No space left")
    assert not signs_of_us(drive)
    make_room(drive.mount_point)
    daemon.command("retry", drive.label)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_read_only_in_the_middle(plug, service, start):
    """SIGNATURE waits until the kernel shows that the drive is writable."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False)
    in_the_middle(service, daemon, drive)

    remount(drive, "ro")
    waits(daemon, drive, "read-only")
    assert not signs_of_us(drive)
    remount(drive, "rw")

    prepared_once(service, daemon, drive.mount_point, drive.label)


def remount(drive, option: str) -> None:
    """Change the mount as the kernel does on errors, as ntfs-3g does not support remount."""
    command = ["mount", "--internal-only", "-o", f"remount,{option}", str(drive.mount_point)]
    subprocess.run(command, check=True)


def fill(folder: Path) -> None:
    """Leave no space: not for a block, nor for small files, which need none."""
    with contextlib.suppress(OSError), (folder / "fill").open("wb", buffering=0) as file:
        for size in (1 << 16, 512):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    with contextlib.suppress(OSError):
        for number in range(10_000):
            (folder / f"fill{number}").write_bytes(b"x" * 64)


def make_room(folder: Path) -> None:
    """Remove what fill() made."""
    for file in folder.glob("fill*"):
        file.unlink()


def signs_of_us(drive) -> list[str]:
    """Return what is on the drive, except for what fill() made."""
    return [name for name in os.listdir(drive.mount_point) if not name.startswith("fill")]


# A full state disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a separate file system with little space."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "driveprep-test", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_state_disk(plug, service, start, small_disk):
    """What cannot be recorded is not done: no job is made until there is space again."""
    drive = plug(new_device_id())
    daemon = start(validate_on_drop=False, spool=small_disk / "spool")
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "is present but not mounted")

    fill(small_disk)
    drive.mount()
    daemon.until("the full disk is told", lambda: "is full" in daemon.log)
    assert not service.jobs
    assert os.listdir(drive.mount_point) == []
    make_room(small_disk)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_a_state_disk_filled_in_the_middle(plug, service, start, small_disk):
    """Until the response can be recorded, nothing is written to the drive; one job."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False, spool=small_disk / "spool")
    in_the_middle(service, daemon, drive)

    fill(small_disk)
    daemon.until("the full disk is told", lambda: "is full" in daemon.log)
    assert os.listdir(drive.mount_point) == []
    make_room(small_disk)

    prepared_once(service, daemon, drive.mount_point, drive.label)
