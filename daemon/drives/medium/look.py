"""The root of a file system that is not mounted: it is mounted where no other process sees it.

Read-only, in a process with mounts of its own, so that no desktop and no daemon takes notice.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict

from daemon.drives.medium import contents
from daemon.drives.medium.contents import Contents
from daemon.errors import DriveError
from daemon.system import programs

# libblkid's type -> the type and the options of the mount. Nothing is written, not even a journal.
HOW = {
    "ntfs": ("ntfs-3g", "ro"),
    "exfat": ("exfat", "ro"),
    "vfat": ("vfat", "ro"),
    "ext4": ("ext4", "ro,noload"),
}
CLONE_NEWNS = 0x00020000  # linux/sched.h; os.unshare() comes with Python 3.12
LOOK_SECONDS = 60.0
FREE_SECONDS = 10.0  # ntfs-3g closes the device a moment after the unmount


def read(node: str, file_system: str) -> Contents:
    """Return what is on the device with this file system. For root only.

    Raises DriveError if it cannot be mounted, such as a type that is not in HOW.
    """
    with tempfile.TemporaryDirectory(prefix="driveprep-") as place:
        command = [sys.executable, "-m", __name__, node, file_system, place]
        try:
            ended = programs.run(command, programs.SYSTEM, LOOK_SECONDS)
        except OSError as error:
            raise DriveError(f"{node} cannot be looked into: {error}") from error
    if ended.code:
        reason = os.fsdecode(ended.errors).strip().splitlines() or ["?"]
        raise DriveError(f"{node} cannot be looked into: {reason[-1]}")
    _await_free(node)
    found = json.loads(ended.output)
    return Contents(**found | {"names": tuple(found["names"])})


def _await_free(node: str) -> None:
    until = time.monotonic() + FREE_SECONDS
    while time.monotonic() < until:
        with suppress(OSError):
            os.close(os.open(node, os.O_RDONLY | os.O_EXCL))
            return
        time.sleep(0.02)


def _look(node: str, file_system: str, place: str) -> Contents:
    """Mount, read, unmount. The mount ends with this process in any case."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")
    kind, options = HOW[file_system]
    _run("mount", "-t", kind, "-o", options, node, place)
    try:
        root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return contents.read(root)
        finally:
            os.close(root)
    finally:
        _run("umount", place)


def _run(*command: str) -> None:
    ended = programs.run(command, programs.SYSTEM, LOOK_SECONDS)
    if ended.code:
        raise OSError(os.fsdecode(ended.errors).strip())


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(_look(*sys.argv[1:]))))
    except (OSError, KeyError) as problem:
        sys.exit(str(problem))
