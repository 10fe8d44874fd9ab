"""A whole disk: what forbids its erasure, and how it becomes one NTFS partition.

From the last look at what is on it to the proof the disk is held open exclusively, and what writes
is given the open descriptor instead of a name, so that no other disk can come into its place.
Who agrees to the erasure is no business of this room.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import stat
import subprocess
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from daemon.drives import identity, mounts, sysfs
from daemon.drives.drive import Unmounted
from daemon.errors import DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from daemon.drives.sysfs import Device

# The program -> Debian's package of it.
NEEDED = {
    "sfdisk": "fdisk",
    "partx": "util-linux",
    "blkid": "util-linux",
    "mkfs.ntfs": "ntfs-3g",
    "ntfslabel": "ntfs-3g",
}
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
# The disk is ours, so that sfdisk's own look for other users would find us. It is partx that tells
# the kernel, even one built without GPT; sfdisk would also sync() all drives, a hung one included.
SFDISK = "sfdisk --quiet --no-reread --no-tell-kernel --wipe=always --wipe-partitions=always"
# Windows looks for file systems only in partitions of this type, "Microsoft basic data".
TABLE = "label: gpt\nstart=1MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n"
MKFS = "mkfs.ntfs --quick --quiet"
# UTF-16 units. NTFS holds 128, but libblkid, and with it udev, reads the label from its record
# without undoing the fixup at each sector's end, and so gets the 64th unit wrong.
MAX_LABEL = 63
SYSTEM = frozenset({"/", "/usr", "/var", "/home", "/boot", "/boot/efi", "/boot/firmware", "/efi"})
UNTOUCHED = "Nothing was written to it."
ERASED = "What was on it is lost, and it is no NTFS drive yet: run the same command again."


def find(path: Path) -> Device:
    """The whole disk that this device node, or link to one, is. Raises DriveError."""
    try:
        found = path.stat()
    except OSError as error:
        raise DriveError(f"{path}: {error.strerror}", "`lsblk` lists the disks.") from error
    if not stat.S_ISBLK(found.st_mode):
        raise DriveError(f"{path} is no disk", "Give its device node; `lsblk` lists the disks.")
    device = sysfs.read(found.st_rdev)
    if device.number != device.disk:
        raise DriveError(
            f"{device.node} is a partition, and only whole disks are formatted",
            f"If all of {device.disk_node} may be erased, give that.",
        )
    if device.is_gone or sysfs.is_built(device):
        raise DriveError(f"{path} is no disk of its own", "`lsblk` shows what it is part of.")
    return device


def check_label(label: str) -> None:
    """Raise DriveError where NTFS could not hold the label, or it would not be read as written."""
    units = len(label.encode("utf-16-le", "surrogatepass")) // 2
    if units > MAX_LABEL:
        raise DriveError(
            f"{printable(label)} has {units} characters; a label is read to {MAX_LABEL}",
            "Make the drive NTFS by hand with a shorter label, and say under `devices` in"
            " config.yml by which serial the deviceId is recognised.",
        )
    if not label or label != label.strip() or label != printable(label):
        raise DriveError(
            f"'{printable(label)}' cannot be a label: empty, outer blanks, or what does not show",
            "Write the deviceId as it is in the manifest.",
        )


def check_erasable(disk: Device, *, internal: bool) -> None:
    """Raise DriveError where the disk is in use, not writable, or, unless `internal`, built in.

    Sees what this process can see; for all other use the kernel refuses hold().
    """
    parts = (disk, *sysfs.built_on(disk))
    _check_unmounted(disk, _places(parts))
    if swaps := [part.node for part in parts if part.node in sysfs.swaps()]:
        raise DriveError(f"the machine swaps to {_listed(swaps)}", f"swapoff {swaps[0]}")
    if others := [part.node for part in parts if part.disk != disk.number]:
        raise DriveError(
            f"{disk.node} is in use: {_listed(others)} (LUKS, LVM or RAID) is built on it",
            "Close that first; `lsblk` shows what it is.",
        )
    if disk.is_write_protected:
        raise DriveError(f"{disk.node} is write-protected", "See the lock switch of card or case.")
    if not disk.size:
        raise DriveError(f"{disk.node} has no medium", "Put one in.")
    if not internal and not sysfs.is_removable(disk):
        raise DriveError(
            f"{disk.node} is not removable, so it may be a part of this machine",
            "SATA docks and card slots can look so too: if you are sure, add --internal.",
        )


def look(device: Device, disk: Device) -> Unmounted:
    """What is on the disk or on a part of it at this moment."""
    known = identity.Identities().probed(device.number, disk.number, device.node)
    return Unmounted(device, known)


@contextmanager
def hold(disk: Device) -> Iterator[int]:
    """The disk, open for make_ntfs(); meanwhile nobody can mount it or build on it or its parts.

    Raises DriveError where it is in use already.
    """
    try:
        descriptor = os.open(disk.node, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise DriveError(f"{disk.node}: {error.strerror}", _why_not_held(error)) from error
    try:
        if os.fstat(descriptor).st_rdev != disk.number:
            raise DriveError(f"{disk.node} is another disk by now", UNTOUCHED)
        yield descriptor
    finally:
        os.close(descriptor)


def make_ntfs(disk: Device, descriptor: int, label: str) -> Unmounted:
    """ERASE the disk that is held; its one NTFS partition, as read back from the medium.

    Raises DriveError, whose hint tells whether anything was written. Safe to repeat.
    """
    # systemd's BLOCK_DEVICE_LOCKING: udev leaves a locked disk alone. Held until it is closed.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _check_same(disk, UNTOUCHED)
    if any(sysfs.built_on(disk)):  # refused where one is open: the last chance to notice a user
        _run(["partx", "--delete", disk.node], _how_to_close(disk))
    _run([*SFDISK.split(), _path(descriptor)], ERASED, descriptor, TABLE)
    _run(["partx", "--update", disk.node], ERASED)
    try:
        with _partition(disk) as (partition, inner):
            _check_same(disk, ERASED)
            _run([*MKFS.split(), f"--label={label}", _path(inner)], ERASED, inner)
            # mkfs.ntfs draws the same UUID for all drives that are made within ten seconds.
            _run(["ntfslabel", f"--new-serial={token_hex(8)}", _path(inner)], ERASED, inner)
            os.fsync(inner)
            os.posix_fadvise(inner, 0, 0, os.POSIX_FADV_DONTNEED)  # so that it is read back
            made = look(partition, disk)
    except OSError as error:
        raise DriveError(f"{disk.node}: {error.strerror}", ERASED) from error
    if (made.identity.file_system, made.identity.label) != ("ntfs", label):
        raise DriveError(
            f"{made.describe()} does not read back as NTFS with the label {label}",
            "The drive may be failing; `dmesg` tells. Do not ship it.",
        )
    return made


def _check_unmounted(disk: Device, places: Sequence[str]) -> None:
    if SYSTEM.intersection(places):
        raise DriveError(f"{disk.node} carries the running system: {_listed(places)}")
    if places:
        commands = [f"umount {shlex.quote(printable(place))}" for place in reversed(places)]
        raise DriveError(f"{disk.node} is mounted at {_listed(places)}", " && ".join(commands))


def _places(parts: Sequence[Device]) -> list[str]:
    numbers, nodes = {part.number for part in parts}, {part.node for part in parts}
    return [
        mount.mount_point
        for mount in mounts.read()
        # btrfs has a device number of its own, so that only the source leads to the disk.
        if mount.device_number in numbers
        or (mount.source.startswith("/dev/") and os.path.realpath(mount.source) in nodes)
    ]


def _why_not_held(error: OSError) -> str:
    match error.errno:
        case errno.EBUSY:
            return "The kernel says it is in use: by ZFS, by RAID, or mounted in some container."
        case errno.EACCES | errno.EPERM:
            return "Formatting takes root: use sudo."
        case _:
            return UNTOUCHED


def _check_same(disk: Device, done: str) -> None:
    if sysfs.read(disk.number) != disk:  # its diskseq is new with each medium
        raise DriveError(f"{disk.node}, or its medium, was taken out", done)


@contextmanager
def _partition(disk: Device) -> Iterator[tuple[Device, int]]:
    """The disk's one partition, and it opened. OSError where it cannot be."""
    partition = next(sysfs.built_on(disk), None)
    if partition is None:
        raise DriveError(f"the kernel does not show the partition of {disk.node}", ERASED)
    with suppress(FileExistsError):  # else nobody makes nodes: neither devtmpfs nor udev is there
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
        f"{UNTOUCHED} Some program has a partition open, `fuser -v {disk.node}*` names it: end it,"
        " then pull the drive out and plug it in again."
    )


def _run(command: Sequence[str], done: str, descriptor: int | None = None, text: str = "") -> None:
    """Run a program, on an open device; `done` is what to say of the device where it fails."""
    ran = subprocess.run(
        command,
        input=text.encode(),
        capture_output=True,
        pass_fds=[] if descriptor is None else [descriptor],
        env=ENVIRONMENT,
        check=False,
    )
    if ran.returncode:
        told = os.fsdecode(ran.stderr).strip().replace("\n", "; ")
        raise DriveError(f"{command[0]} failed: {printable(told)}", done)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(printable(name) for name in names)
