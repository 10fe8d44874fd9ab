"""The last scan of the drives, repeated no more often than a job needs it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from daemon.drives.drive import Drive, Unmounted
from daemon.drives.inventory import Drives
from daemon.drives.recognition import Recognition
from daemon.jobs.job import Job, Pending, Submitted
from daemon.preparation.pairing import Pairing, named
from daemon.service.bell import Ring


class Survey:
    """Remembers the last scan of the drives. For the main loop's thread only."""

    def __init__(self, drives: Drives) -> None:
        self._inventory = drives
        self._drives: Sequence[Drive] = ()
        self._present: Sequence[Unmounted] = ()  # devices that could be mounted
        self._unidentified: frozenset[str] = frozenset()  # nodes of drives without an identity
        self._pending = Ring.NOTHING  # drive events not yet followed by a scan

    def refresh(self, ring: Ring, jobs: Collection[Job]) -> None:
        """Scan again if `ring` concerns the drives. Without jobs, a timer alone causes no scan."""
        self._pending |= ring & (Ring.MOUNTS | Ring.TIMER)
        reasons = self._pending if jobs else self._pending & Ring.MOUNTS
        if reasons:
            self._drives = self._inventory.mounted(ask_again=Ring.TIMER in reasons)
        if reasons:
            # Ambiguity is judged over all drives: a twin need not be mounted.
            is_waited_for = any(isinstance(job.state, Pending | Submitted) for job in jobs)
            ask_again = Ring.TIMER in reasons
            self._present = self._inventory.present(ask_again=ask_again) if is_waited_for else ()
        self._pending &= ~reasons

    @property
    def drives(self) -> Sequence[Drive]:
        """The mounted drives of the last scan."""
        return self._drives

    def pairing(self, jobs: Collection[Job], recognition: Recognition) -> Pairing:
        """Return the jobs together with the drives of the last scan."""
        return Pairing(named(jobs), self._drives, self._present, recognition)

    def here(self, pairing: Pairing) -> Collection[str]:
        """Return the deviceIds that may have a drive: all, if a new drive is not identified."""
        unknown = frozenset(drive.device_node for drive in self._drives if drive.identity.trouble)
        is_news, self._unidentified = unknown - self._unidentified, unknown
        return pairing.names if is_news else pairing.here()
