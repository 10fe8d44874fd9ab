"""What forbids the use of a drive, with the remedy. Nothing is opened and no remedy is run here.

- Superblock and mount type must both show the file system that the manifest asks for.
- A drive can be read-only for three reasons, each with its own remedy.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from daemon.drives import stacks
from daemon.errors import DriveError
from daemon.system.file_systems import FILE_SYSTEMS, NTFS_DRIVERS, NTFS_MOUNT_TYPES
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.drive import Drive, Volume
    from daemon.drives.identity import Identity
    from daemon.drives.sysfs import Device

# fuse(4): the process that serves the file system has ended, or its connection was aborted.
DRIVER_DIED = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
CODES = {errno.ENOSPC: "drive-full", errno.EROFS: "read-only"}


@dataclass(frozen=True, slots=True)
class Fact:
    """What is wrong with a volume, as "it ...", and what to do about it."""

    text: str
    hint: str
    code: str


def check_usable(drive: Drive, file_system: str) -> None:
    """Raise DriveError if the drive, as it is now, cannot take a SIGNATURE."""
    if fact := unclear(drive):
        raise refusal(drive, fact)
    if not has_file_system(drive, file_system):
        raise wrong_file_system(file_system, [drive])
    if drive.is_covered:
        raise DriveError(
            f"{drive.describe()} is hidden: something else was mounted over it",
            "Unmount what was mounted over it; `findmnt --shadowed` lists it.",
            code="covered",
        )
    if obstacle := _read_only(drive):
        raise obstacle


def refusal(volume: Volume, fact: Fact) -> DriveError:
    """The error for a volume that cannot be used because of a fact."""
    return DriveError(f"{volume.describe()} cannot be used: {fact.text}", fact.hint, code=fact.code)


def unclear(drive: Drive) -> Fact | None:
    """Why a mounted drive is not one known file system on a disk or partition; None if it is."""
    if not stacks.is_plain(drive.device.layers):
        return built(drive.device)
    if names := _contradiction(drive):
        return several_signatures(drive.device, names)
    return unknown(drive.identity) if drive.identity.trouble else None


def built(device: Device, verb: str = "is inside") -> Fact:
    """A volume that is inside, or has on it, what is built on other devices.

    The receiver gets only these others, and sees no file system there.
    """
    return Fact(
        f"it {verb} {stacks.describe(device.layers)}; the receiver would see only"
        f" {stacks.seen_below(device.layers)}",
        "Use a drive whose file system is directly on the disk or on a partition of it.",
        "stacked-drive",
    )


def several_signatures(device: Device, names: Sequence[str]) -> Fact:
    """A volume on which something is left from an earlier use."""
    return Fact(
        f"it has the signatures of {' and '.join(map(printable, names))}",
        f"`wipefs {shlex.quote(device.node)}` lists them; it only reads. One is left from an"
        " earlier use, and other systems may not find the file system. A drive without data is"
        " best made again by `driveprep format`; otherwise use another drive.",
        "several-signatures",
    )


def unknown(identity: Identity) -> Fact:
    """A volume about which nothing was found out, or that is empty."""
    if identity.is_empty:
        hint = "A drive without data is made ready by `driveprep format`."
    else:
        hint = "`sudo driveprep drives` can tell more; `driveprep doctor` checks udev and blkid."
    text = f"its contents are unknown: {printable(identity.trouble)}"
    return Fact(text, hint, "drive-unidentified")


def _contradiction(drive: Drive) -> Sequence[str]:
    """The signatures that contradict each other, or that contradict the type of the mount."""
    superblock, mounted = drive.identity.file_system, drive.mount.mount_type
    if drive.identity.signatures or not superblock:
        return drive.identity.signatures
    is_ntfs = mounted in NTFS_DRIVERS
    if drive.identity.container or (is_ntfs and superblock != "ntfs"):
        return (superblock, "ntfs" if mounted in NTFS_MOUNT_TYPES else mounted)
    return ()


def failed(verb: str, mount_point: str, error: OSError) -> DriveError:
    """The error for a call that a mounted file system answered with `error`."""
    place = printable(mount_point)
    if error.errno in DRIVER_DIED:
        quoted = shlex.quote(place)
        return DriveError(
            f"cannot {verb} {place}: its driver has died",
            f"umount {quoted} and mount the drive again; `dmesg` may show the cause.",
            code="driver-died",
        )
    return DriveError(
        f"cannot {verb} {place}: {error.strerror or error}",
        "Check that the drive is plugged in, is writable and has free space, then plug it in"
        " again.",
        code=CODES.get(error.errno or 0, "drive-io-error"),
    )


def has_file_system(drive: Drive, file_system: str) -> bool:
    """Whether superblock and mount type both show the manifest's `file_system`."""
    superblock, mount_types = FILE_SYSTEMS[file_system]
    return drive.identity.file_system == superblock and drive.mount.mount_type in mount_types


