"""What lies in pending/ becomes jobs: read, checked, written into the journal, or rejected.

Level, not edge: each call compares the folder with the journal, so a lost event, a restart and
a burst of drops are one case.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from daemon import manifest, spool
from daemon.errors import ManifestError, StaleJobError
from daemon.job import Job, Pending, Rejected, State, about
from daemon.journal import Journal
from daemon.spool import Found, Spool

log = logging.getLogger(__name__)


class Intake:
    """Keeps the journal's pending jobs the same as the manifests in pending/."""

    def __init__(self, folder: Spool, journal: Journal, clock: Callable[[], float]) -> None:
        self._spool = folder
        self._journal = journal
        self._clock = clock

    def take_in(self) -> float | None:
        """Compare folder and journal once. Idempotent.

        Returns when to look again because a file was still being written, or None.
        """
        found = self._spool.scan()
        now = self._clock()
        ready = [one for one in found if one.ready_at <= now]
        self._withdraw_all_but({one.name for one in found})
        jobs = {job.name: job for job in self._journal.unfiled()}
        waiting = {job.sha256: job.name for job in jobs.values() if isinstance(job.state, Pending)}
        new_jobs = []
        for one in ready:
            if new := self._take(one, jobs.get(one.name), waiting):
                new_jobs.append(new)
                waiting[new.sha256] = new.name
        if new_jobs:
            self._journal.add(new_jobs)
        return min((one.ready_at for one in found if one.ready_at > now), default=None)

    def _withdraw_all_but(self, names: set[str]) -> None:
        gone = [
            job
            for job in self._journal.unfiled()
            if isinstance(job.state, Pending) and job.name not in names
        ]
        if gone:
            self._journal.withdraw(gone)
        for job in gone:
            log.info("manifest %s withdrawn", job.name, extra=about(job))

    def _take(self, found: Found, job: Job | None, waiting: Mapping[str, str]) -> Job | None:
        """The new job for a file, or None if it has one already."""
        if job and isinstance(job.state, Pending) and job.state.stamp == found.stamp:
            return None
        try:
            data = self._spool.read(found.name) if found.is_regular else None
        except FileNotFoundError:
            return None
        except OSError:
            data = None
        sha256 = spool.digest(data) if data is not None else ""
        if job and job.sha256 == sha256:
            if isinstance(job.state, Pending):
                with suppress(StaleJobError):  # a worker has just taken it further
                    self._journal.record(job, Pending(found.stamp, job.state.validated))
            return None
        if job and isinstance(job.state, Pending):
            self._journal.withdraw([job])
            log.info("manifest %s edited, checked anew", job.name, extra=about(job))
            waiting = {sha: name for sha, name in waiting.items() if name != found.name}
        return self._new_job(found, data, sha256, waiting)

    def _new_job(
        self, found: Found, data: bytes | None, sha256: str, waiting: Mapping[str, str]
    ) -> Job:
        device_id, file_system = "", ""
        state: State
        try:
            if data is None:
                raise ManifestError(f"{found.name} is not a readable plain file")
            read = manifest.read(data, found.name)
            device_id, file_system = read.device_id, read.file_system
            if reason := self._already(sha256, waiting):
                state = Rejected(reason)
            else:
                state = Pending(found.stamp)
                extra = {"device_id": device_id}
                log.info("manifest %s accepted", found.name, extra=extra)
                if read.warnings:
                    more = f" (and {len(read.warnings) - 1} more: `driveprep check` shows them)"
                    log.warning("%s%s", read.warnings[0], more, extra=extra)
        except ManifestError as error:
            state = Rejected(explain(error))
        return Job(0, device_id, file_system, found.name, sha256, state, self._clock())

    def _already(self, sha256: str, waiting: Mapping[str, str]) -> str:
        """Why the same bytes need no second job; empty if they do."""
        if job := self._journal.open_job_with(sha256):
            if job.job_id:
                return f"already prepared as {job.job_id}; no new job was made"
            return f"the same manifest is being submitted as {job.name}"
        if name := waiting.get(sha256):
            return f"the same manifest already waits as {name}"
        return ""


def explain(error: ManifestError) -> str:
    """All faults of a manifest, as the reason file tells them."""
    if not error.faults:
        return "\n".join(filter(None, [str(error), error.hint]))
    return "\n\n".join(fault.excerpt() for fault in error.faults)
