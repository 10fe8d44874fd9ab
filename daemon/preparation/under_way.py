"""What this process has under way, which no journal records and no restart remembers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daemon.drives.drive import Drive
from daemon.jobs.job import Job
from daemon.manifest import rules
from daemon.manifest.rules import Manifest
from daemon.spool.filing import digest

DRIVES = 8
HUNG_SECONDS = 60.0  # a disk wakes within 10; a stick may need as long to write its cache
TURN_SECONDS = 1.0  # how often one that waits looks whether a drive that is in use hangs
MAX_PARSED = 64  # manifests of about 2 KB; with more of them waiting, the oldest is parsed again


class UnderWay:
    """Drives in use, requests in flight and parsed manifests. Safe to use from several threads.

    It is created once and outlives every change of the configuration.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self.drive_limit = DRIVES  # that are in use at once
        self._steady = steady
        self._turn = threading.Condition()
        self._in_use: dict[int, tuple[Drive, float]] = {}  # job number -> drive, since when
        self._landed_at: dict[int, float] = {}  # job number -> when its request has landed
        self._parsed: OrderedDict[str, Manifest] = OrderedDict()  # by the digest of its bytes

    # Drives

    @contextmanager
    def using(self, job: Job, drive: Drive) -> Iterator[None]:
        """Remember for the length of the block that the drive is being used for the job.

        Waits as long as `drive_limit` others are in use, without those that are hung.
        """
        with self._turn:
            while not self._has_turn():
                self._turn.wait(TURN_SECONDS)
            self._in_use[job.number] = drive, self._steady()
        try:
            yield
        finally:
            with self._turn:
                del self._in_use[job.number]
                self._turn.notify()

    def _has_turn(self) -> bool:
        in_use = len(self._in_use) - len(self.hung_drives())
        return in_use < self.drive_limit

    def hung_drives(self) -> dict[int, Drive]:
        """Return the drives that do not answer any more, by the numbers of their jobs."""
        begun = self._steady() - HUNG_SECONDS
        in_use = self._in_use.copy()
        return {number: drive for number, (drive, since) in in_use.items() if since < begun}

    # Requests

    def sent(self, job: Job, timeout: float) -> None:
        """A CreateJob leaves now: it has landed after two timeouts, even if given up after one."""
        self._landed_at[job.number] = self._steady() + 2 * timeout

    def has_landed(self, job: Job, timeout: float) -> bool:
        """Return whether a CreateJob in flight must have landed by now.

        The sender of a process before this one gave up when that process ended, so at the latest
        when this one first asks.
        """
        landed_at = self._landed_at.setdefault(job.number, self._steady() + timeout)
        return self._steady() >= landed_at

    def settled(self, job: Job) -> None:
        """The service has answered: nothing is in flight any more. Safe to repeat."""
        self._landed_at.pop(job.number, None)

    # Manifests

    def manifest(self, data: bytes, name: str) -> Manifest:
        """Return the manifest in `data`, parsed once as long as its job is under way.

        Raises ManifestError.
        """
        key = digest(data)
        found = self._parsed.get(key)
        if found is None or found.name != name:
            found = rules.read(data, name)
        self._parsed[key] = found
        self._parsed.move_to_end(key)
        if len(self._parsed) > MAX_PARSED:
            self._parsed.popitem(last=False)
        return found

    def finished(self, job: Job) -> None:
        """Forget the manifest of a job that is filed or withdrawn. Safe to repeat."""
        self._parsed.pop(job.sha256, None)
        self.settled(job)
