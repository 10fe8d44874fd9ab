"""Stations on one machine with mounts of their own, so that a drive is at one of them."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

from daemon_process import DaemonProcess
from loop_drives import RealDrive, drivers_of, run, wait_until

APART = ("unshare", "--mount", "--propagation", "private")


def mount_at(daemon: DaemonProcess, drive: RealDrive, *options: str) -> None:
    """Mount a drive where only that station sees it. It runs, and was started APART."""
    drive.mount_point.mkdir(parents=True, exist_ok=True)
    chosen = ["-o", ",".join(options)] if options else []
    run(*_there(daemon), "mount", "-t", "ntfs-3g", *chosen, drive.device, drive.mount_point)


def unmount_at(daemon: DaemonProcess, drive: RealDrive) -> None:
    """Unmount it there again."""
    drivers = drivers_of(drive)
    run(*_there(daemon), "umount", drive.mount_point)
    wait_until("its driver has ended", lambda: not set(drivers) & set(drivers_of(drive)))


def unmount_lazily(daemon: DaemonProcess, drive: RealDrive) -> None:
    """Take it from the mount table there, whatever still uses it."""
    command = [*_there(daemon), "umount", "--lazy", str(drive.mount_point)]
    subprocess.run(command, capture_output=True, check=False)


def unplug(drive: RealDrive) -> None:
    """Unmount it wherever it is, also where the station does not run any more."""
    for driver in drivers_of(drive):
        with suppress(ProcessLookupError):
            os.kill(driver, signal.SIGTERM)
    wait_until("its driver has ended", lambda: not drivers_of(drive))


def content(daemon: DaemonProcess, drive: RealDrive, name: str) -> bytes:
    """Return a file of the drive, as that station sees it."""
    command = [*_there(daemon), "cat", str(drive.mount_point / name)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _there(daemon: DaemonProcess) -> list[str]:
    return ["nsenter", "--target", str(daemon.pid), "--mount"]
