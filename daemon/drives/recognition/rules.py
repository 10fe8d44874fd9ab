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
from functools import partial
from typing import TYPE_CHECKING

from daemon.drives.checks import has_file_system, unclear
from daemon.drives.drive import Drive, Unmounted, Volume
from daemon.drives.recognition import absence, resemblance
from daemon.drives.recognition.absence import listed, no_file_system
from daemon.drives.recognition.bays import Bays
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
    bays: Bays = field(default_factory=Bays)

    def device_ids(self, drive: Volume) -> frozenset[str]:
        """Return every deviceId that matches the drive."""
        candidates = {*self.devices, drive.identity.label or "", drive.identity.serial or ""}
        return frozenset(one for one in candidates if self.matches(drive, one))

    def matches(self, drive: Volume, device_id: str) -> bool:
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
        is_brief: bool = False,
    ) -> Drive:
        """Return the one drive for `device_id`; raise a DriveError that says why there is none.

        `waiting` are the deviceIds of all waiting jobs. `present` are the devices that are not
        mounted: a match among them makes the deviceId ambiguous, too. Two partitions of one disk
        are not two drives. If it `is_brief`, the reason leaves out what only may be meant.
        """
        present = tuple(present)
        matching = [drive for drive in drives if self.matches(drive, device_id)]
        if not matching:
            raise self.explain_absent(device_id, drives, present, file_system, is_brief=is_brief)
        self._check_one_disk(device_id, matching, present)
        fitting = [
            drive
            for drive in matching
            if has_file_system(drive, file_system) and not unclear(drive)
        ]
        if len(fitting) > 1:
            raise _ambiguous(device_id, fitting)
        if not fitting:
            disk = matching[0].device.disk
            on_disk = [one for one in (*drives, *present) if one.device.disk == disk]
            is_meant = partial(self.matches, device_id=device_id)
            raise no_file_system(device_id, file_system, matching, on_disk, is_meant)
        self.bays.check(fitting[0], [*drives, *present])
        matches = self.device_ids(fitting[0]) - {device_id}
        if others := sorted(one for one in matches if one in waiting):
            raise _shared(fitting[0], [device_id, *others])
        return fitting[0]

    def explain_absent(
        self,
        device_id: str,
        drives: Iterable[Drive],
        present: Iterable[Unmounted] = (),
        file_system: str | None = None,
        *,
        is_brief: bool = False,
    ) -> DriveError:
        """Return the reason why no mounted drive matches `device_id`, to raise or to show.

        Every volume is named that could be the one, because it cannot be read; not if it
        `is_brief`.
        """
        present = tuple(present)
        unmounted = [one for one in present if self.matches(one, device_id)]
        if len({one.device.disk for one in unmounted}) > 1:
            return _ambiguous(device_id, unmounted)
        if unmounted:
            return absence.not_mounted(device_id, unmounted, file_system)
        volumes: list[Volume] = [*drives, *present]
        unknown = [one for one in volumes if not is_brief and self._could_be(one, device_id)]
        clauses = dict(map(absence.unreadable, unknown))
        reason = "; ".join([f"no mounted drive matches {printable(device_id)}", *clauses])
        hint = self._how_recognised(device_id) + self._without_udev(device_id, volumes)
        hint = " ".join([hint, *filter(None, dict.fromkeys(clauses.values()))])
        if near := resemblance.nearly(device_id, volumes):
            return DriveError(reason + _near(near), hint + _lines(near), code="nearly-fits")
        return DriveAbsentError(reason, hint, code="drive-absent")

    def _could_be(self, volume: Volume, device_id: str) -> bool:
        """Return whether a volume that cannot be read may be the one: nothing known differs."""
        if not absence.is_unreadable(volume):
            return False
        required = self.devices.get(device_id)
        if required is None:
            return not self.require_mapping
        return all(
            _value(volume.identity, key) is None or _has(volume.identity, key, value)
            for key, value in required.items()
        )

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

    def _without_udev(self, device_id: str, volumes: Iterable[Volume]) -> str:
        undescribed = [one for one in volumes if not one.identity.by_udev]
        if not undescribed or not {"serial", "wwn"} & self.devices.get(device_id, {}).keys():
            return ""
        return f" Only udev knows serial and wwn, and it has not described {listed(undescribed)}."


def _near(near: Sequence[tuple[Volume, str]]) -> str:
    return "".join(f"; it nearly fits {one.describe()}" for one, _ in near)


def _lines(near: Sequence[tuple[Volume, str]]) -> str:
    lines = " or ".join(f"`{line}`" for _, line in near)
    return f" If that drive is meant, write below `devices:` in config.yml: {lines}"


def _ambiguous(device_id: str, drives: Sequence[Drive | Unmounted]) -> DriveError:
    return DriveError(
        f"{len(drives)} drives match {printable(device_id)}: {listed(drives)}",
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
    found = _value(identity, key)
    if key in {"label", "serial"}:
        return found == value
    return _digits(found) == _digits(value) != ""


def _value(identity: Identity, key: str) -> str | None:
    match key:
        case "label":
            return identity.label
        case "serial":
            return identity.serial
        case "wwn":
            return identity.wwn
        case "uuid":
            return identity.uuid
        case "partuuid":
            return identity.part_uuid
        case _:
            return None


def _digits(number: str | None) -> str:
    # lsblk, udev, Windows and the drive's own sticker differ in case, hyphens, spaces and 0x.
    return re.sub(r"[-\s]", "", number or "").lower().removeprefix("0x")
