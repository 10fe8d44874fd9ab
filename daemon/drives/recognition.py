"""Which drive a deviceId means. Nothing is opened here.

- All keys of a deviceId's entry under `devices` must hold. A deviceId without an entry answers to
  a label or a serial equal to it, unless `require_mapping` is on.
- Two disks for one deviceId, or one drive for two deviceIds that wait: refused and named.
- Partitions of one disk share its serial: only those with the file system asked for compete.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from daemon.drives.drive import Drive, Unmounted, has_file_system, wrong_file_system
from daemon.errors import DriveAbsentError, DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.drives.identity import Identity

Devices = Mapping[str, Mapping[str, str]]  # deviceId -> {label, serial, wwn, uuid, partuuid}


def device_ids(drive: Drive | Unmounted, devices: Devices, require_mapping: bool) -> frozenset[str]:
    """Every deviceId the drive answers to."""
    candidates = {*devices, drive.identity.label or "", drive.identity.serial or ""}
    return frozenset(
        device_id
        for device_id in candidates
        if answers_to(drive, device_id, devices, require_mapping)
    )


def answers_to(
    drive: Drive | Unmounted, device_id: str, devices: Devices, require_mapping: bool
) -> bool:
    """Whether the drive is recognised as `device_id`."""
    identity = drive.identity
    if device_id in devices:
        wanted = devices[device_id]
        return bool(wanted) and all(_holds(identity, key, wanted[key]) for key in wanted)
    is_known = bool(device_id) and device_id in {identity.label, identity.serial}
    return is_known and not require_mapping


def pick(
    device_id: str,
    file_system: str,
    drives: Collection[Drive],
    devices: Devices,
    require_mapping: bool,
    *,
    asked: Container[str] = (),
    present: Iterable[Unmounted] = (),
) -> Drive:
    """The one drive for `device_id`, or a DriveError that names what stands in the way.

    `asked` are the deviceIds of all jobs that wait; `present`, looked at only where no drive is
    recognised, the devices that are not mounted.
    """
    matching = [drive for drive in drives if answers_to(drive, device_id, devices, require_mapping)]
    if not matching:
        raise explain_absent(device_id, drives, devices, require_mapping, present)
    if len({drive.device.disk for drive in matching}) > 1:
        raise _ambiguous(device_id, matching)
    fitting = [drive for drive in matching if has_file_system(drive, file_system)]
    if len(fitting) > 1:
        raise _ambiguous(device_id, fitting)
    if not fitting:
        raise wrong_file_system(file_system, matching, device_id)
    answers = device_ids(fitting[0], devices, require_mapping) - {device_id}
    if others := sorted(one for one in answers if one in asked):
        raise _shared(fitting[0], [device_id, *others])
    return fitting[0]


def explain_absent(
    device_id: str,
    drives: Iterable[Drive],
    devices: Devices,
    require_mapping: bool,
    present: Iterable[Unmounted] = (),
) -> DriveError:
    """Why no mounted drive is recognised as `device_id`, as an error to raise or to show."""
    name = printable(device_id)
    unmounted = [one for one in present if answers_to(one, device_id, devices, require_mapping)]
    if unmounted:
        return DriveError(
            f"{name} is present but not mounted: {_listed(unmounted)}",
            f"Mount it in the desktop, or with: udisksctl mount -b {unmounted[0].device.node}",
        )
    drives = tuple(drives)
    unknown = [
        f"{drive.describe()} ({drive.identity.trouble})"
        for drive in drives
        if drive.identity.trouble
    ]
    doubt = f"; not known is {'; '.join(unknown)}" if unknown else ""
    return DriveAbsentError(
        f"no mounted drive is recognised as {name}{doubt}",
        _how_recognised(device_id, devices, require_mapping)
        + _without_udev(device_id, drives, devices),
    )


def _ambiguous(device_id: str, drives: Sequence[Drive]) -> DriveError:
    return DriveError(
        f"{len(drives)} drives are recognised as {printable(device_id)}: {_listed(drives)}",
        "Take out all but the right one, or tell them apart by uuid or partuuid under `devices`"
        " in config.yml.",
    )


def _shared(drive: Drive, device_ids: Sequence[str]) -> DriveError:
    names = " and ".join(printable(device_id) for device_id in device_ids)
    return DriveError(
        f"{drive.describe()} is recognised as {names}, for each of which a job waits",
        "Withdraw the wrong manifest, or give each deviceId its own drive under `devices` in"
        " config.yml.",
    )


def _how_recognised(device_id: str, devices: Devices, require_mapping: bool) -> str:
    name = printable(device_id)
    if wanted := devices.get(device_id):
        keys = ", ".join(f"{key} {printable(value)}" for key, value in wanted.items())
        return f"It must have {keys} (config.yml). `driveprep drives` shows what is here."
    if require_mapping:
        return f"require_mapping is on: say under `devices` in config.yml what {name} is."
    return (
        f"Mount the drive with the label or serial {name}, or say under `devices` in config.yml"
        f" what {name} is. `driveprep drives` shows what is here."
    )


def _without_udev(device_id: str, drives: Iterable[Drive], devices: Devices) -> str:
    strangers = [drive for drive in drives if not drive.identity.by_udev]
    if not strangers or not {"serial", "wwn"} & devices.get(device_id, {}).keys():
        return ""
    return f" Only udev knows serial and wwn, and it has not described {_listed(strangers)}."


def _holds(identity: Identity, key: str, wanted: str) -> bool:
    match key:
        case "label":
            return identity.label == wanted
        case "serial":
            return identity.serial == wanted
        case "wwn":
            return _digits(identity.wwn) == _digits(wanted) != ""
        case "uuid":
            return _digits(identity.uuid) == _digits(wanted) != ""
        case "partuuid":
            return _digits(identity.part_uuid) == _digits(wanted) != ""
        case _:
            return False


def _digits(number: str | None) -> str:
    # lsblk, udev, Windows and the drive's own sticker differ in case, hyphens, blanks and 0x.
    return re.sub(r"[-\s]", "", number or "").lower().removeprefix("0x")


def _listed(drives: Iterable[Drive | Unmounted]) -> str:
    return "; ".join(drive.describe() for drive in drives)
