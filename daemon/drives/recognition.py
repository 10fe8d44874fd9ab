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
from daemon.drives.drive import Drive, Unmounted
from daemon.errors import DriveAbsentError, DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.identity import Identity

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
        mounted; they are considered only when no mounted drive matches.
        """
        matching = [drive for drive in drives if self.matches(drive, device_id)]
        if not matching:
            raise self.explain_absent(device_id, drives, present)
        if len({drive.device.disk for drive in matching}) > 1:
            raise _ambiguous(device_id, matching)
        fitting = [drive for drive in matching if has_file_system(drive, file_system)]
        if len(fitting) > 1:
            raise _ambiguous(device_id, fitting)
        if not fitting:
            raise wrong_file_system(file_system, matching, device_id)
        matches = self.device_ids(fitting[0]) - {device_id}
        if others := sorted(one for one in matches if one in waiting):
            raise _shared(fitting[0], [device_id, *others])
        return fitting[0]

    def explain_absent(
        self, device_id: str, drives: Iterable[Drive], present: Iterable[Unmounted] = ()
    ) -> DriveError:
        """Return the reason why no mounted drive matches `device_id`, to raise or to show."""
        name = printable(device_id)
        unmounted = [one for one in present if self.matches(one, device_id)]
        if unmounted:
            return DriveError(
                f"{name} is present but not mounted: {_listed(unmounted)}",
                f"Mount it in the desktop, or with: udisksctl mount -b {unmounted[0].device.node}",
                code="not-mounted",
            )
        drives = tuple(drives)
        return DriveAbsentError(
            f"no mounted drive matches {name}{_unidentified(drives)}",
            self._how_recognised(device_id) + self._without_udev(device_id, drives),
            code="drive-absent",
        )

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


def _unidentified(drives: Iterable[Drive]) -> str:
    unknown = [
        f"{drive.describe()} could not be identified ({drive.identity.trouble})"
        for drive in drives
        if drive.identity.trouble
    ]
    return "".join(f"; {one}" for one in unknown)


def _ambiguous(device_id: str, drives: Sequence[Drive]) -> DriveError:
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
