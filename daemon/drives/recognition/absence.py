"""Why a volume that is here is not a mounted drive, and what can be done. Nothing is opened here.

Only advice that can work is given, and erasing is never advised where NTFS is or may be on a disk.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence

from daemon.drives import checks, mounts, stacks, sysfs
from daemon.drives.checks import Fact
from daemon.drives.drive import Drive, Unmounted, Volume
from daemon.drives.identity import LOCKED
from daemon.errors import DriveError
from daemon.system.file_systems import FILE_SYSTEMS
from daemon.system.printable import printable

MOUNTABLE = frozenset(superblock for superblock, _ in FILE_SYSTEMS.values())
OTHER_DRIVE = "Correct fileSystem in the manifest, or use another drive."


def fact(one: Unmounted) -> Fact | None:
    """What prevents a volume from being mounted as a drive; None if it only has to be mounted."""
    if not stacks.is_plain(one.device.layers):
        return checks.built(one.device)
    for device in one.above:
        if not stacks.is_plain(device.layers):
            return checks.built(device, "carries")
    return _used(one) if one.used_by else _contents(one)


def _contents(one: Unmounted) -> Fact | None:
    identity = one.identity
    if identity.signatures:
        return checks.several_signatures(one.device, identity.signatures)
    if sysfs.is_slow_to_open(one.device):
        return Fact("it is an optical or floppy disk", "Use another drive.", "wrong-file-system")
    if identity.container:
        return _container(one)
    if identity.is_unknown:
        return checks.unknown(identity)
    return None if identity.file_system in MOUNTABLE else _other_file_system(one)


def _other_file_system(one: Unmounted) -> Fact:
    return Fact(f"it holds {one.identity.file_system}", OTHER_DRIVE, "wrong-file-system")


def is_unreadable(volume: Volume) -> bool:
    """Whether it could be any drive, because its label and UUID cannot be read."""
    identity = volume.identity
    if isinstance(volume, Drive) and volume.mount.is_system:
        return False
    if isinstance(volume, Unmounted) and (volume.above or sysfs.is_slow_to_open(volume.device)):
        return False
    is_unnamed = bool(identity.signatures) and identity.uuid is None
    return bool(identity.trouble or identity.container) or is_unnamed


def unreadable(volume: Volume) -> tuple[str, str]:
    """Such a volume in one clause, and what to do about it."""
    if isinstance(volume, Drive):
        found = checks.unclear(volume)
        problem = volume.identity.trouble or (found.text if found else "")
        return f"{volume.describe()} could not be identified ({printable(problem)})", ""
    found = fact(volume) if isinstance(volume, Unmounted) else None
    return (f"{volume.describe()}: {found.text}", found.hint) if found else (volume.describe(), "")


def not_mounted(
    device_id: str, unmounted: Sequence[Unmounted], file_system: str | None
) -> DriveError:
    """The error for a deviceId that matches volumes of one disk, none of which is mounted."""
    wanted = {FILE_SYSTEMS[file_system][0]} if file_system else MOUNTABLE
    facts = [(one, fact(one)) for one in unmounted]
    usable = [one for one, found in facts if not found and one.identity.file_system in wanted]
    name = printable(device_id)
    if usable:
        return DriveError(
            f"{name} is present but not mounted: {listed(unmounted)}",
            how_to_mount(usable),
            code="not-mounted",
        )
    reasons = [(one, found or _other_file_system(one)) for one, found in facts]
    first = reasons[0][1]
    text = "; ".join(f"{one.describe()}: {found.text}" for one, found in reasons)
    return DriveError(f"{name} is present but cannot be used: {text}", first.hint, code=first.code)


def how_to_mount(usable: Sequence[Volume]) -> str:
    """What mounts a volume; of several, a person has to choose."""
    if len(usable) > 1:
        nodes = " or ".join(one.device.node for one in usable)
        return f"Mount the one of them that is meant: {nodes}."
    return f"Mount it in the desktop, or with: udisksctl mount -b {usable[0].device.node}"


def no_file_system(
    device_id: str,
    file_system: str,
    matching: Sequence[Drive],
    on_disk: Collection[Volume],
    is_meant: Callable[[Volume], bool],
) -> DriveError:
    """Why none of the mounted volumes of a disk can be used. `on_disk` are all volumes on it."""
    superblock, _ = FILE_SYSTEMS[file_system]
    others = [one for one in on_disk if one.identity.file_system == superblock]
    others = [one for one in others if one not in matching and stacks.is_plain(one.device.layers)]
    if meant := [one for one in others if is_meant(one) and isinstance(one, Unmounted)]:
        return _partition_not_mounted(device_id, file_system, meant)
    for drive in matching:
        if found := checks.unclear(drive):
            return checks.refusal(drive, found)
    if others:
        return _partition_not_meant(device_id, file_system, matching, others)
    if unknown := [one for one in on_disk if not _is_known(one)]:
        return DriveError(
            f"the manifest asks for {file_system}; {listed(matching)} does not have it, and what"
            f" is on {listed(unknown)} is not known",
            "`sudo driveprep drives` shows what is on the disk.",
            code="wrong-file-system",
        )
    make = ""
    if all(_may_be_erased(one) for one in on_disk):
        mounted = [one for one in on_disk if isinstance(one, Drive)]
        make = checks.how_to_make(file_system, matching[0], mounted, device_id)
    return checks.wrong_file_system(file_system, matching, make)


def listed(volumes: Iterable[Volume]) -> str:
    """Several volumes in one sentence."""
    return "; ".join(one.describe() for one in volumes)


def _used(one: Unmounted) -> Fact:
    mount = one.used_by[0]
    place = printable(mount.mount_point)
    if not os.major(mount.device_number):
        text = f"it is mounted at {place} as {mount.mount_type}"
        return Fact(text, OTHER_DRIVE, "wrong-file-system")
    unmount = " && ".join(f"umount {shlex.quote(printable(m.mount_point))}" for m in one.used_by)
    return Fact(
        f"only its folder {printable(mount.root)} is mounted, at {place}",
        f"Mount the drive itself: {unmount} && udisksctl mount -b {one.device.node}",
        "folder-mounted",
    )


def _container(one: Unmounted) -> Fact:
    text = f"it is {one.identity.container}"
    if one.identity.file_system in LOCKED:
        hint = "The receiver would see only ciphertext: decrypt it in the system that encrypted it,"
        return Fact(text, f"{hint} or use another drive.", "locked-drive")
    node = shlex.quote(one.device.node)
    return Fact(
        f"{text} ({one.identity.file_system})",
        f"Use another drive. If that is left from an earlier use, `wipefs {node}` lists what there"
        " is (it only reads); a drive without data is best made again by `driveprep format`.",
        "drive-member",
    )


def _partition_not_mounted(device_id: str, file_system: str, meant: Sequence[Volume]) -> DriveError:
    facts = [found for one in meant if isinstance(one, Unmounted) and (found := fact(one))]
    return DriveError(
        f"the {file_system} partition {listed(meant)} of {printable(device_id)} is not mounted"
        + "".join(f": {found.text}" for found in facts),
        facts[0].hint if facts else how_to_mount(meant),
        code="not-mounted",
    )


def _partition_not_meant(
    device_id: str, file_system: str, matching: Sequence[Drive], others: Sequence[Volume]
) -> DriveError:
    name = printable(device_id)
    return DriveError(
        f"{listed(matching)} is recognised as {name} but is not {file_system}; {listed(others)} on"
        f" the same disk is, but is not recognised as {name}",
        f"If that is the one, map {name} to its uuid or partuuid under `devices` in config.yml.",
        code="wrong-file-system",
    )


def _is_known(volume: Volume) -> bool:
    return volume.identity.is_clear or volume.identity.is_empty or volume.identity.is_reserved


def _may_be_erased(volume: Volume) -> bool:
    """Whether a person may be told how to erase it: it is not NTFS, and is not in use otherwise."""
    if volume.identity.file_system == "ntfs" or volume.device.layers:
        return False
    if isinstance(volume, Drive):
        return volume.mount_point not in mounts.SYSTEM_PLACES
    return not (isinstance(volume, Unmounted) and (volume.above or volume.used_by))
