"""Block devices as the kernel shows them in sysfs: numbers and facts, but not their contents.

Reading sysfs never touches the medium, so a dying drive cannot make it hang.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.drives import stacks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from daemon.drives.stacks import Layer

SYS_DEV_BLOCK = Path("/sys/dev/block")
SYS_CLASS_BLOCK = Path("/sys/class/block")
PROC_PARTITIONS = Path("/proc/partitions")
PROC_SWAPS = Path("/proc/swaps")

PAGE_BYTES = 4096  # no attribute is longer: kernel.org/doc/html/latest/filesystems/sysfs.html
SECTOR_BYTES = 512  # the unit of sizes in sysfs, whatever the drive's own sectors are

# The size that floppy and CD-ROM drives without a medium have: floppy.c (MAX_DISK_SIZE), sr.c.
NO_MEDIUM = {"fd": 4096, "sr": 0x1FFFFF * SECTOR_BYTES}
_NOT_A_DISK = re.compile(r"z?ram\d|mtdblock|mmcblk\d+(boot|rpmb|gp)")
# An extended partition has room for a boot loader only, see block/partitions/msdos.c.
EXTENDED_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Device:
    """A whole disk or a partition."""

    number: int  # as os.makedev() makes it
    node: str  # such as /dev/sdb1
    disk: int  # of the disk that it is, or that it is on; its own if it is built on several disks
    diskseq: int | None  # a new one for each medium since boot; None before Linux 5.15
    size: int  # bytes
    is_write_protected: bool  # by its switch, its firmware or the administrator
    is_gone: bool = False  # unplugged, but perhaps still mounted; only the number is known
    disk_node: str = ""  # that disk's
    layers: tuple[Layer, ...] = ()  # what it is built on, such as LVM on LUKS; () is a plain disk


@dataclass(frozen=True, slots=True)
class Listed:
    """A device that has a medium, and how it is used by other devices."""

    device: Device
    is_partitioned: bool  # the kernel, or kpartx, shows partitions of it
    is_path: bool  # it is one of several paths to a multipath device
    holders: tuple[Device, ...]  # what is built directly on it: LUKS, LVM, RAID, bcache


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


def with_medium() -> Iterator[Listed]:
    """All disks and partitions that have a medium, except memory and a board's own flash."""
    for folder in _folders():
        if _NOT_A_DISK.match(folder.name) or _is_empty(folder):
            continue
        if (device := _device(folder)) and not _has_no_room(device):
            holders = [(stacks.kind(one), _device(one)) for one in stacks.holders(folder)]
            is_mapped = any(kind == stacks.PARTITION for kind, _ in holders)
            yield Listed(
                device,
                is_mapped or any(folder.glob("*/partition")),
                stacks.is_path(folder),
                tuple(one for kind, one in holders if one and kind != stacks.PARTITION),
            )


def _folders() -> list[Path]:
    """Return the folders of the block devices, without the many empty loop devices if possible."""
    with suppress(OSError, IndexError):
        lines = PROC_PARTITIONS.read_text().splitlines()[2:]
        folders = [SYS_CLASS_BLOCK / line.split()[3] for line in lines]
        if folders and all(folder.exists() for folder in folders):
            return sorted(folders)
    with suppress(OSError):
        return sorted(SYS_CLASS_BLOCK.iterdir())
    return []


def _is_empty(folder: Path) -> bool:
    """Return whether it has no medium: asked first, because most loop devices have none."""
    try:
        return _text(folder, "size").strip() == "0"
    except OSError:
        return True


def _has_no_room(device: Device) -> bool:
    """Return whether it has no medium, or cannot have contents."""
    name = device.node.removeprefix("/dev/")
    empty = next((size for kind, size in NO_MEDIUM.items() if name.startswith(kind)), None)
    is_extended = device.number != device.disk and device.size <= EXTENDED_BYTES
    return device.size in {0, empty} or is_extended


def is_slow_to_open(device: Device) -> bool:
    """Whether opening it can take seconds or move a tray."""
    return device.node.startswith(tuple(f"/dev/{kind}" for kind in NO_MEDIUM))


def disks_below(number: int) -> frozenset[int]:
    """The disks of their own that a device is, is a partition of, or is built on."""
    folder = _folder(number).resolve()
    whole = folder.parent if (folder / "partition").exists() else folder
    return frozenset(one.number for one in map(_device, stacks.bottom(whole)) if one)


def number_of(node: str) -> int | None:
    """The number of the device with this node, such as /dev/sdb1 or /dev/mapper/x."""
    name = node.removeprefix("/dev/")
    for folder in (SYS_CLASS_BLOCK / name, *SYS_CLASS_BLOCK.glob("dm-*")):
        if node in {f"/dev/{folder.name}", stacks.node(folder)} and (found := _device(folder)):
            return found.number
    return None


def built_on(device: Device) -> Iterator[Device]:
    """All devices built on this one: its partitions, and LUKS, LVM or RAID on any of them."""
    folder = _folder(device.number)
    for place in (*folder.glob("*/partition"), *folder.glob("holders/*/dev")):
        if found := _device(place.parent):
            yield found
            yield from built_on(found)


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


def is_swap(device: Device, swaps: Collection[str]) -> bool:
    """Whether the kernel swaps to this device. `swaps` are those of swaps()."""
    return bool(swaps) and not {device.node, stacks.node(_folder(device.number))}.isdisjoint(swaps)


def _folder(number: int) -> Path:
    return SYS_DEV_BLOCK / f"{os.major(number)}:{os.minor(number)}"


def _device(folder: Path) -> Device | None:
    try:
        own, place = _uevent(folder), folder
        if own["DEVTYPE"] == "partition":
            place = folder.resolve().parent
        whole = own if place is folder else _uevent(place)
        layers = stacks.layers(place, whole["DEVNAME"])
        below = stacks.bottom(place) if layers else []
        disk = _uevent(below[0]) if len(below) == 1 else whole
        return Device(
            number=_number(own),
            node=_node(own),
            disk=_number(disk),
            diskseq=int(whole["DISKSEQ"]) if "DISKSEQ" in whole else None,
            size=int(_text(folder, "size")) * SECTOR_BYTES,
            is_write_protected=_text(folder, "ro").strip() == "1",
            disk_node=_node(disk),
            layers=layers,
        )
    except (OSError, ValueError, KeyError):  # unplugged in the meantime
        return None


def _uevent(folder: Path) -> dict[str, str]:
    """What the kernel reports to udev: MAJOR, MINOR, DEVNAME, DEVTYPE, DISKSEQ, ..."""
    pairs = (line.partition("=") for line in _text(folder, "uevent").splitlines())
    return {key: value for key, _, value in pairs}


def _text(folder: Path, name: str) -> str:
    """An attribute, in three system calls only, because every scan reads all mounted drives."""
    descriptor = os.open(f"{folder}/{name}", os.O_RDONLY)
    try:
        return os.fsdecode(os.read(descriptor, PAGE_BYTES))
    finally:
        os.close(descriptor)


def _node(uevent: Mapping[str, str]) -> str:
    return f"/dev/{uevent['DEVNAME']}"


def _number(uevent: Mapping[str, str]) -> int:
    return os.makedev(int(uevent["MAJOR"]), int(uevent["MINOR"]))
