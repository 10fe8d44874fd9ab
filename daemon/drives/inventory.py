"""The drives of this machine: mounted, present, and checked once more just before use.

Candidates come from the mount table alone; a mount that is not on a block device is never touched.
Which drive a deviceId means is in `recognition`, what forbids its use is in `checks`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.drives import mounts, sysfs
from daemon.drives.checks import check_usable, failed
from daemon.drives.drive import Drive, Unmounted
from daemon.drives.identity import Identity
from daemon.drives.present import Listing
from daemon.drives.probes import Identities
from daemon.errors import DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.medium.contents import Contents
    from daemon.drives.mounts import Mount
    from daemon.drives.signature import Root
    from daemon.drives.sysfs import Device, Listed

PROBES_AT_ONCE = 8  # so that one drive that never answers does not delay the others

# A result this recent can be reused if nothing was mounted or unmounted since. The time alone
# proves nothing: a drive can be unmounted, relabelled and mounted again within 5 ms, and can keep
# its device number, diskseq and mount id.
FRESH_SECONDS = 0.02

# What changes when another medium or another mount takes the place. All four can stay the same if
# a drive is unmounted, reformatted and mounted between two scans; so verify() corrects the memory.
_Key = tuple[int, int, int | None, str]  # mount id, device number, diskseq, mount point


class Drives:
    """Finds the machine's drives, and remembers identities. May be used from several threads.

    `steady` is the monotonic clock. `table` is the mount table of another process, whose drives
    are then only looked at; None: of this one.
    """

    def __init__(
        self,
        identities: Identities | None = None,
        *,
        steady: Callable[[], float] = time.monotonic,
        table: Path | None = None,
    ) -> None:
        self._identities = identities or Identities()
        self._steady = steady
        self._table = table
        self._last_change = mounts.LastChange(steady, table)
        self._remembered: dict[_Key, Identity] = {}
        self._seen: dict[_Key, float] = {}  # when each that is mounted was first seen
        self._present: dict[tuple[int, int | None, int], Identity] = {}  # not mounted
        self._disks: object = None  # the state of all disks when these devices were read:
        self._devices: tuple[Listed, ...] = ()

    def mounted(self, *, ask_again: bool = True) -> tuple[Drive, ...]:
        """Every mounted drive, each once, in the order of the mount table.

        A drive that cannot be identified is included; its identity has a `trouble`. With
        `ask_again`, drives about which something is still unknown are asked again. Raises
        DriveError only if the mount table itself cannot be read.
        """
        self._last_change.noticed_at()  # a later change is one that the table may not show
        now = self._steady()
        table = mounts.read(self._table)
        found: dict[_Key, tuple[Device, Mount]] = {}
        for mount in mounts.roots(table):
            device = sysfs.read(mount.device_number)
            found[_key(device, mount)] = device, mount
        self._seen = {key: self._seen.get(key, now) for key in found}
        known = self._known(found.keys(), ask_again=ask_again)
        new = self._identify({key: found[key][0] for key in found.keys() - known.keys()})
        drives = []
        for key, (device, mount) in found.items():
            identity = known[key] if key in known else new[key]
            probed_at = now if key in new and not identity.by_udev else -math.inf
            is_covered = mounts.is_covered(mount, table)
            drives.append(Drive(device, identity, mount, is_covered, probed_at))
        return tuple(drives)

    def seconds_here(self, drive: Drive) -> float:
        """Return for how long the drive has been seen as mounted; 0 if it was not seen before."""
        now = self._steady()
        return now - self._seen.get(_key(drive.device, drive.mount), now)

    def present(self, *, ask_again: bool = True) -> tuple[Unmounted, ...]:
        """All that has a medium and is not mounted, so that each disk has a row; see `present`.

        Without `ask_again`, only devices are asked that were not there at the last call, or that
        udev had not described.
        """
        table = mounts.read()
        listing = Listing(self._with_medium(), table)
        remembered, self._present = self._present, {}
        found = []
        for listed in listing.to_identify():
            device = listed.device
            key = device.number, device.diskseq, device.size
            identity = None if ask_again else self._described_by_now(remembered.get(key), device)
            identity = identity or self._known_to_udev_or_probed(listed)
            self._present[key] = identity
            found.append((listed, identity))
        return listing.rows(found)

    def _with_medium(self) -> tuple[Listed, ...]:
        """Return the devices with a medium; read again only if any disk has changed."""
        disks = sysfs.disks()
        if disks is None or disks != self._disks:
            self._disks, self._devices = disks, tuple(sysfs.with_medium())
        return self._devices

    def _described_by_now(self, known: Identity | None, device: Device) -> Identity | None:
        """What is remembered, unless udev has described the device since."""
        if known is None or known.by_udev or self._identities.is_final(known):
            return known
        return self._identities.described(device.number, device.disk) or known

    def _known_to_udev_or_probed(self, listed: Listed) -> Identity:
        """udev's answer is enough here, and does not wake a sleeping disk, unless it is none."""
        device = listed.device
        described = self._identities.described(device.number, device.disk)
        if described and (described.is_clear or listed.holders):
            return described
        if sysfs.is_slow_to_open(device):
            return described or Identity(trouble="udev has not described it")
        return self._identities.probed(device.number, device.disk, device.node)

    def verify(self, drive: Drive, file_system: str) -> Drive:
        """The drive as it is now, checked again. Raises DriveError if it changed or is unusable.

        Call it just before CreateJob and just before writing, with the mount point's folder open
        from before this call until after is_still(): an open folder pins the file system, so the
        kernel cannot give its device number to another drive meanwhile.
        """
        if self._is_fresh(drive) and drive.device.diskseq is not None and is_still(drive):
            check_usable(drive, file_system)
            return drive
        now = self._steady()
        table = mounts.read()
        mount = _same_place(drive, table)
        device = sysfs.read(mount.device_number)
        if device.is_gone or device.diskseq != drive.device.diskseq:
            raise _changed(drive, "it, or its medium, was removed in the meantime")
        identity = self._identities.probed(device.number, device.disk, device.node)
        self._remembered[_key(device, mount)] = identity
        fresh = Drive(device, identity, mount, mounts.is_covered(mount, table), now)
        check_usable(fresh, file_system)
        _check_same_identity(drive, identity)
        return fresh

    def _is_fresh(self, drive: Drive) -> bool:
        """Return whether the drive was probed just now, with no change of the mounts since."""
        is_recent = self._steady() - drive.probed_at < FRESH_SECONDS
        return is_recent and self._last_change.noticed_at() < drive.probed_at

    def contents(self, root: Root) -> Contents:
        """What is on the drive whose root is held open. Raises DriveError."""
        return root.contents()

    def is_still(self, drive: Drive) -> bool:
        """Return whether nothing has happened to the drive since it was scanned, see `is_still`."""
        return is_still(drive)

    def _known(self, here: Set[_Key], *, ask_again: bool) -> dict[_Key, Identity]:
        """What is remembered of the drives that are here; all others are forgotten."""
        remembered = self._remembered.copy()  # a worker may be in verify()
        for key in remembered.keys() - here:
            self._remembered.pop(key, None)
        return {
            key: identity
            for key, identity in remembered.items()
            if key in here and (not ask_again or self._identities.is_final(identity))
        }

    def _identify(self, new: Mapping[_Key, Device]) -> dict[_Key, Identity]:
        if len(new) <= 1:  # nearly always; threads would take time to load
            found = {key: self._identity(device) for key, device in new.items()}
        else:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
                found = dict(zip(new, pool.map(self._identity, new.values()), strict=True))
        self._remembered |= found
        return found

    def _identity(self, device: Device) -> Identity:
        if device.is_gone:
            return Identity(trouble="it was removed while mounted")
        identity = self._identities.described(device.number, device.disk)
        if identity and identity.is_clear:
            return identity
        return self._identities.probed(device.number, device.disk, device.node)


