"""What would be lost if a whole disk were formatted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daemon.drives import probes, sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.medium import formatting, look
from daemon.errors import DriveError
from daemon.system.printable import printable

TABLE = "ID_PART_TABLE_TYPE"  # of libblkid
PROBED_BYTES = 1 << 20  # where most signatures are


@dataclass(frozen=True, slots=True)
class Losses:
    """A disk, what is on it, in words, and whether that is nothing."""

    disk: Unmounted
    text: str
    is_nothing: bool


def find(disk: Unmounted, prepared: Mapping[str, str]) -> Losses:
    """Look at a disk that no one uses. Nothing is on it only if that is certain:

    libblkid finds no signature, or one file system whose root is empty (`medium.contents`), and
    which no job has as its drive. `prepared` says what for, by the UUIDs of file systems.
    Raises DriveError if the disk does not answer.
    """
    volumes = [formatting.probe(one, disk.device) for one in sysfs.built_on(disk.device)]
    parts = [one for one in volumes if not one.identity.is_reserved]
    if not volumes:
        return _unpartitioned(disk, prepared)
    if not disk.identity.is_unknown or not parts:  # a boot image has partitions of its own
        text = f"partitions, and {_described_briefly(disk)} around them"
        return Losses(disk, text if parts else "reserved partitions alone", is_nothing=False)
    text, is_nothing = _described(parts[0], prepared)
    if len(parts) == 1:
        return Losses(disk, text, is_nothing)
    text = ", ".join(_described_briefly(one) for one in parts)
    return Losses(disk, f"{len(parts)} partitions: {text}", is_nothing=False)


def differs(before: Losses, now: Losses) -> bool:
    """Return whether a disk is not as it was when a person saw what is on it."""
    same = (before.disk.identity, before.text) == (now.disk.identity, now.text)
    return before.disk.device != now.disk.device or not same


def _unpartitioned(disk: Unmounted, prepared: Mapping[str, str]) -> Losses:
    found = probes.Blkid().properties(disk.device.node)
    if found is None:
        raise DriveError(f"{disk.device.node} cannot be read", "Use sudo.")
    if not found:
        _check_readable(disk.device.node)
    if TABLE in found:
        return Losses(disk, "a partition table without partitions", is_nothing=False)
    if not found and disk.identity.is_unknown:
        return Losses(disk, "nothing", is_nothing=True)
    return Losses(disk, *_described(disk, prepared))


def _check_readable(node: str) -> None:
    """Raise DriveError if the first bytes cannot be read: blkid then finds nothing, too."""
    try:
        with open(node, "rb", buffering=0) as disk:
            disk.read(PROBED_BYTES)
    except OSError as error:
        hint = "It may be failing; see `dmesg`."
        raise DriveError(f"{node} cannot be read: {error.strerror}", hint) from error


def _described(volume: Unmounted, prepared: Mapping[str, str]) -> tuple[str, bool]:
    """Return what is on a volume, and whether that is nothing."""
    name = _described_briefly(volume)
    file_system = volume.identity.file_system
    if purpose := prepared.get(volume.identity.uuid or ""):
        return f"{name}, {purpose}", False
    if not volume.identity.is_clear or volume.identity.signatures or file_system not in look.HOW:
        return name, False
    try:
        found = look.read(volume.device.node, file_system)
    except DriveError:
        return f"{name}, which cannot be looked into", False
    return f"{name}: {found.describe() or 'empty'}", found.is_empty


def _described_briefly(volume: Unmounted) -> str:
    identity = volume.identity
    label = f' "{printable(identity.label)}"' if identity.label else ""
    return f"{_names(identity.file_system, identity.signatures)}{label}"


def _names(file_system: str | None, signatures: Sequence[str]) -> str:
    return " and ".join(signatures) or file_system or "no file system known"
