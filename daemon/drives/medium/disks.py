"""The whole disks of this machine, in use or not."""

from __future__ import annotations

from daemon.drives import probes, sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.identity import Identity


def whole() -> tuple[Unmounted, ...]:
    """Return every disk with a medium, as udev describes it. No disk is woken."""
    identities = probes.Identities()
    devices = [listed.device for listed in sysfs.with_medium() if not listed.is_path]
    return tuple(
        Unmounted(one, identities.described(one.number, one.number) or Identity())
        for one in devices
        if one.number == one.disk and not one.layers
    )
