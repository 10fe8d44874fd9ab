"""The kernel's mount table: what is mounted where, and a descriptor that reports each change.

Only the table is read. No mounted file system is ever touched here, so a dead file server or a
hung drive cannot delay the caller.

psutil.disk_partitions() is not enough for this. It lacks the ids of a mount and its parent, the
device number and the root, which tell whether a mount is hidden by another, replaced by another or
only a folder of a drive; and it shows the options of the mount without those of the file system.
"""

from __future__ import annotations

import os
import re
import select
import threading
import weakref
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

from daemon.errors import DriveError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROC_MOUNTINFO = Path("/proc/self/mountinfo")
# Besides every FUSE file system without a block device: what is behind it cannot be known, and
# davfs2 shows as plain "fuse".
REMOTE = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
# Where the running system has its own file systems.
SYSTEM_PLACES = frozenset(
    {"/", "/usr", "/var", "/home", "/boot", "/boot/efi", "/boot/firmware", "/efi"}
)


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table."""

    mount_id: int  # unique while mounted; the kernel gives it to a later mount again
    parent_id: int
    device_number: int  # as os.makedev() makes it and st_dev shows it
    root: str  # the folder of the file system that is seen at the mount point; "/" is all of it
    mount_point: str  # decoded with os.fsdecode
    options: str  # of this mount
    mount_type: str  # such as fuseblk: the driver, which need not match the superblock
    source: str  # as given by the program that mounted it; proves nothing
    super_options: str  # of the file system, for all its mounts

    @property
    def is_system(self) -> bool:
        """Return whether the running system has its own files there."""
        return self.mount_point in SYSTEM_PLACES

    @property
    def is_read_only(self) -> bool:
        """Whether this mount is read-only, even where the file system itself is not."""
        return _is_read_only(self.options)

    @property
    def is_super_read_only(self) -> bool:
        """Whether the file system itself is read-only, at all of its mounts."""
        return _is_read_only(self.super_options)


class MountTable:
    """A descriptor to poll for POLLPRI | POLLERR, which the kernel raises after each change.

    One poll reports all changes before it at once. POLLIN is always set: do not poll for it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = (path or PROC_MOUNTINFO).open("rb", buffering=0)

    def fileno(self) -> int:
        """The descriptor, for select.poll() and the like."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the descriptor. Safe to repeat."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LastChange:
    """Knows when the mount table was last seen to change. May be used from several threads.

    `path` is that of another process's table; None: of this one.
    """

    def __init__(self, steady: Callable[[], float], path: Path | None = None) -> None:
        self._steady, self._path = steady, path
        self._lock = threading.Lock()
        self._poll: select.poll | None = None
        self._noticed_at = 0.0

    def noticed_at(self) -> float:
        """The time, by the clock given, at which the latest change was noticed by this method.

        At the first call everything is a change. Raises DriveError if there is no mount table.
        """
        with self._lock:
            if self._poll is None:
                self._poll = self._open()
                self._noticed_at = self._steady()
            elif self._poll.poll(0):
                self._noticed_at = self._steady()
            return self._noticed_at

    def _open(self) -> select.poll:
        try:
            table = MountTable(self._path)
        except OSError as error:
            raise _unreadable(error) from error
        weakref.finalize(self, table.close)
        poll = select.poll()
        poll.register(table, select.POLLPRI | select.POLLERR)
        return poll


def read(path: Path | None = None) -> tuple[Mount, ...]:
    """The mount table of this process, or the one at `path`, as it is now.

    Raises DriveError if it cannot be read.

    A change during the read can tear the table; the same change then wakes the poll on MountTable.
    """
    try:
        text = (path or PROC_MOUNTINFO).read_bytes()
    except OSError as error:
        raise _unreadable(error) from error
    return parse(text)


def _unreadable(error: OSError) -> DriveError:
    return DriveError(
        f"the mount table cannot be read: {error}",
        "Make sure that /proc is mounted where driveprep runs.",
        code="mount-table-unreadable",
    )


@lru_cache(maxsize=1)  # a job reads the table three times; only the first read can find a change
def parse(text: bytes) -> tuple[Mount, ...]:
    """The mounts in a mountinfo text, in its order. Raises DriveError, naming a faulty line."""
    lines = text.removesuffix(b"\n").split(b"\n")  # a mount point may hold \r, so no splitlines()
    return tuple(_mount(line, number) for number, line in enumerate(lines, 1) if text)


def is_remote(path: Path) -> bool:
    """Whether a path is, or may be, on a file system that does not report others' changes.

    Such as a network file system, or a folder shared with the host of a virtual machine.
    """
    place = PurePosixPath(os.path.realpath(path))
    under = [mount for mount in read() if place.is_relative_to(mount.mount_point)]
    longest = max(reversed(under), key=lambda mount: len(mount.mount_point), default=None)
    return longest is not None and (
        longest.mount_type in REMOTE or longest.mount_type.partition(".")[0] == "fuse"
    )


def roots(table: Sequence[Mount]) -> list[Mount]:
    """One mount for each block device: reachable before covered, writable before read-only."""
    by_device: dict[int, list[Mount]] = {}
    for mount in table:
        if _is_root(mount):
            by_device.setdefault(mount.device_number, []).append(mount)
    return [
        min(same, key=lambda mount: (is_covered(mount, table), mount.is_read_only))
        if len(same) > 1
        else same[0]
        for same in by_device.values()
    ]


def without_root(
    table: Sequence[Mount], number_of: Callable[[str], int | None]
) -> dict[int, list[Mount]]:
    """The mounts that use a block device although its root is not mounted as such, by device.

    These are folders of it, and file systems with a device number of their own, such as btrfs,
    whose source alone leads to the device: `number_of` is asked about that.
    """
    with_root = {mount.device_number for mount in table if _is_root(mount)}
    found: dict[int, list[Mount]] = {}
    for mount in table:
        number: int | None = mount.device_number
        if not os.major(mount.device_number):
            number = number_of(mount.source) if mount.source.startswith("/dev/") else None
        if number is not None and number not in with_root:
            found.setdefault(number, []).append(mount)
    return found


def _is_root(mount: Mount) -> bool:
    # Major 0 is not a device (network, memory, overlay, btrfs); a root other than "/" is a bind
    # mount of a folder.
    return bool(os.major(mount.device_number)) and mount.root == "/"


def is_covered(mount: Mount, table: Sequence[Mount]) -> bool:
    """Whether a later mount hides this one, so that its mount point leads somewhere else."""
    if any(_is_on(other, mount) and other.mount_point == mount.mount_point for other in table):
        return True
    by_id = {other.mount_id: other for other in table}
    while (parent := by_id.get(mount.parent_id)) is not None and _is_on(mount, parent):
        others = (one for one in table if _is_on(one, parent) and one.mount_id != mount.mount_id)
        if any(_is_within(mount.mount_point, other.mount_point) for other in others):
            return True
        mount = parent
    return False


def _is_within(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def _is_on(upper: Mount, lower: Mount) -> bool:
    return upper.parent_id == lower.mount_id != upper.mount_id


def _mount(line: bytes, number: int) -> Mount:
    # proc_pid_mountinfo(5): optional fields and then a single "-" precede the last three fields.
    try:
        before, after = line.split(b" - ", 1)
        mount_id, parent_id, device, root, mount_point, options, *_ = before.split(b" ")
        mount_type, source, super_options = after.split(b" ", 2)
        major, minor = (int(part) for part in device.split(b":"))
        return Mount(
            mount_id=int(mount_id),
            parent_id=int(parent_id),
            device_number=os.makedev(major, minor),
            root=_text(root),
            mount_point=_text(mount_point),
            options=_text(options),
            mount_type=_text(mount_type),
            source=_text(source),
            super_options=_text(super_options),
        )
    except (ValueError, OverflowError) as error:
        raise DriveError(
            f"line {number} of the mount table cannot be read: {line!r}",
            "Report this line to the developers, together with `uname -r`.",
            code="mount-table-unreadable",
        ) from error


def _text(field: bytes) -> str:
    if b"\\" in field:  # the kernel escapes space, tab, newline, backslash and # like this
        field = re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes([int(match[1], 8)]), field)
    return os.fsdecode(field)


def _is_read_only(options: str) -> bool:
    # The kernel always writes ro or rw first; a later "ro" can be part of an option's value.
    return options.partition(",")[0] == "ro"
