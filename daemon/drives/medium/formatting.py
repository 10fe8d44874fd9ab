"""A whole disk: what forbids its erasure, and how it becomes one NTFS partition.

The disk stays open, exclusively, from the final inspection to the read-back. Programs that write
get the open descriptor, not a path, so no other disk can take its place. Asking a person whether
the disk may be erased is not part of this module.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import stat
from contextlib import contextmanager, suppress
from dataclasses import replace
from secrets import token_hex
from typing import TYPE_CHECKING

from daemon.drives import mounts, probes, sysfs
from daemon.drives.drive import Unmounted
from daemon.errors import DriveError
from daemon.system import programs
from daemon.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from daemon.drives.recognition import Recognition
    from daemon.drives.sysfs import Device

# The programs that formatting needs -> the Debian package of each.
FORMAT_PROGRAMS = {
    "sfdisk": "fdisk",
    "partx": "util-linux",
    "blkid": "util-linux",
    "mkfs.ntfs": "ntfs-3g",
    "ntfslabel": "ntfs-3g",
}
# For each program. The slowest, mkfs.ntfs on a big disk with slow USB, takes a minute or two.
FORMAT_STEP_SECONDS = 900.0
# We hold the disk, so sfdisk's own check for other users would find us. partx informs the kernel,
# even one without GPT support; sfdisk would also sync() all drives, including a hung one.
SFDISK = "sfdisk --quiet --no-reread --no-tell-kernel --wipe=always --wipe-partitions=always"
# Windows looks for file systems only in partitions of this type, "Microsoft basic data".
TABLE = "label: gpt\nstart=1MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n"
MKFS = "mkfs.ntfs --quick --quiet"
# UTF-16 units. NTFS allows 128, but libblkid, and therefore udev, reads the label from its record
# without undoing the fixup at each sector's end, and so gets the 64th unit wrong.
MAX_LABEL = 63
UNTOUCHED = "Nothing was written to it."
ERASED = "What was on it is lost, and it is not an NTFS drive yet: run the same command again."


def find(path: Path) -> Device:
    """The whole disk with this device node, or link to one. Raises DriveError."""
    try:
        found = path.stat()
    except OSError as error:
        raise DriveError(f"{path}: {error.strerror}", "`lsblk` lists the disks.") from error
    if not stat.S_ISBLK(found.st_mode):
        raise DriveError(f"{path} is not a disk", "Give a device node; `lsblk` lists the disks.")
    device = sysfs.read(found.st_rdev)
    check_whole(device)
    return device


def check_whole(device: Device) -> None:
    """Raise DriveError if the device is a partition, or is built on other devices."""
    if device.is_gone or device.layers:
        raise DriveError(
            f"{device.node} is not a disk of its own", "`lsblk` shows what it is part of."
        )
    if device.number != device.disk:
        raise DriveError(
            f"{device.node} is a partition, and only whole disks can be formatted",
            f"If all of {device.disk_node} may be erased, give {device.disk_node}.",
        )


def check_label(label: str) -> None:
    """Raise DriveError if NTFS cannot store the label, or it would not be read as written."""
    units = len(label.encode("utf-16-le", "surrogatepass")) // 2
    if units > MAX_LABEL:
        raise DriveError(
            f"{printable(label)} has {units} characters; a label can have at most {MAX_LABEL}",
            "Format the drive as NTFS by hand with a shorter label, and map the deviceId to the"
            " drive's serial under `devices` in config.yml.",
        )
    if not label or label != label.strip() or label != printable(label):
        raise DriveError(
            f"'{printable(label)}' cannot be a label: it is empty, or has leading or trailing"
            " spaces or characters that cannot be printed",
            "Write the deviceId exactly as in the manifest.",
        )


def check_erasable(disk: Device, *, internal: bool) -> None:
    """Raise DriveError if the disk is in use, not writable, or, unless `internal`, built in.

    This finds only what this process can see; in all other cases of use the kernel refuses hold().
    """
    parts = (disk, *sysfs.built_on(disk))
    _check_unmounted(disk, _places(parts))
    if swaps := [part.node for part in parts if part.node in sysfs.swaps()]:
        raise DriveError(f"the machine swaps to {_listed(swaps)}", f"swapoff {swaps[0]}")
    if others := [part.node for part in parts if part.layers]:
        raise DriveError(
            f"{disk.node} is in use: {_listed(others)} (LUKS, LVM or RAID) is built on it",
            "Close that first; `lsblk` shows what it is.",
        )
    if disk.is_write_protected:
        raise DriveError(
            f"{disk.node} is write-protected", "Check the lock switch on card or case."
        )
    if not disk.size:
        raise DriveError(f"{disk.node} has no medium", "Insert one.")
    if not internal and not sysfs.is_removable(disk):
        raise DriveError(
            f"{disk.node} is not removable, so it may be part of this machine",
            "The same is true of some SATA docks and card slots: name its port under `bays` in"
            " config.yml, or add --internal if you are sure.",
        )


def check_recognisable(disk: Unmounted, device_id: str, recognition: Recognition) -> None:
    """Raise DriveError where the disk, once formatted, would be recognised as none or another.

    Formatting gives a new uuid and partuuid, so that a deviceId known by one of them never fits.
    """
    future = replace(disk.identity, file_system="ntfs", label=device_id, uuid=None, part_uuid=None)
    known = recognition.device_ids(Unmounted(disk.device, future))
    if device_id not in known:
        raise DriveError(
            f"{disk.describe()} would not be recognised as {device_id}, even when formatted",
            f"{recognition.explain_absent(device_id, []).hint}"
            " Formatting gives it a new uuid and partuuid.",
        )
    if others := sorted(known & recognition.devices.keys() - {device_id}):
        raise DriveError(
            f"config.yml knows {disk.describe()} as {', '.join(map(printable, others))}",
            "Take the right drive, or correct `devices` in config.yml.",
        )


def probe(device: Device, disk: Device) -> Unmounted:
    """What is on the disk, or on a partition of it, at this moment."""
    found = probes.Identities().probed(device.number, disk.number, device.node)
    return Unmounted(device, found)


@contextmanager
def hold(disk: Device) -> Iterator[int]:
    """The disk, open for make_ntfs(). Until it is closed, no program can mount or claim it.

    Raises DriveError if it is already in use.
    """
    try:
        descriptor = os.open(disk.node, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise DriveError(f"{disk.node}: {error.strerror}", _why_not_held(error)) from error
    try:
        if os.fstat(descriptor).st_rdev != disk.number:
            raise DriveError(f"{disk.node} is now a different disk", UNTOUCHED)
        yield descriptor
    finally:
        os.close(descriptor)


def make_ntfs(disk: Device, descriptor: int, label: str) -> Unmounted:
    """ERASE the disk that is held; return its one NTFS partition, as read back from the medium.

    Raises DriveError, whose hint says whether anything was written. Safe to repeat.
    """
    # systemd's BLOCK_DEVICE_LOCKING: udev ignores a locked disk. The lock lasts until it is closed.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _check_same(disk, UNTOUCHED)
    if any(sysfs.built_on(disk)):  # fails if one is open: the last chance to notice a user
        _run(["partx", "--delete", disk.node], _how_to_close(disk))
    _run([*SFDISK.split(), _path(descriptor)], ERASED, descriptor, TABLE)
    _run(["partx", "--update", disk.node], ERASED)
    try:
        with _partition(disk) as (partition, inner):
            _check_same(disk, ERASED)
            _run([*MKFS.split(), f"--label={label}", _path(inner)], ERASED, inner)
            # mkfs.ntfs gives the same UUID to all drives that are made within ten seconds.
            _run(["ntfslabel", f"--new-serial={token_hex(8)}", _path(inner)], ERASED, inner)
            os.fsync(inner)
            os.posix_fadvise(inner, 0, 0, os.POSIX_FADV_DONTNEED)  # so that it is read back
            made = probe(partition, disk)
    except OSError as error:
        raise DriveError(f"{disk.node}: {error.strerror}", ERASED) from error
    if (made.identity.file_system, made.identity.label) != ("ntfs", label):
        raise DriveError(
            f"{made.describe()} does not read back as NTFS with the label {label}",
            "The drive may be failing; see `dmesg`. Do not ship it.",
        )
    return made


def _check_unmounted(disk: Device, places: Sequence[str]) -> None:
    if mounts.SYSTEM_PLACES.intersection(places):
        raise DriveError(f"{disk.node} holds the running system: {_listed(places)}")
    if places:
        commands = [f"umount {shlex.quote(printable(place))}" for place in reversed(places)]
        raise DriveError(f"{disk.node} is mounted at {_listed(places)}", " && ".join(commands))


def _places(parts: Sequence[Device]) -> list[str]:
    numbers, nodes = {part.number for part in parts}, {part.node for part in parts}
    return [
        mount.mount_point
        for mount in mounts.read()
        # btrfs has a device number of its own, so only the source leads to the disk.
        if mount.device_number in numbers
        or (mount.source.startswith("/dev/") and os.path.realpath(mount.source) in nodes)
    ]


def _why_not_held(error: OSError) -> str:
    match error.errno:
        case errno.EBUSY:
            return "The kernel reports it as in use: by ZFS, by RAID, or mounted in a container."
        case errno.EACCES | errno.EPERM:
            return "Formatting requires root: use sudo."
        case _:
            return UNTOUCHED


def _check_same(disk: Device, done: str) -> None:
    if sysfs.read(disk.number) != disk:  # its diskseq is new with each medium
        raise DriveError(f"{disk.node}, or its medium, was removed", done)


@contextmanager
def _partition(disk: Device) -> Iterator[tuple[Device, int]]:
    """The disk's one partition and a descriptor of it. Raises OSError if it cannot be opened."""
    partition = next(sysfs.built_on(disk), None)
    if partition is None:
        raise DriveError(f"the kernel does not show the partition of {disk.node}", ERASED)
    with suppress(FileExistsError):  # it exists, unless there is neither devtmpfs nor udev
        os.mknod(partition.node, stat.S_IFBLK | 0o600, partition.number)
    descriptor = os.open(partition.node, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_rdev != partition.number:
            raise DriveError(f"{partition.node} is a stale node of another device", ERASED)
        yield partition, descriptor
    finally:
        os.close(descriptor)


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _how_to_close(disk: Device) -> str:
    return (
        f"{UNTOUCHED} A program has a partition open; `fuser -v {disk.node}*` names it. End it,"
        " then unplug the drive and plug it in again."
    )


def _run(command: Sequence[str], done: str, descriptor: int | None = None, text: str = "") -> None:
    """Run a program on an open device. If it fails, `done` is the hint: what has become of it."""
    limit = FORMAT_STEP_SECONDS
    try:
        ran = programs.run(
            command, programs.SYSTEM, limit, data=text.encode(), descriptor=descriptor
        )
    except OSError as error:
        raise DriveError(f"{command[0]} failed: {error}", done) from error
    if ran.code:
        reason = os.fsdecode(ran.errors).strip().replace("\n", "; ")
        raise DriveError(f"{command[0]} failed: {printable(reason)}", done)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(printable(name) for name in names)
