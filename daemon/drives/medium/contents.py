"""What is on a mounted drive, as far as its root shows it, and whether that is nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice

from daemon.system.printable import printable

# Folders that Windows makes on every drive, and the root of a new ext4 has; in any case of letters.
SYSTEM_NAMES = frozenset({"system volume information", "$recycle.bin", "recycler", "lost+found"})
# The files of NTFS itself, which ntfs-3g lists with the option show_sys_files.
NTFS_NAMES = frozenset({
    "$mft", "$mftmirr", "$logfile", "$volume", "$attrdef", "$bitmap", "$boot", "$badclus",
    "$secure", "$upcase", "$extend",
})  # fmt: skip
OURS = ("SIGNATURE", ".SIGNATURE.driveprep")  # driveprep's own
LISTED = 64  # names that are read at most: a root can hold millions
SYSTEM_CLUSTERS = 16  # that the small files of NTFS and of Windows begin
SHOWN = 5  # names that are shown
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Contents:
    """What a root lists, and how much of the file system is in use."""

    used: int  # bytes
    size: int  # bytes
    cluster: int  # bytes
    names: tuple[str, ...]  # without those of Windows, of the file system and of driveprep
    is_complete: bool = True  # all names were read

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on the drive. A listing can hide files, so its use counts as well."""
        is_bare = not self.names and self.is_complete
        return is_bare and self.used <= fresh_use(self.size, self.cluster)

    def describe(self) -> str:
        """Such as "Photos, a.txt and more, 1.2 GB in use", safe to print; "" if it is empty."""
        if self.is_empty:
            return ""
        shown = ", ".join(printable(name) for name in self.names[:SHOWN])
        if not shown:
            shown = "no file is listed" if self.is_complete else "many system folders"
        elif len(self.names) > SHOWN or not self.is_complete:
            shown += " and more"
        return f"{shown}, {readable(self.used)} in use"

    def facts(self) -> dict[str, str | int]:
        """Return what is recorded of it: `usedBytes`, and `contents`, "" for an empty drive."""
        return {"usedBytes": self.used, "contents": self.describe()}


def fresh_use(size: int, cluster: int) -> int:
    """Return how many bytes a new NTFS uses at most.

    A bit for each cluster, the log (1/200 of it, 2 to 64 MiB), the clusters that small files begin,
    and the rest of what mkfs.ntfs and Windows make: at most 1/100 of it, 1 to 64 MiB. mkfs.ntfs was
    measured from 16 MB to 8 TB, with clusters of 512 bytes to 2 MiB, also with the folders that
    Windows adds (`tests/ntfs/test_contents_ntfs.py`).
    """
    bitmap = size // cluster // 8
    log = max(2 * MIB, min(size // 200, 64 * MIB))
    rest = max(MIB, min(size // 100, 64 * MIB))
    return bitmap + log + SYSTEM_CLUSTERS * cluster + rest


def read(root: int) -> Contents:
    """Return what is on the drive whose root has this descriptor. Raises OSError.

    Only the first level is read, and no more than LISTED names of it.
    """
    space = os.fstatvfs(root)
    with os.scandir(root) as entries:
        names = tuple(one.name for one in islice(entries, LISTED) if not _is_usual(one))
        is_complete = next(entries, None) is None
    size = space.f_blocks * space.f_frsize
    return Contents(size - space.f_bfree * space.f_frsize, size, space.f_frsize, names, is_complete)


def readable(size: float) -> str:
    """Return a size such as 1.2 GB, in the decimal units that are printed on drives."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3)):
        if size >= 10**power:
            return f"{size / 10**power:.1f} {unit}"
    return f"{size:.0f} bytes"


def _is_usual(entry: os.DirEntry[str]) -> bool:
    """Return whether an empty drive can have it. A file with the name of a system folder is one."""
    name = entry.name.lower()
    is_system = name in SYSTEM_NAMES and entry.is_dir(follow_symlinks=False)
    return is_system or name in NTFS_NAMES or entry.name in OURS
