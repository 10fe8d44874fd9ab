"""Block devices as the kernel shows them in sysfs: numbers and facts, but not their contents.

Reading sysfs never touches the medium, so a dying drive cannot make it hang.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SYS_DEV_BLOCK = Path("/sys/dev/block")
SYS_CLASS_BLOCK = Path("/sys/class/block")
PROC_PARTITIONS = Path("/proc/partitions")
PROC_SWAPS = Path("/proc/swaps")

PAGE_BYTES = 4096  # no attribute is longer: kernel.org/doc/html/latest/filesystems/sysfs.html
SECTOR_BYTES = 512  # the unit of sizes in sysfs, whatever the drive's own sectors are

# Memory, floppy and CD-ROM drives: opening an empty one can take seconds or move a tray.
_NEVER_OPENED = ("ram", "zram", "fd", "sr")


@dataclass(frozen=True, slots=True)
class Device:
    """A whole disk or a partition."""

    number: int  # as os.makedev() makes it
    node: str  # such as /dev/sdb1
    disk: int  # the whole disk's number; its own if it is not a partition
    diskseq: int | None  # a new one for each medium since boot; None before Linux 5.15
    size: int  # bytes
    is_write_protected: bool  # by its switch, its firmware or the administrator
    is_gone: bool = False  # unplugged, but perhaps still mounted; only the number is known
    disk_node: str = ""  # the whole disk's; its own if it is not a partition


def read(number: int) -> Device:
    """The device with this number as it is now; it may be gone."""
    name = f"{os.major(number)}:{os.minor(number)}"
    return _device(_folder(number)) or Device(
        number, name, number, diskseq=None, size=0, is_write_protected=False, is_gone=True
    )


def disks() -> tuple[str, tuple[str, ...]] | None:
    """Return what changes whenever a disk or a medium comes or goes; None if it is not known.

    It is cheap: the kernel's list of partitions, and the sequence numbers of the media (diskseq).
    """
    try:
        table = PROC_PARTITIONS.read_text()
        names = [line.split()[3] for line in table.splitlines()[2:]]
        return table, tuple(_diskseq(SYS_CLASS_BLOCK / name) for name in names)
    except (OSError, IndexError):
        return None


def _diskseq(folder: Path) -> str:
    try:
        return _text(folder, "diskseq")
    except OSError:  # a partition has none
        return ""


def idle(busy: Collection[int]) -> Iterator[Device]:
    """The devices that could be mounted: not `busy`, not swap, not empty, nothing built on them."""
    swap = swaps()
    for folder in _with_medium():
        if folder.name.startswith(_NEVER_OPENED) or _is_empty(folder) or _is_in_parts(folder):
            continue
        device = _device(folder)
        if device and device.size and device.number not in busy and device.node not in swap:
            yield device


def _with_medium() -> list[Path]:
    """Return the folders of the block devices, without the many empty loop devices if possible."""
    try:
        lines = PROC_PARTITIONS.read_text().splitlines()[2:]
        folders = [SYS_CLASS_BLOCK / line.split()[3] for line in lines]
        if folders and all(folder.exists() for folder in folders):
            return sorted(folders)
        return sorted(SYS_CLASS_BLOCK.iterdir())
    except (OSError, IndexError):
        return []


def _is_empty(folder: Path) -> bool:
    """Return whether it has no medium: asked first, because most loop devices have none."""
    try:
        return _text(folder, "size").strip() == "0"
    except OSError:
        return True


def built_on(device: Device) -> Iterator[Device]:
    """All devices built on this one: its partitions, and LUKS, LVM or RAID on any of them."""
    folder = _folder(device.number)
    for place in (*folder.glob("*/partition"), *folder.glob("holders/*/dev")):
        if found := _device(place.parent):
            yield found
            yield from built_on(found)


def is_built(device: Device) -> bool:
    """Whether it is itself made of other devices: LUKS, LVM, RAID."""
    return any(_folder(device.number).glob("slaves/*"))


def is_removable(disk: Device) -> bool:
    """Whether the disk is meant to be unplugged: the kernel says so, or it is on USB."""
    folder = _folder(disk.number).resolve()
    on_usb = any(re.fullmatch(r"usb\d+", part) for part in folder.parts)
    try:
        return on_usb or _text(folder, "removable").strip() == "1"
    except OSError:  # unplugged in the meantime
        return False


def usb_neighbours(disk: int) -> list[str]:
    """Return the other whole disks with a medium on the USB device of this disk, as nodes.

    A dock with several bays is one USB device: its power is theirs, too.
    """
    own = _folder(disk).resolve()
    device = next((one for one in own.parents if re.fullmatch(r"\d+-[\d.]+", one.name)), None)
    found = []
    for folder in SYS_CLASS_BLOCK.iterdir() if device else ():
        place = folder.resolve()
        if place != own and device in place.parents and not (place / "partition").exists():
            other = _device(folder)
            if other and other.size:
                found.append(other.node)
    return sorted(found)


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
        own = _uevent(folder)
        whole = _uevent(folder.resolve().parent) if own["DEVTYPE"] == "partition" else own
        return Device(
            number=_number(own),
            node=_node(own),
            disk=_number(whole),
            diskseq=int(whole["DISKSEQ"]) if "DISKSEQ" in whole else None,
            size=int(_text(folder, "size")) * SECTOR_BYTES,
            is_write_protected=_text(folder, "ro").strip() == "1",
            disk_node=_node(whole),
        )
    except (OSError, ValueError, KeyError):  # unplugged in the meantime
        return None


def _uevent(folder: Path) -> dict[str, str]:
    """What the kernel reports to udev: MAJOR, MINOR, DEVNAME, DEVTYPE, DISKSEQ, ..."""
    pairs = (line.partition("=") for line in _text(folder, "uevent").splitlines())
    return {key: value for key, _, value in pairs}


def _text(folder: Path, name: str) -> str:
    """An attribute, in three system calls only, because every scan reads all mounted drives."""
    descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.fsdecode(os.read(descriptor, PAGE_BYTES))
    finally:
        os.close(descriptor)


def _node(uevent: Mapping[str, str]) -> str:
    return f"/dev/{uevent['DEVNAME']}"


def _number(uevent: Mapping[str, str]) -> int:
    return os.makedev(int(uevent["MAJOR"]), int(uevent["MINOR"]))


def _is_in_parts(folder: Path) -> bool:
    """Whether its contents are in partitions or in a mapping (LUKS, LVM, RAID) on it."""
    return any(folder.glob("holders/*")) or any(folder.glob("*/partition"))
