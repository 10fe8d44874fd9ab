"""Block devices as the kernel shows them in sysfs: numbers and facts, nothing of what is on them.

Reading sysfs never touches the medium, so it cannot hang on a dying drive.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

SYS_DEV_BLOCK = Path("/sys/dev/block")
SYS_CLASS_BLOCK = Path("/sys/class/block")
PROC_SWAPS = Path("/proc/swaps")

SECTOR_BYTES = 512  # sysfs counts sizes in these, whatever the drive's own sectors are

# Memory, floppy and CD-ROM drives: opening an empty one can wait for seconds or move a tray.
_NEVER_OPENED = ("ram", "zram", "fd", "sr")


@dataclass(frozen=True, slots=True)
class Device:
    """A whole disk or a partition."""

    number: int  # as os.makedev() makes it
    node: str  # such as /dev/sdb1
    disk: int  # the whole disk's number; its own where it is no partition
    diskseq: int | None  # a new one for each medium that ever came; None before Linux 5.15
    size: int  # bytes
    is_write_protected: bool  # by its switch, its firmware or the administrator
    is_gone: bool = False  # pulled out, though perhaps still mounted; only the number is known


def read(number: int) -> Device:
    """The device with this number as it is now, which may be gone."""
    name = f"{os.major(number)}:{os.minor(number)}"
    return _device(SYS_DEV_BLOCK / name) or Device(
        number, name, number, diskseq=None, size=0, is_write_protected=False, is_gone=True
    )


def idle(busy: Collection[int]) -> Iterator[Device]:
    """The devices that could be mounted: not `busy`, not swap, not empty, nothing built on them."""
    swaps = _swaps()
    try:
        folders = sorted(SYS_CLASS_BLOCK.iterdir())
    except OSError:
        return
    for folder in folders:
        if folder.name.startswith(_NEVER_OPENED) or _is_in_parts(folder):
            continue
        device = _device(folder)
        if device and device.size and device.number not in busy and device.node not in swaps:
            yield device


def _device(folder: Path) -> Device | None:
    try:
        uevent = (folder / "uevent").read_text("utf-8")
        name = uevent.partition("DEVNAME=")[2].partition("\n")[0]
        whole = folder.resolve().parent if (folder / "partition").exists() else folder
        return Device(
            number=_number((folder / "dev").read_text("ascii")),
            node=f"/dev/{name}",
            disk=_number((whole / "dev").read_text("ascii")),
            diskseq=_diskseq(whole),
            size=int((folder / "size").read_text("ascii")) * SECTOR_BYTES,
            is_write_protected=(folder / "ro").read_text("ascii").strip() == "1",
        )
    except (OSError, ValueError):  # pulled out while we looked
        return None


def _diskseq(whole: Path) -> int | None:
    try:
        return int((whole / "diskseq").read_text("ascii"))
    except FileNotFoundError:
        return None


def _number(text: str) -> int:
    major, minor = text.split(":")
    return os.makedev(int(major), int(minor))


def _is_in_parts(folder: Path) -> bool:
    """Whether partitions or a mapping (LUKS, LVM, RAID) stand between it and its content."""
    return any(folder.glob("holders/*")) or any(folder.glob("*/partition"))


def _swaps() -> frozenset[str]:
    try:
        lines = PROC_SWAPS.read_text("utf-8", "surrogateescape").split("\n")[1:]
    except OSError:
        return frozenset()
    return frozenset(line.split()[0] for line in lines if line)
