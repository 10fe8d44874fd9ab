"""The root of a file system that is not mounted: it is mounted where no other process sees it.

Read-only, in a process with mounts and processes of its own: no desktop and no daemon takes notice,
and the mount and its driver end with that process, even if it is killed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
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
    "ext2": ("ext4", "ro,noload"),
    "ext3": ("ext4", "ro,noload"),
    "ext4": ("ext4", "ro,noload"),
}
APART = ["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"]
LOOK_SECONDS = 60.0


def read(node: str, file_system: str) -> Contents:
    """Return what is on the device with this file system. For root only.

    Raises DriveError if it cannot be mounted, such as a type that is not in HOW.
    """
    with tempfile.TemporaryDirectory(prefix="driveprep-") as place:
        command = [*APART, sys.executable, "-P", "-m", __name__, node, file_system, place]
        try:
            ended = programs.run(command, programs.SYSTEM, LOOK_SECONDS)
        except OSError as error:
            raise DriveError(f"{node} cannot be looked into: {error}") from error
    if ended.code:
        raise DriveError(f"{node} cannot be looked into")
    found = json.loads(ended.output)
    return Contents(**found | {"names": tuple(found["names"])})


def _look(node: str, file_system: str, place: str) -> Contents:
    """Mount and read; the mount ends with this process."""
    kind, options = HOW[file_system]
    command = ["mount", "-t", kind, "-o", f"{options},nosuid,nodev,noexec", node, place]
    ended = programs.run(command, programs.SYSTEM, LOOK_SECONDS)
    if ended.code:
        raise OSError(os.fsdecode(ended.errors).strip())
    return contents.read(os.open(place, os.O_RDONLY | os.O_DIRECTORY))


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(_look(*sys.argv[1:]))))
    except (OSError, KeyError) as problem:
        sys.exit(str(problem))
