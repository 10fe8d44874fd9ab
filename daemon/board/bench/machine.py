"""The drives of the machine, as they are outside of the board's own sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from daemon.drives import mounts
from daemon.drives.drive import Drive
from daemon.drives.inventory import Drives
from daemon.drives.mounts import Mount

# The mounts of process 1: the sandbox mounts things read-only, or hides them, for this process.
OUTSIDE = Path("/proc/1/mountinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """Finds the mounted drives without touching any. For several threads."""

    drives: Drives = field(default_factory=Drives)

    def mounted(self) -> tuple[Drive, ...]:
        """Return every mounted drive. Raises DriveError if the mount table cannot be read."""
        found = self.drives.mounted()
        outside = _outside()
        by_place = {(one.device_number, one.mount_point): one for one in mounts.roots(outside)}
        return tuple(_as_outside(drive, by_place, outside) for drive in found)


def _outside() -> tuple[Mount, ...]:
    try:
        return mounts.parse(OUTSIDE.read_bytes())
    except OSError:  # another user's process may be hidden; then ours is the best there is
        return ()


def _as_outside(
    drive: Drive, by_place: dict[tuple[int, str], Mount], outside: tuple[Mount, ...]
) -> Drive:
    mount = by_place.get((drive.device_number, drive.mount_point))
    if mount is None:  # a container, or tests with mounts of their own
        return drive
    return replace(drive, mount=mount, is_covered=mounts.is_covered(mount, outside))
