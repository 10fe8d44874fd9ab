"""What lies in pending/ becomes jobs: read, checked, written into the journal, or rejected.

Level, not edge: each call compares the folder with the journal, so a lost event, a restart and
a burst of drops are one case.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from daemon.errors import ManifestError, StaleJobError
from daemon.jobs.job import Job, Pending, Rejected, State, about
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.spool import filing
from daemon.spool.spool import Found, Spool
from daemon.system.printable import printable, printable_lines

log = logging.getLogger("daemon.intake")

STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # says nothing about the file
LOOK_SECONDS = 0.5  # for reading new files at a time, so that the jobs already known go on
EXPLAINED = 20  # faults of one manifest; more tell nobody more


class Intake:
    """Keeps the journal's pending jobs the same as the manifests in pending/."""

    def __init__(self, folder: Spool, journal: Journal, clock: Callable[[], float]) -> None:
        self._spool = folder
        self._journal = journal
        self._clock = clock
        self._compared: dict[str, str] = {}  # name -> the stamp of the file its job was made from

    def take_in(self) -> float | None:
        """Compare folder and journal once. Idempotent.

        Returns when to look again because a file was still being written, or none of the new ones
        could be read so soon; or None.
        """
        found = {one.name: one for one in self._spool.scan()}
        ready = {one.name: one for one in found.values() if not one.wait and self._is_sayable(one)}
        self._withdraw(
            [job for job in self._pending() if job.name not in found], "manifest %s withdrawn"
        )
        self._withdraw(self._edited(ready), "manifest %s edited, checked anew")
        waits = [one.wait for one in found.values() if one.wait]
        if not self._add(ready.values()):
            waits.append(0.0)
        return self._clock() + min(waits) if waits else None

    def _pending(self) -> list[Job]:
        return [job for job in self._journal.unfiled() if isinstance(job.state, Pending)]

    def _is_sayable(self, found: Found) -> bool:
        """Whether the name is UTF-8. Any other can be neither journaled nor told: rejected."""
        try:
            found.name.encode()
        except UnicodeEncodeError:
            reason = f"its name is not UTF-8: rename it\n\n(driveprep, file {found.stamp})\n"
            try:
                sha256 = _sha256(self._read(found))
                place = self._spool.reject(found.name, sha256, None, reason)
                log.warning("manifest rejected, see rejected/%s.reason.txt", place)
            except OSError as error:  # there is no job to hang an obstacle on
                log.warning("manifest %s cannot be rejected: %s", found.name, error)
            return False
        return True

    def _withdraw(self, jobs: list[Job], message: str) -> None:
        if jobs:
            self._journal.withdraw(jobs)
        for job in jobs:
            log.info(message, job.name, extra=about(job))

    def _edited(self, ready: Mapping[str, Found]) -> list[Job]:
        """The pending jobs whose files say something else by now."""
        edited = []
        for job in self._pending():
            found = ready.get(job.name)
            if not found or not isinstance(job.state, Pending) or job.state.stamp == found.stamp:
                continue
            with suppress(FileNotFoundError, StaleJobError):  # gone, or taken further just now
                if _sha256(self._read(found)) != job.sha256:
                    edited.append(job)
                else:
                    self._journal.record(job, Pending(found.stamp, job.state.validated))
        return edited

    def _add(self, ready: Collection[Found]) -> bool:
        """Write down a job for each file that has none, small files first: a manifest has 1 kB.

        Whether all were read within LOOK_SECONDS.
        """
        jobs = {job.name: job for job in self._journal.unfiled()}
        self._compared = {name: self._compared[name] for name in self._compared if name in jobs}
        waiting = {job.sha256: job.name for job in self._pending()}
        new_jobs, until, is_late = [], self._clock() + LOOK_SECONDS, False
        for one in sorted(ready, key=lambda found: found.size):
            job = jobs.get(one.name)
            is_known = job and self._compared.get(one.name) == one.stamp
            if is_known or (job and isinstance(job.state, Pending)):
                continue
            if is_late := self._clock() > until:
                break
            with suppress(FileNotFoundError):
                data = self._read(one)
                if not job or job.sha256 != _sha256(data):
                    new_jobs.append(self._new_job(one, data, waiting))
                self._compared[one.name] = one.stamp
        if new_jobs:
            self._journal.add(new_jobs)
        return not is_late

    def _read(self, found: Found) -> bytes | None:
        """A file's bytes; None where it cannot be read as a file. Raises FileNotFoundError."""
        if not found.is_regular:
            return None
        try:
            return self._spool.read(found.name)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in STARVED:
                raise
            return None

    def _new_job(self, found: Found, data: bytes | None, waiting: dict[str, str]) -> Job:
        name, device_id, file_system, sha256 = printable(found.name), "", "", _sha256(data)
        state: State
        try:
            if data is None:
                raise ManifestError(f"{name} is not a readable plain file")
            read = rules.read(data, name)
            device_id, file_system = read.device_id, read.file_system
            if reason := self._already(sha256, waiting):
                state = Rejected(reason)
            else:
                state = Pending(found.stamp)
                waiting[sha256] = found.name
                _tell(read)
        except ManifestError as error:
            state = Rejected(explain(error))
        return Job(0, device_id, file_system, found.name, sha256, state, self._clock())

    def _already(self, sha256: str, waiting: Mapping[str, str]) -> str:
        """Why the same bytes need no second job; empty if they do."""
        if job := self._journal.open_job_with(sha256):
            if job.job_id:
                return f"already prepared as {job.job_id}; no new job was made"
            return f"the same manifest is being submitted as {printable(job.name)}"
        if name := waiting.get(sha256):
            return f"the same manifest already waits as {printable(name)}"
        return ""


def explain(error: ManifestError) -> str:
    """All faults of a manifest, as the reason file tells them: what is unseen is escaped."""
    if not error.faults:
        return "\n".join(filter(None, [str(error), error.hint]))
    told = [printable_lines(fault.excerpt()) for fault in error.faults[:EXPLAINED]]
    if (more := len(error.faults) - EXPLAINED) > 0:
        told.append(f"(and {more} more)")
    return "\n\n".join(told)


def _sha256(data: bytes | None) -> str:
    return filing.digest(data) if data is not None else ""


def _tell(read: rules.Manifest) -> None:
    extra = {"device_id": read.device_id}
    log.info("manifest %s accepted", read.name, extra=extra)
    if read.warnings:
        others = len(read.warnings) - 1
        more = f" (and {others} more: `driveprep check` shows them)" if others else ""
        log.warning("%s%s", read.warnings[0], more, extra=extra)
