"""Unmounts and powers off a prepared drive through udisks2, if the configuration asks for it.

Another program's command may act on another drive than the one that is meant: udisks2 takes two
drives with one serial for the same. So the drive is found by its identity just before, nothing is
powered off beside a neighbour, and the result is checked in the mount table and in sysfs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from daemon.drives import mounts, sysfs
from daemon.drives.drive import Drive, Unmounted, Volume
from daemon.drives.inventory import Drives
from daemon.drives.recognition import resemblance
from daemon.errors import DriveError
from daemon.system import programs

EJECT_SECONDS = 60.0  # for each step; a slow stick may have a lot to write back
GONE_SECONDS = 10.0  # until a drive that was powered off has gone from sysfs
POLL_SECONDS = 0.05


def eject(
    signed: Mapping[str, str | int | None], inventory: Drives, environment: programs.Environment
) -> str:
    """Unmount the drive that was signed, and power it off; return how that ended, as a sentence.

    `signed` are the identities that it had then. A drive that shares its USB device, serial or WWN
    with another one, or is mounted twice, is only unmounted. udisksctl is found by the
    environment's PATH. Raises DriveError if the drive is not found or udisks2 does not do it.
    """
    drive = _find(signed, inventory.mounted())
    reason = _why_not_power_off(drive, inventory)
    _run("unmount", drive, environment)
    left = [one for one in mounts.read() if one.device_number == drive.device_number]
    if any(mount.mount_id == drive.mount.mount_id for mount in left):
        raise _failed(drive, "unmount", "udisks2 reports success, but it is still mounted")
    # Not before: below /media the service's sandbox shows each mount twice (systemd.exec(5),
    # ReadWritePaths=: a bind mount over the one it was made of), and one unmount removes both.
    if left:
        reason = "it is mounted a second time"
    if reason:
        return f"unmounted, but not powered off: {reason}"
    _run("power-off", drive, environment)
    if not _is_gone(drive):
        raise _failed(drive, "power-off", "udisks2 reports success, but the drive is still there")
    return "unmounted and powered off"


def _find(signed: Mapping[str, str | int | None], mounted: Sequence[Drive]) -> Drive:
    found = []
    for drive in mounted:
        now = drive.identities()
        agreeing, differing = resemblance.compare(signed, now)
        # New NTFS drives can share a UUID: mkfs.ntfs makes it of the time.
        if agreeing and not differing and signed.get("label") == now.get("label"):
            found.append(drive)
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} mounted drives look like it" if found else "it is not mounted any more"
    raise DriveError(
        f"the drive is prepared, but not ejected: {problem}",
        "Unmount and unplug it by hand.",
    )


def _why_not_power_off(drive: Drive, inventory: Drives) -> str:
    """Return why only unmounting is safe, or an empty text."""
    own = drive.device.disk
    others: list[Volume] = [*inventory.mounted(), *inventory.present()]
    for other in others:
        if other.device.disk == own and other.device.number != drive.device_number:
            if isinstance(other, Drive):
                return f"another file system of the same disk is mounted ({other.describe()})"
            if isinstance(other, Unmounted) and (other.used_by or other.above):
                return f"another part of the same disk is in use ({other.describe()})"
            continue
        if other.device.disk != own and _shares_identity(drive, other):
            return f"{other.describe()} has the same serial or WWN"
    if neighbours := sysfs.usb_neighbours(own):
        return f"{', '.join(neighbours)} is on the same USB device"
    return ""


def _shares_identity(drive: Drive, other: Volume) -> bool:
    ours, theirs = drive.identity, other.identity
    same_serial = ours.serial is not None and ours.serial == theirs.serial
    return same_serial or (ours.wwn is not None and ours.wwn == theirs.wwn)


def _run(verb: str, drive: Drive, environment: programs.Environment) -> None:
    node = drive.device_node
    command = ["udisksctl", verb, "--no-user-interaction", "--block-device", node]
    try:
        ended = programs.run(command, environment, EJECT_SECONDS)
    except OSError as error:
        raise _failed(drive, verb, str(error)) from error
    if ended.code:
        # The lines above the last one complain that there is no terminal for a password.
        reason = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise _failed(drive, verb, reason)


def _is_gone(drive: Drive) -> bool:
    """Return whether our own disk, not another one under its node, has gone from sysfs in time."""
    pause, until = threading.Event(), time.monotonic() + GONE_SECONDS
    while True:
        now = sysfs.read(drive.device.disk)
        if now.is_gone or now.diskseq != drive.device.diskseq:
            return True
        if time.monotonic() > until:
            return False
        pause.wait(POLL_SECONDS)


def _failed(drive: Drive, verb: str, reason: str) -> DriveError:
    return DriveError(
        f"{drive.device_node} is prepared, but udisks2 did not {verb} it: {reason}",
        f"Do it by hand: udisksctl {verb} -b {drive.device_node}",
    )
