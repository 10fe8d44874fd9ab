"""The devices that have a medium but are not mounted: which of them have a row, and with what.

Every disk with a medium has a row, for itself or for each file system on it. There is none for:

- what the running system is built on, except file systems that it does not use;
- swap that is in use;
- the paths of a multipath device: its own row is theirs;
- partitions without contents, if something else on the disk has contents.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from daemon.drives import mounts, stacks, sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.identity import Identity

if TYPE_CHECKING:
    from daemon.drives.mounts import Mount
    from daemon.drives.sysfs import Device, Listed


class Listing:
    """The devices of one scan beside the mount table. Reads sysfs, but no medium."""

    def __init__(self, devices: Sequence[Listed], table: Sequence[Mount]) -> None:
        swaps = sysfs.swaps()
        swap = [one.device for one in devices if sysfs.is_swap(one.device, swaps)]
        roots = {mount.device_number for mount in mounts.roots(table)}
        self._used_by = mounts.without_root(table, sysfs.number_of)
        self._system = _system_disks(table, swap)
        self._devices = [one for one in devices if not one.is_path and one.device not in swap]
        self._mounted = [one.device for one in self._devices if one.device.number in roots]

    def to_identify(self) -> Iterator[Listed]:
        """The devices that can have a row; a partitioned disk only if no partition is in use."""
        in_use = {device.disk for device in self._mounted}
        in_use |= {
            one.device.disk
            for one in self._devices
            if one.holders or one.device.number in self._used_by
        }
        for one in self._devices:
            is_idle = not one.is_partitioned or one.device.disk not in in_use
            if is_idle and one.device not in self._mounted:
                yield one

    def rows(self, found: Sequence[tuple[Listed, Identity]]) -> tuple[Unmounted, ...]:
        """The rows for the devices of to_identify() and their identities."""
        rows = [self._row(listed, identity) for listed, identity in found]
        with_contents = {row.device for row in rows if not row.identity.is_unknown}
        with_contents.update(self._mounted)
        partitioned = {listed.device for listed, _ in found if listed.is_partitioned}
        shown = [
            row
            for row in rows
            if row.device in with_contents
            or row.used_by
            or not (row.device in partitioned or _has_no_contents(row, with_contents))
        ]
        shown = [row for row in shown if not self._is_system(row)]
        have_rows = {one.disk for one in (*self._mounted, *(row.device for row in shown))}
        rest = [row for row in rows if row.device.number == row.device.disk not in have_rows]
        return (*shown, *(row for row in rest if not self._is_system(row)))

    def _row(self, listed: Listed, identity: Identity) -> Unmounted:
        used_by = self._used_by.get(listed.device.number, ())
        return Unmounted(listed.device, identity, listed.holders, tuple(used_by))

    def _is_system(self, row: Unmounted) -> bool:
        """Whether the running system is built on it, or on its disk and it has no file system."""
        if row.identity.is_clear and not row.above:
            return False
        return not self._system.isdisjoint(sysfs.disks_below(row.device.number))


def _system_disks(table: Sequence[Mount], swap: Sequence[Device]) -> frozenset[int]:
    """The disks below the file systems and the swap space of the running system."""
    numbers: set[int | None] = {device.number for device in swap}
    for mount in table:
        if mount.mount_point in mounts.SYSTEM_PLACES:
            is_device = os.major(mount.device_number)
            numbers.add(mount.device_number if is_device else sysfs.number_of(mount.source))
    return frozenset().union(*(sysfs.disks_below(one) for one in numbers if one is not None))


def _has_no_contents(row: Unmounted, with_contents: Collection[Device]) -> bool:
    """Whether nothing can be on a partition, because of its type or of what is on its disk.

    A boot sector can look like a table of partitions, while the file system is on the whole disk.
    """
    wholes = {device.number for device in with_contents}
    disks = {device.disk for device in with_contents}
    is_bogus = _is_part(row.device) and row.device.disk in wholes
    is_beside = row.identity.is_empty and row.device.disk in disks
    return row.identity.is_reserved or is_bogus or is_beside


def _is_part(device: Device) -> bool:
    """Whether it is a partition, of the kernel or of kpartx."""
    if device.layers:
        return device.layers[0].kind == stacks.PARTITION
    return device.number != device.disk
