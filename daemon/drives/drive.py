"""The values that describe a drive. What forbids its use is in `checks`; nothing is opened here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.identity import Identity
    from daemon.drives.mounts import Mount
    from daemon.drives.sysfs import Device


@dataclass(frozen=True, slots=True)
class Volume:
    """A block device together with the identity that udev or blkid found for it."""

    device: Device
    identity: Identity

    def identities(self) -> dict[str, str]:
        """What distinguishes this device from others, for receipts and JSON; only known values.

        Bytes that are not UTF-8 are escaped, so that every value can be stored and sent.
        """
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
                "path": identity.path,
            }
        )

    def describe(self) -> str:
        """Such as "/dev/sdb1 (label HD001, serial WX11)", safe to print."""
        return f"{printable(self.device.node)} ({_names(self.identity)})"


@dataclass(frozen=True, slots=True)
class Unmounted(Volume):
    """A volume that is present, but whose root is not mounted."""

    above: tuple[Device, ...] = ()  # what is built on it: LUKS, LVM, RAID, bcache
    used_by: tuple[Mount, ...] = ()  # mounts of its folders, or as btrfs: none is a drive's root


@dataclass(frozen=True, slots=True)
class Drive(Volume):
    """A mounted file system on a block device: the volume and one of its mounts."""

    mount: Mount
    is_covered: bool = False  # another mount hides the mount point
    # By the monotonic clock, when the medium itself was asked for its identity; -inf if the
    # identity comes from udev or from memory.
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
        """Like those of a Volume, with the mount point and the type of the mount."""
        mount = {"mountPoint": self.mount.mount_point, "mountType": self.mount.mount_type}
        return Volume.identities(self) | _storable(mount)  # slots=True breaks super() in 3.11

    def describe(self) -> str:
        """Such as "/dev/sdb1 (label HD001, serial WX11) at /media/HD001", safe to print."""
        return f"{Volume.describe(self)} at {printable(self.mount_point)}"


def _storable(known: Mapping[str, str | None]) -> dict[str, str]:
    return {
        name: value.encode("utf-8", "backslashreplace").decode("utf-8")
        for name, value in known.items()
        if value
    }


def _names(identity: Identity) -> str:
    known = {"label": identity.label, "serial": identity.serial, "UUID": identity.uuid}
    return (
        ", ".join(f"{name} {printable(value)}" for name, value in known.items() if value)
        or "no label, serial or UUID"
    )
