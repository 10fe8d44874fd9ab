"""The drives of this machine: mounted, present, and looked at once more just before use.

Candidates come from the mount table alone; nothing is asked of a mount that is not on a block
device. Which drive a deviceId means is `recognition`'s business, what forbids its use is `drive`'s.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from daemon.drives import mounts, sysfs
from daemon.drives.drive import Drive, Unmounted, check_usable
from daemon.drives.identity import Identities, Identity
from daemon.errors import DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.mounts import Mount
    from daemon.drives.sysfs import Device

PROBES_AT_ONCE = 8  # so that one drive that never answers holds up no other

# So young a look needs no other: an unmount, mkfs and mount that keep the device, its attachment
# (diskseq) and the mount id all the same take longer.
FRESH_SECONDS = 0.02

# What changes when another medium or another mount takes the place. An unmount, mkfs and mount
# faster than two looks can keep all four, so verify() corrects what is remembered.
_Key = tuple[int, int, int | None, str]  # mount id, device number, diskseq, mount point


class Drives:
    """Looks at the machine's drives, and remembers identities. May be used from several threads."""

    def __init__(self, identities: Identities | None = None) -> None:
        self._identities = identities or Identities()
        self._remembered: dict[_Key, Identity] = {}

    def mounted(self, *, ask_again: bool = True) -> tuple[Drive, ...]:
        """Every mounted drive, each once, in the order of the mount table.

        A drive that cannot be identified is among them, with its identity's `trouble`. With
        `ask_again`, those are asked again of whom not all could be learned before. Raises
        DriveError only where the mount table itself cannot be read.
        """
        table = mounts.read()
        found = {
            _key(device, mount): (device, mount)
            for mount in _one_each(table)
            for device in [sysfs.read(mount.device_number)]
        }
        now = time.monotonic()
        known = self._known(found.keys(), ask_again=ask_again)
        new = found.keys() - known.keys()
        identities = known | self._identify({key: found[key][0] for key in new})
        return tuple(
            Drive(device, identity, mount, mounts.is_covered(mount, table), probed_at)
            for key, (device, mount) in found.items()
            for identity in [identities[key]]
            for probed_at in [now if key in new and not identity.by_udev else -math.inf]
        )

    def present(self) -> tuple[Unmounted, ...]:
        """The devices that could be mounted but are not, and of which anything is known."""
        busy = {mount.device_number for mount in mounts.read()}
        ask = self._identities
        found = (
            # udev's word is enough here, and lets a sleeping disk sleep.
            Unmounted(device, ask.described(number, disk) or ask.probed(number, disk, device.node))
            for device in sysfs.idle(busy)
            for number, disk in [(device.number, device.disk)]
        )
        return tuple(one for one in found if one.identity.file_system or one.identity.serial)

    def verify(self, drive: Drive, file_system: str) -> Drive:
        """The drive as it is now, looked at afresh; DriveError where it is another or unusable.

        Call it just before CreateJob and just before writing, with the mount point's folder open
        from before this call until after is_still(): an open folder pins the file system, so the
        kernel cannot give its device number to another drive meanwhile.
        """
        is_young = time.monotonic() - drive.probed_at < FRESH_SECONDS
        if is_young and drive.device.diskseq is not None and is_still(drive):
            check_usable(drive, file_system)
            return drive
        table = mounts.read()
        mount = _same_place(drive, table)
        device = sysfs.read(mount.device_number)
        if device.is_gone or device.diskseq != drive.device.diskseq:
            raise _changed(drive, "it, or its medium, was taken out in between")
        identity = self._identities.probed(device.number, device.disk, device.node)
        self._remembered[_key(device, mount)] = identity
        fresh = Drive(device, identity, mount, mounts.is_covered(mount, table), time.monotonic())
        check_usable(fresh, file_system)
        for name in ("label", "uuid", "part_uuid", "serial"):
            before, now = getattr(drive.identity, name), getattr(identity, name)
            if before != now:
                raise _changed(drive, f"its {name} was {before}, and is now {now}")
        return fresh

    def is_still(self, drive: Drive) -> bool:
        """Return whether nothing has happened to the drive since it was scanned, see `is_still`."""
        return is_still(drive)

    def _known(self, here: Set[_Key], *, ask_again: bool) -> dict[_Key, Identity]:
        """What is remembered of the drives that are here; the others are forgotten."""
        remembered = self._remembered.copy()  # a worker may be in verify()
        for key in remembered.keys() - here:
            self._remembered.pop(key, None)
        return {
            key: identity
            for key, identity in remembered.items()
            if key in here and (not ask_again or self._identities.is_final(identity))
        }

    def _identify(self, new: Mapping[_Key, Device]) -> dict[_Key, Identity]:
        if len(new) == 1:  # as nearly always: no threads for one, nor the time to load them
            found = {key: self._identity(device) for key, device in new.items()}
        else:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
                found = dict(zip(new, pool.map(self._identity, new.values()), strict=True))
        self._remembered |= found
        return found

    def _identity(self, device: Device) -> Identity:
        if device.is_gone:
            return Identity(trouble="it was pulled out while mounted")
        identity = self._identities.described(device.number, device.disk)
        if identity and identity.file_system:
            return identity
        return self._identities.probed(device.number, device.disk, device.node)


def is_still(drive: Drive) -> bool:
    """Whether nothing has happened to the drive's mount or its disk since `drive` was looked at.

    Cheap enough for just before and just after each write; touches neither mount nor medium.
    """
    table = mounts.read()
    return (
        drive.mount in table
        and not mounts.is_covered(drive.mount, table)
        and sysfs.read(drive.device.number) == drive.device
    )


def capacity(drive: Drive) -> tuple[int, int]:
    """Free and total bytes. Asks the file system, so it can hang where the drive does."""
    import psutil  # noqa: PLC0415 - only commands that show capacity pay for loading it

    usage = psutil.disk_usage(drive.mount_point)
    return usage.free, usage.total


def _one_each(table: Sequence[Mount]) -> list[Mount]:
    """One mount for each block device: reachable before covered, writable before read-only."""
    by_device: dict[int, list[Mount]] = {}
    for mount in table:
        # Major 0 is no device: network, memory, overlay, btrfs. Another root is a folder's bind.
        if os.major(mount.device_number) and mount.root == "/":
            by_device.setdefault(mount.device_number, []).append(mount)
    return [
        min(same, key=lambda mount: (mounts.is_covered(mount, table), mount.is_read_only))
        if len(same) > 1
        else same[0]
        for same in by_device.values()
    ]


def _same_place(drive: Drive, table: Sequence[Mount]) -> Mount:
    here = [mount for mount in table if mount.mount_point == drive.mount_point]
    same = [
        mount for mount in here if mount.device_number == drive.device_number and mount.root == "/"
    ]
    if not same:
        what = "something else is mounted there" if here else "it is not mounted there any more"
        raise _changed(drive, what)
    return min(same, key=lambda mount: mounts.is_covered(mount, table))


def _changed(drive: Drive, what: str) -> DriveError:
    return DriveError(
        f"{drive.describe()} is not as it was: {printable(what)}",
        "Plug the right drive in if this one is not it; it is looked at anew.",
    )


def _key(device: Device, mount: Mount) -> _Key:
    return mount.mount_id, device.number, device.diskseq, mount.mount_point
