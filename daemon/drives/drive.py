"""What a drive is, and what forbids its use. Nothing is opened here.

- A file system has two witnesses, superblock and mount type, and both must agree.
- Read-only has three causes with three remedies. None is run, the command is told.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from daemon.errors import DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.identity import Identity
    from daemon.drives.mounts import Mount
    from daemon.drives.sysfs import Device

# The manifest's word -> the superblock's type, and the types such a mount can have.
# fuseblk is any FUSE driver on a block device: ntfs-3g, but exFAT's too.
FILE_SYSTEMS: Mapping[str, tuple[str, frozenset[str]]] = {
    "NTFS": (
        "ntfs",
        frozenset(
            {"fuseblk", "ntfs3", "ntfs", "ntfs-3g", "fuse.ntfs-3g", "fuseblk.ntfs-3g", "ufsd"}
        ),
    ),
    "EXT4": ("ext4", frozenset({"ext4"})),
}


@dataclass(frozen=True, slots=True)
class Unmounted:
    """A device that is present and could be mounted, but is not."""

    device: Device
    identity: Identity

    def identities(self) -> dict[str, str]:
        """What tells this device from others, as Drive has it."""
        identity = self.identity
        return _storable(
            {
                "deviceNode": self.device.node,
                "fileSystem": identity.file_system,
                "label": identity.label,
                "uuid": identity.uuid,
                "partuuid": identity.part_uuid,
                "serial": identity.serial,
                "wwn": identity.wwn,
                "model": identity.model,
            }
        )

    def describe(self) -> str:
        """Such as "/dev/sdb1 (label HD001, serial WX11)", safe to print."""
        return f"{printable(self.device.node)} ({_known_as(self.identity)})"


@dataclass(frozen=True, slots=True)
class Drive:
    """A mounted file system on a block device: the device, what is on it, and one of its mounts."""

    device: Device
    identity: Identity
    mount: Mount
    is_covered: bool = False  # another mount hides the mount point
    # By time.monotonic(), when the medium itself was asked for its identity; not a memory of it.
    probed_at: float = field(default=-math.inf, compare=False)

    @property
    def device_number(self) -> int:
        """The st_dev of everything on the drive."""
        return self.device.number

    @property
    def device_node(self) -> str:
        """Such as /dev/sdb1."""
        return self.device.node

    @property
    def mount_point(self) -> str:
        """The folder that is the drive's root."""
        return self.mount.mount_point

    def identities(self) -> dict[str, str]:
        """What tells this drive from others, for receipts and JSON; what it has not is not there.

        Bytes that are no UTF-8 are escaped, so that every value can be stored and sent.
        """
        mount = {"mountPoint": self.mount.mount_point, "mountType": self.mount.mount_type}
        return Unmounted(self.device, self.identity).identities() | _storable(mount)

    def describe(self) -> str:
        """Such as "/dev/sdb1 (label HD001, serial WX11) at /media/HD001", safe to print."""
        unmounted = Unmounted(self.device, self.identity)
        return f"{unmounted.describe()} at {printable(self.mount_point)}"


def has_file_system(drive: Drive, file_system: str) -> bool:
    """Whether superblock and mount type both say that this is the manifest's `file_system`."""
    superblock, mount_types = FILE_SYSTEMS[file_system]
    return drive.identity.file_system == superblock and drive.mount.mount_type in mount_types


def wrong_file_system(file_system: str, drives: Sequence[Drive], device_id: str) -> DriveError:
    """The error that these drives do not hold `file_system`, and the command that would make it."""
    found = "; ".join(
        f"{drive.describe()} has {drive.identity.file_system or 'an unknown file system'},"
        f" mounted as {drive.mount.mount_type}"
        for drive in drives
    )
    make = _how_to_make(file_system, drives[0].device, shlex.quote(printable(device_id)))
    return DriveError(
        f"the manifest asks for {file_system}, but {found}",
        f"Correct fileSystem in the manifest, or make it {file_system}, which driveprep never does"
        f" unasked because it ERASES all that is there: umount {_quoted(drives[0])} && {make}",
    )


def _how_to_make(file_system: str, device: Device, label: str) -> str:
    if file_system == "NTFS":
        return f"driveprep format {shlex.quote(device.disk_node or device.node)} {label}"
    return f"mkfs.ext4 -L {label} {shlex.quote(device.node)}"


def check_usable(drive: Drive, file_system: str) -> None:
    """Raise DriveError where the drive, as it is now, cannot take a SIGNATURE."""
    if drive.identity.trouble:
        raise DriveError(
            f"what is on {drive.describe()} is not known: {drive.identity.trouble}",
            "See that udev runs, or that driveprep may read the device; `driveprep doctor` checks.",
        )
    if not has_file_system(drive, file_system):
        raise wrong_file_system(file_system, [drive], drive.identity.label or "DEVICEID")
    if drive.is_covered:
        raise DriveError(
            f"{drive.describe()} is hidden: something else was mounted over it",
            "Unmount what was mounted over it; `findmnt --shadowed` lists it.",
        )
    if obstacle := _read_only(drive):
        raise obstacle


def _read_only(drive: Drive) -> DriveError | None:
    name, place, node = drive.describe(), _quoted(drive), drive.device.node
    folder = shlex.quote(printable(str(PurePosixPath(drive.mount_point).parent)))
    if drive.device.is_write_protected:
        return DriveError(
            f"{name} is write-protected: the kernel refuses all writes to {node}",
            "Move the lock switch of the card or case, or try another port; a failing drive locks"
            " itself.",
        )
    if drive.mount.is_super_read_only:
        return DriveError(
            f"{name} is read-only: its file system was mounted so, or made so by the kernel",
            _how_to_make_writable(drive),
        )
    if drive.mount.is_read_only:
        return DriveError(
            f"{name} is read-only at this mount alone: the file system itself is writable",
            "If only the service sees it so (`findmnt` in a shell says rw), open its folder to it:"
            f" `systemctl edit driveprep`, [Service], ReadWritePaths=-{folder}, then restart it."
            f" Otherwise: mount -o remount,bind,rw {place}",
        )
    return None


def _how_to_make_writable(drive: Drive) -> str:
    place, node = _quoted(drive), drive.device.node
    if drive.identity.file_system != "ntfs":
        return f"Look at `dmesg` for errors; if there are none: mount -o remount,rw {place}"
    return (
        "If it was mounted with `ro`, mount it without. Else Windows left it hibernated (fast"
        " start does) or dirty: start Windows with it and shut down fully (hold Shift). Without"
        f" Windows: umount {place} && ntfsfix {node} && mount -t ntfs-3g {node} {place}, with"
        " -o remove_hiberfile if it is hibernated (what Windows had open is lost)."
    )


def _storable(known: Mapping[str, str | None]) -> dict[str, str]:
    return {
        name: value.encode("utf-8", "backslashreplace").decode("utf-8")
        for name, value in known.items()
        if value
    }


def _known_as(identity: Identity) -> str:
    known = {"label": identity.label, "serial": identity.serial, "UUID": identity.uuid}
    return (
        ", ".join(f"{name} {printable(value)}" for name, value in known.items() if value)
        or "no label, serial or UUID"
    )


def _quoted(drive: Drive) -> str:
    return shlex.quote(printable(drive.mount_point))