def wrong_file_system(
    file_system: str, drives: Sequence[Drive], how_to_make: str = ""
) -> DriveError:
    """The error for drives without `file_system`, with what would make it, if that is allowed."""
    found = "; ".join(
        f"{drive.describe()} has {drive.identity.file_system or 'an unknown file system'},"
        f" mounted as {drive.mount.mount_type}"
        for drive in drives
    )
    return DriveError(
        f"the manifest asks for {file_system}, but {found}",
        how_to_make or "Correct fileSystem in the manifest, or use another drive.",
        code="wrong-file-system",
    )


def how_to_make(file_system: str, drive: Drive, mounted: Sequence[Drive], device_id: str) -> str:
    """What makes the file system. `mounted` are the drives on the same disk."""
    label = shlex.quote(printable(device_id))
    if file_system == "NTFS":
        node = drive.device.disk_node or drive.device.node
        make = f"driveprep format {shlex.quote(node)} {label}"
    else:
        make, mounted = f"mkfs.ext4 -L {label} {shlex.quote(drive.device.node)}", [drive]
    unmount = "".join(f"umount {_quoted(one)} && " for one in mounted)
    return (
        f"Correct fileSystem in the manifest, or format the drive as {file_system}. That ERASES"
        f" everything on it, so driveprep never does it by itself: {unmount}{make}"
    )


def _read_only(drive: Drive) -> DriveError | None:
    name, place, node = drive.describe(), _quoted(drive), drive.device.node
    folder = shlex.quote(printable(str(PurePosixPath(drive.mount_point).parent)))
    if drive.device.is_write_protected:
        return DriveError(
            f"{name} is write-protected: the kernel refuses all writes to {node}",
            "Move the lock switch on the card or case, or try another port. Some failing drives"
            " lock themselves.",
            code="write-protected",
        )
    if drive.mount.is_super_read_only:
        return DriveError(
            f"{name} is read-only: its file system was mounted read-only, or the kernel made it so",
            _how_to_make_writable(drive),
            code="read-only",
        )
    if drive.mount.is_read_only:
        return DriveError(
            f"{name} is read-only at this mount alone: the file system itself is writable",
            "If only the service sees it as read-only (`findmnt` in a shell shows rw), give the"
            f" service access: `systemctl edit driveprep`, [Service], ReadWritePaths=-{folder},"
            f" then restart it. Otherwise: mount -o remount,bind,rw {place}",
            code="read-only-mount",
        )
    return None


def _how_to_make_writable(drive: Drive) -> str:
    place, node = _quoted(drive), drive.device.node
    if drive.identity.file_system != "ntfs":
        return f"Check `dmesg` for errors; if there are none: mount -o remount,rw {place}"
    return (
        "If it was mounted with `ro`, mount it again without `ro`. Otherwise, Windows left it"
        " hibernated (Fast Startup does that) or dirty: boot Windows with the drive attached and"
        f" shut down completely (hold Shift). Without Windows: umount {place} && ntfsfix {node} &&"
        f" mount -t ntfs-3g {node} {place}, with -o remove_hiberfile if it is hibernated (files"
        " that Windows had open are lost)."
    )


def _quoted(drive: Drive) -> str:
    return shlex.quote(printable(drive.mount_point))
