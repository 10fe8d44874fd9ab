"""Block devices as the kernel shows them in sysfs: numbers and facts, nothing of what is on them.

Reading sysfs never touches the medium, so it cannot hang on a dying drive.
"""

from __future__ import annotations

import os
import re
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
    disk_node: str = ""  # the whole disk's; its own where it is no partition


def read(number: int) -> Device:
    """The device with this number as it is now, which may be gone."""
    name = f"{os.major(number)}:{os.minor(number)}"
    return _device(_folder(number)) or Device(
        number, name, number, diskseq=None, size=0, is_write_protected=False, is_gone=True
    )


def idle(busy: Collection[int]) -> Iterator[Device]:
    """The devices that could be mounted: not `busy`, not swap, not empty, nothing built on them."""
    swap = swaps()
    try:
        folders = sorted(SYS_CLASS_BLOCK.iterdir())
    except OSError:
        return
    for folder in folders:
        if folder.name.startswith(_NEVER_OPENED) or _is_in_parts(folder):
            continue
        device = _device(folder)
        if device and device.size and device.number not in busy and device.node not in swap:
            yield device


def built_on(device: Device) -> Iterator[Device]:
    """All that shows a part of the device: its partitions, and LUKS, LVM or RAID on any of them."""
    folder = _folder(device.number)
    for place in (*folder.glob("*/partition"), *folder.glob("holders/*/dev")):
        if found := _device(place.parent):
            yield found
            yield from built_on(found)


def is_built(device: Device) -> bool:
    """Whether it is itself made of other devices: LUKS, LVM, RAID."""
    return any(_folder(device.number).glob("slaves/*"))


def is_removable(disk: Device) -> bool:
    """Whether the disk is made to be taken out: the kernel says so, or it hangs on USB."""
    folder = _folder(disk.number).resolve()
    on_usb = any(re.fullmatch(r"usb\d+", part) for part in folder.parts)
    try:
        return on_usb or (folder / "removable").read_text("ascii").strip() == "1"
    except OSError:  # pulled out while we looked
        return False


def swaps() -> frozenset[str]:
    """The device nodes and files that the kernel swaps to."""
    try:
        lines = PROC_SWAPS.read_text("utf-8", "surrogateescape").split("\n")[1:]
    except OSError:
        return frozenset()
    return frozenset(line.split()[0] for line in lines if line)


def _folder(number: int) -> Path:
    return SYS_DEV_BLOCK / f"{os.major(number)}:{os.minor(number)}"


def _device(folder: Path) -> Device | None:
    try:
        whole = folder.resolve().parent if (folder / "partition").exists() else folder
        return Device(
            number=_number((folder / "dev").read_text("ascii")),
            node=_node(folder),
            disk=_number((whole / "dev").read_text("ascii")),
            diskseq=_diskseq(whole),
            size=int((folder / "size").read_text("ascii")) * SECTOR_BYTES,
            is_write_protected=(folder / "ro").read_text("ascii").strip() == "1",
            disk_node=_node(whole),
        )
    except (OSError, ValueError):  # pulled out while we looked
        return None


def _node(folder: Path) -> str:
    uevent = (folder / "uevent").read_text("utf-8")
    return "/dev/" + uevent.partition("DEVNAME=")[2].partition("\n")[0]


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