def is_still(drive: Drive) -> bool:
    """Whether the drive's mount and its disk are the same as when `drive` was found.

    Cheap enough to be called before and after each write; touches neither mount nor medium.
    """
    table = mounts.read()
    return (
        drive.mount in table
        and not mounts.is_covered(drive.mount, table)
        and sysfs.read(drive.device.number) == drive.device
    )


def capacity(drive: Drive, seconds: float = 5.0) -> tuple[int, int]:
    """Free and total bytes. Raises DriveError if the file system fails, or is silent for `seconds`.

    A thread is left behind with a drive that does not answer: nothing can end its call.
    """
    import psutil  # noqa: PLC0415 - only commands that show capacity should pay for loading it

    answers: list[tuple[int, int] | OSError] = []

    def ask() -> None:
        try:
            usage = psutil.disk_usage(drive.mount_point)
            answers.append((usage.free, usage.total))
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    match answers:
        case [OSError() as error]:
            raise failed("read", drive.mount_point, error)
        case [(free, size)]:
            return free, size
    raise DriveError(
        f"{drive.describe()} has not answered for {seconds:.0f} s",
        "Unplug it and plug it in again; `dmesg` may show the cause.",
        code="drive-hung",
    )


def _same_place(drive: Drive, table: Sequence[Mount]) -> Mount:
    here = [mount for mount in table if mount.mount_point == drive.mount_point]
    same = [
        mount for mount in here if mount.device_number == drive.device_number and mount.root == "/"
    ]
    if not same:
        what = "something else is mounted there" if here else "it is no longer mounted there"
        raise _changed(drive, what)
    return min(same, key=lambda mount: mounts.is_covered(mount, table))


def _check_same_identity(drive: Drive, identity: Identity) -> None:
    for name in ("label", "uuid", "part_uuid", "serial"):
        before, now = getattr(drive.identity, name), getattr(identity, name)
        if before != now:
            raise _changed(drive, f"its {name} was {before}, and is now {now}")


def _changed(drive: Drive, what: str) -> DriveError:
    return DriveError(
        f"{drive.describe()} has changed: {printable(what)}",
        "If this is not the right drive, plug in the right one; driveprep checks it again.",
        code="drive-changed",
    )


def _key(device: Device, mount: Mount) -> _Key:
    return mount.mount_id, device.number, device.diskseq, mount.mount_point
