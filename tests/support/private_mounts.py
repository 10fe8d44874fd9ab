"""A view of the machine for the tests alone: its drives are hidden, and so are the tests' own.

A daemon under test takes any mounted drive with the right label. So the tests must not see drives
that others mount, be it another run of the same tests, and no daemon outside may see theirs.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from daemon.drives import mounts

CLONE_NEWNS = 0x00020000  # of sched.h; os.unshare() comes with Python 3.12
SOURCE = "driveprep-test"  # what the mount table shows for the file systems that we make

CLASS_BLOCK = Path("/sys/class/block")  # here the daemon looks for drives that are not mounted
UDEV = Path("/run/udev")  # udev's database lags behind the medium, by more on a busy machine


def enter(*needed: Path) -> str:
    """Give this process, and all that it starts from now on, a mount namespace of its own.

    No mount in there ever reaches the machine, or the other way round, and all of them end with
    the last process in there. Hidden in there are: file systems on block devices, unless one of
    the `needed` places or a place that Python or the tests need is on them; all block devices in
    CLASS_BLOCK, until show() adds them; and udev. Returns "" or why this is not possible here.
    """
    if os.geteuid() != 0:
        return "only root can have mounts of its own"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return f"unshare: {os.strerror(ctypes.get_errno())}"
    private = ["mount", "--make-rprivate", "/"]
    done = subprocess.run(private, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return done.stderr.strip()
    _hide_drives([*needed, *_always_needed()])
    for folder in (CLASS_BLOCK, UDEV):
        if folder.is_dir():
            subprocess.run(["mount", "-t", "tmpfs", SOURCE, folder], check=True)
    return ""


def show(device: str) -> None:
    """Have a block device listed in CLASS_BLOCK, such as /dev/loop7 or /dev/loop7p1. Idempotent."""
    link = CLASS_BLOCK / Path(device).name
    if _is_ours() and not link.is_symlink():
        link.symlink_to(Path("/sys/dev/block", _number(device)).resolve())


def hide(disk: str) -> None:
    """Take a disk and its partitions off the list again. Idempotent."""
    if _is_ours():
        for link in CLASS_BLOCK.iterdir():
            if link.name == Path(disk).name or link.name.startswith(f"{Path(disk).name}p"):
                link.unlink()


def _is_ours() -> bool:
    return any(
        (mount.mount_point, mount.source) == (str(CLASS_BLOCK), SOURCE) for mount in mounts.read()
    )


def _number(device: str) -> str:
    number = os.stat(device).st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def _hide_drives(needed: list[Path]) -> None:
    for mount in reversed(mounts.read()):
        is_drive = os.major(mount.device_number) != 0 and mount.root == "/"
        if is_drive and not any(place.is_relative_to(mount.mount_point) for place in needed):
            # Lazily, because it may be busy: this ends the mount in our namespace alone.
            subprocess.run(["umount", "--lazy", mount.mount_point], check=True)


def _always_needed() -> list[Path]:
    here = [*sys.path, *os.get_exec_path(), sys.base_prefix, sys.prefix, tempfile.gettempdir()]
    places = [Path.cwd(), Path.home(), Path(__file__), *map(Path, here)]
    system = ["/boot", "/etc", "/opt", "/usr", "/var"]
    return [*map(Path, system), *(place.absolute().resolve() for place in places)]
