"""Which drive a deviceId means. Nothing is opened here.

- All keys of a deviceId's entry under `devices` must match. A deviceId without an entry matches a
  drive whose label or serial equals it, unless `require_mapping` is on.
- Two disks for one deviceId, or one drive for two waiting deviceIds, are refused and named.
- Partitions of one disk share its serial: only those with the requested file system compete.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.drives.checks import has_file_system, wrong_file_system
from daemon.drives.drive import Drive, Unmounted, Volume
from daemon.drives.recognition import resemblance
from daemon.errors import DriveAbsentError, DriveError
from daemon.system.file_systems import FILE_SYSTEMS
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.identity import Identity

MOUNTABLE = frozenset(superblock for superblock, _ in FILE_SYSTEMS.values())
Devices = Mapping[str, Mapping[str, str]]  # deviceId -> {label, serial, wwn, uuid, partuuid}


@dataclass(frozen=True, slots=True)
class Recognition:
    """The rules by which a drive is recognised: `devices` and `require_mapping` of config.yml."""

    devices: Devices = field(default_factory=dict)
    require_mapping: bool = False  # whether only deviceIds with an entry can match a drive

    def device_ids(self, drive: Drive | Unmounted) -> frozenset[str]:
        """Return every deviceId that matches the drive."""
        candidates = {*self.devices, drive.identity.label or "", drive.identity.serial or ""}
        return frozenset(one for one in candidates if self.matches(drive, one))

    def matches(self, drive: Drive | Unmounted, device_id: str) -> bool:
        """Return whether the drive is recognised as `device_id`."""
        identity = drive.identity
        if device_id in self.devices:
            required = self.devices[device_id]
            return bool(required) and all(
                _has(identity, key, value) for key, value in required.items()
            )
        is_named = bool(device_id) and device_id in {identity.label, identity.serial}
        return is_named and not self.require_mapping

    def pick(
        self,
        device_id: str,
        file_system: str,
        drives: Collection[Drive],
        *,
        waiting: Container[str] = (),
        present: Iterable[Unmounted] = (),
    ) -> Drive:
        """Return the one drive for `device_id`; raise a DriveError that says why there is none.

        `waiting` are the deviceIds of all waiting jobs. `present` are the devices that are not
        mounted: a match among them makes the deviceId ambiguous, too. Two partitions of one disk
        are not two drives.
        """
        present = tuple(present)
        matching = [drive for drive in drives if self.matches(drive, device_id)]
        if not matching:
            raise self.explain_absent(device_id, drives, present)
        self._check_one_disk(device_id, matching, present)
        fitting = [drive for drive in matching if has_file_system(drive, file_system)]
        if len(fitting) > 1:
            raise _ambiguous(device_id, fitting)
        if not fitting:
            siblings = [one for one in present if one.device.disk == matching[0].device.disk]
            raise _no_file_system(file_system, matching, siblings, device_id)
        matches = self.device_ids(fitting[0]) - {device_id}
        if others := sorted(one for one in matches if one in waiting):
            raise _shared(fitting[0], [device_id, *others])
        return fitting[0]

    def explain_absent(
        self, device_id: str, drives: Iterable[Drive], present: Iterable[Unmounted] = ()
    ) -> DriveError:
        """Return the reason why no mounted drive matches `device_id`, to raise or to show."""
        name, present = printable(device_id), tuple(present)
        unmounted = [one for one in present if self.matches(one, device_id)]
        if len({one.device.disk for one in unmounted}) > 1:
            return _ambiguous(device_id, unmounted)
        if unmounted:
            return DriveError(
                f"{name} is present but not mounted: {_listed(unmounted)}",
                _how_to_mount(unmounted),
                code="not-mounted",
            )
        drives = tuple(drives)
        reason = f"no mounted drive matches {name}{_unidentified(drives)}"
        hint = self._how_recognised(device_id) + self._without_udev(device_id, drives)
        if near := resemblance.nearly(device_id, [*drives, *present]):
            return DriveError(reason + _near(near), hint + _lines(near), code="nearly-fits")
        return DriveAbsentError(reason, hint, code="drive-absent")

    def _check_one_disk(
        self, device_id: str, matching: Sequence[Drive], present: Iterable[Unmounted]
    ) -> None:
        """Raise DriveError if drives on several disks match, mounted or not."""
        disks = {drive.device.disk for drive in matching}
        unmounted = (one for one in present if self.matches(one, device_id))
        others = [one for one in unmounted if one.device.disk not in disks]
        if len(disks) + len(others) > 1:
            raise _ambiguous(device_id, [*matching, *others])

    def _how_recognised(self, device_id: str) -> str:
        name = printable(device_id)
        if required := self.devices.get(device_id):
            keys = ", ".join(f"{key} {printable(value)}" for key, value in required.items())
            return f"It must have {keys} (config.yml). `driveprep drives` lists the drives."
        if self.require_mapping:
            return f"require_mapping is on: add an entry for {name} under `devices` in config.yml."
        return (
            f"Mount the drive with the label or serial {name}, or add an entry for {name} under"
            " `devices` in config.yml. `driveprep drives` lists the drives."
        )

    def _without_udev(self, device_id: str, drives: Iterable[Drive]) -> str:
        undescribed = [drive for drive in drives if not drive.identity.by_udev]
        if not undescribed or not {"serial", "wwn"} & self.devices.get(device_id, {}).keys():
            return ""
        return f" Only udev knows serial and wwn, and it has not described {_listed(undescribed)}."


def _near(near: Sequence[tuple[Volume, str]]) -> str:
    return "".join(f"; it nearly fits {one.describe()}" for one, _ in near)


def _lines(near: Sequence[tuple[Volume, str]]) -> str:
    lines = " or ".join(f"`{line}`" for _, line in near)
    return f" If that drive is meant, write below `devices:` in config.yml: {lines}"


def _unidentified(drives: Iterable[Drive]) -> str:
    unknown = [
        f"{drive.describe()} could not be identified ({drive.identity.trouble})"
        for drive in drives
        if drive.identity.trouble
    ]
    return "".join(f"; {one}" for one in unknown)


def _how_to_mount(unmounted: Sequence[Unmounted]) -> str:
    """Return what mounts one of these volumes of one disk; only advice that can work."""
    for one in unmounted:
        if one.identity.file_system in MOUNTABLE:
            return f"Mount it in the desktop, or with: udisksctl mount -b {one.device.node}"
    if any(one.identity.file_system == "BitLocker" for one in unmounted):
        return "It is locked by BitLocker: decrypt it in Windows, or use another drive."
    return "It has no file system that can be used; `sudo driveprep drives` shows what is on it."


def _no_file_system(
    file_system: str, matching: Sequence[Drive], siblings: Sequence[Unmounted], device_id: str
) -> DriveError:
    """Return why none of the mounted volumes of a disk can be used.

    Erasing is never advised while the file system is, or may be, on another partition.
    """
    superblock, _ = FILE_SYSTEMS[file_system]
    for one in siblings:
        if one.identity.file_system == superblock:
            return DriveError(
                f"the {file_system} partition {one.describe()} of {printable(device_id)} is not"
                " mounted",
                _how_to_mount([one]),
                code="not-mounted",
            )
    unknown = [one for one in siblings if one.identity.file_system in {None, "BitLocker"}]
    if unknown:
        return DriveError(
            f"the manifest asks for {file_system}; {_listed(matching)} does not have it, and what"
            f" is on {_listed(unknown)} is not known",
            "`sudo driveprep drives` shows what is on the disk.",
            code="wrong-file-system",
        )
    return wrong_file_system(file_system, matching, device_id)


def _ambiguous(device_id: str, drives: Sequence[Drive | Unmounted]) -> DriveError:
    return DriveError(
        f"{len(drives)} drives match {printable(device_id)}: {_listed(drives)}",
        "Unplug all but the right one, or tell them apart by uuid or partuuid under `devices`"
        " in config.yml.",
        code="ambiguous-drive",
    )


def _shared(drive: Drive, device_ids: Sequence[str]) -> DriveError:
    names = " and ".join(printable(device_id) for device_id in device_ids)
    return DriveError(
        f"{drive.describe()} matches {names}, and a job waits for each of them",
        "Withdraw the wrong manifest, or give each deviceId its own drive under `devices` in"
        " config.yml.",
        code="ambiguous-device-id",
    )


def _has(identity: Identity, key: str, value: str) -> bool:
    match key:
        case "label":
            return identity.label == value
        case "serial":
            return identity.serial == value
        case "wwn":
            return _digits(identity.wwn) == _digits(value) != ""
        case "uuid":
            return _digits(identity.uuid) == _digits(value) != ""
        case "partuuid":
            return _digits(identity.part_uuid) == _digits(value) != ""
        case _:
            return False


def _digits(number: str | None) -> str:
    # lsblk, udev, Windows and the drive's own sticker differ in case, hyphens, spaces and 0x.
    return re.sub(r"[-\s]", "", number or "").lower().removeprefix("0x")


def _listed(drives: Iterable[Drive | Unmounted]) -> str:
    return "; ".join(drive.describe() for drive in drives)
