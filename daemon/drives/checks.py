"""What forbids the use of a drive, with the remedy. Nothing is opened and no remedy is run here.

- Superblock and mount type must both show the file system that the manifest asks for.
- A drive can be read-only for three reasons, each with its own remedy.
"""

from __future__ import annotations

import errno
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from daemon.errors import DriveError
from daemon.system.file_systems import FILE_SYSTEMS
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.drive import Drive
    from daemon.drives.sysfs import Device

# fuse(4): the process that serves the file system has ended, or its connection was aborted.
DRIVER_DIED = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
CODES = {errno.ENOSPC: "drive-full", errno.EROFS: "read-only"}


def check_usable(drive: Drive, file_system: str) -> None:
    """Raise DriveError if the drive, as it is now, cannot take a SIGNATURE."""
    if drive.identity.trouble:
        raise DriveError(
            f"the contents of {drive.describe()} are unknown: {drive.identity.trouble}",
            "Make sure that udev is running, or that driveprep may read the device;"
            " `driveprep doctor` checks both.",
            code="drive-unidentified",
        )
    if not has_file_system(drive, file_system):
        raise wrong_file_system(file_system, [drive], drive.identity.label or "DEVICEID")
    if drive.is_covered:
        raise DriveError(
            f"{drive.describe()} is hidden: something else was mounted over it",
            "Unmount what was mounted over it; `findmnt --shadowed` lists it.",
            code="covered",
        )
    if obstacle := _read_only(drive):
        raise obstacle


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


def wrong_file_system(file_system: str, drives: Sequence[Drive], device_id: str) -> DriveError:
    """The error for drives without `file_system`, with the command that would create it."""
    found = "; ".join(
        f"{drive.describe()} has {drive.identity.file_system or 'an unknown file system'},"
        f" mounted as {drive.mount.mount_type}"
        for drive in drives
    )
    make = _how_to_make(file_system, drives[0].device, shlex.quote(printable(device_id)))
    return DriveError(
        f"the manifest asks for {file_system}, but {found}",
        f"Correct fileSystem in the manifest, or format the drive as {file_system}. That ERASES"
        " everything on it, so driveprep never does it by itself:"
        f" umount {_quoted(drives[0])} && {make}",
        code="wrong-file-system",
    )


def _how_to_make(file_system: str, device: Device, label: str) -> str:
    if file_system == "NTFS":
        return f"driveprep format {shlex.quote(device.disk_node or device.node)} {label}"
    return f"mkfs.ext4 -L {label} {shlex.quote(device.node)}"


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
