"""The lookout: which drives are here, asked no more often than a job needs to know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from daemon.drives.drive import Drive, Unmounted
from daemon.drives.inventory import Drives
from daemon.jobs.job import Job, Pending
from daemon.preparation.pairing import Pairing, named
from daemon.service.bell import Ring


class Lookout:
    """Remembers the last look at the drives; for the main loop's thread alone."""

    def __init__(self, drives: Drives) -> None:
        self._watched = drives
        self._drives: Sequence[Drive] = ()
        self._present: Sequence[Unmounted] = ()  # devices that could be mounted
        self._unknown: frozenset[str] = frozenset()  # nodes of drives that cannot be identified
        self._unmet = Ring.NOTHING  # what was rung of the drives, and no look has met yet

    def look(self, ring: Ring, jobs: Collection[Job]) -> None:
        """Look again if `ring` is about drives. With no job, time alone is no reason to."""
        self._unmet |= ring & (Ring.MOUNTS | Ring.TIMER)
        reasons = self._unmet if jobs else self._unmet & Ring.MOUNTS
        if reasons:
            self._drives = self._watched.mounted(ask_again=Ring.TIMER in reasons)
            mounted = {drive.device_number for drive in self._drives}
            self._present = [one for one in self._present if one.device.number not in mounted]
        if Ring.TIMER in reasons:
            is_waited_for = any(isinstance(job.state, Pending) for job in jobs)
            self._present = self._watched.present() if is_waited_for else ()
        self._unmet &= ~reasons

    def pairing(
        self,
        jobs: Collection[Job],
        devices: Mapping[str, Mapping[str, str]],
        require_mapping: bool,
    ) -> Pairing:
        """The jobs and the drives of the last look."""
        return Pairing(named(jobs), self._drives, self._present, devices, require_mapping)

    def here(self, pairing: Pairing) -> Collection[str]:
        """The deviceIds that may have a drive here: all of them when another one is not known."""
        unknown = frozenset(drive.device_node for drive in self._drives if drive.identity.trouble)
        is_news, self._unknown = unknown - self._unknown, unknown
        return pairing.names if is_news else pairing.here()
