"""Files in pending/ become jobs: they are read, checked and recorded, or rejected.

Each call compares the whole folder with the journal, so a lost event, a restart and a burst of
drops are the same case.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from daemon.errors import ManifestError, SpoolError, StaleJobError
from daemon.jobs.job import Job, NewJob, Pending, Rejected, State, about
from daemon.jobs.journal import Journal
from daemon.manifest.rules import Manifest
from daemon.preparation.under_way import UnderWay
from daemon.spool.filing import digest
from daemon.spool.spool import Found, Spool
from daemon.system.printable import printable, printable_lines

log = logging.getLogger("daemon.intake")

# These errors mean that this process lacks something; they do not mean that the file is faulty.
STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# These pass: a corrected mode, or a server that answers again. The file stays where it is.
UNREADABLE = frozenset({
    errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EAGAIN, errno.EINTR, errno.EBUSY,
})  # fmt: skip
INTAKE_BUDGET_SECONDS = 0.5  # for new files in one call, so that known jobs are not delayed
MAX_SHOWN = 24  # characters of a name in `status`
MAX_EXPLAINED = 20  # faults of one manifest; a longer list helps no one


class _UnreadableError(Exception):
    """A file cannot be read now; it is recorded as that."""


class Intake:
    """Keeps the journal's pending jobs in step with the manifests in pending/."""

    def __init__(
        self,
        folder: Spool,
        journal: Journal,
        under_way: UnderWay,
        clock: Callable[[], float],
    ) -> None:
        self._spool = folder
        self._journal = journal
        self._under_way = under_way
        self._clock = clock
        self._compared: dict[str, str] = {}  # name -> the stamp of the file its job was made from
        self._unreadable: dict[str, str] = {}  # name -> why the file could not be read just now

    def take_in(self) -> float | None:
        """Compare folder and journal once. Idempotent.

        Returns when to call again because a file is still being written or not all new files could
        be read in time (seconds since the epoch); otherwise None.
        """
        found = {one.name: one for one in self._spool.scan()}
        before, self._unreadable = self._unreadable, {}
        complete = [one for one in found.values() if not one.wait]
        ready = {one.name: one for one in complete if self._has_usable_name(one)}
        self._withdraw(
            [job for job in self._pending() if job.name not in found], "manifest %s withdrawn"
        )
        self._withdraw(self._edited(ready), "manifest %s changed, checking it again")
        waits = [one.wait for one in found.values() if one.wait]
        if not self._add(ready.values()):
            waits.append(0.0)
        self._report_unreadable(before)
        return self._clock() + min(waits) if waits else None

    def _report_unreadable(self, before: Mapping[str, str]) -> None:
        for name, reason in self._unreadable.items():
            if before.get(name) != reason:
                log.warning("%s; it stays there, and is read again after each change", reason)

    def unreadable(self) -> str:
        """Return what could not be read in the last call, in a few words; "" if all could."""
        if not self._unreadable:
            return ""
        name, more = printable(min(self._unreadable)), len(self._unreadable) - 1
        shown = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
        return shown + (f" and {more} more" if more else "")

    def _pending(self) -> list[Job]:
        return [job for job in self._journal.unfiled() if isinstance(job.state, Pending)]

    def _has_usable_name(self, found: Found) -> bool:
        """Return whether the name is UTF-8; reject the file if not, since no record can hold it."""
        try:
            found.name.encode()
        except UnicodeEncodeError:
            reason = f"its name is not UTF-8: rename it\n\n(driveprep, file {found.stamp})\n"
            try:
                sha256 = _sha256(self._read(found))
                place = self._spool.reject(found.name, sha256, None, reason)
                log.warning("manifest rejected, see rejected/%s.reason.txt", place)
            except _UnreadableError:
                pass
            except SpoolError as error:  # there is no job that could have an obstacle
                log.warning("manifest %s cannot be rejected: %s", found.name, error)
            return False
        return True

    def _withdraw(self, jobs: list[Job], message: str) -> None:
        if jobs:
            self._journal.withdraw(jobs)
        for job in jobs:
            self._under_way.finished(job)
            log.info(message, job.name, extra=about(job))

    def _edited(self, ready: Mapping[str, Found]) -> list[Job]:
        """Return the pending jobs whose files have other contents by now."""
        edited = []
        for job in self._pending():
            found = ready.get(job.name)
            if not found or not isinstance(job.state, Pending) or job.state.stamp == found.stamp:
                continue
            # It is gone, cannot be read just now, or was taken further.
            with suppress(FileNotFoundError, _UnreadableError, StaleJobError):
                if _sha256(self._read(found)) != job.sha256:
                    edited.append(job)
                else:
                    self._journal.record(job, Pending(found.stamp, job.state.validated))
        return edited

    def _add(self, ready: Collection[Found]) -> bool:
        """Record a job for each file that has none, small files first: a manifest has 1 kB.

        Returns whether all were read within INTAKE_BUDGET_SECONDS.
        """
        jobs = {job.name: job for job in self._journal.unfiled()}
        self._compared = {name: self._compared[name] for name in self._compared if name in jobs}
        waiting = {job.sha256: job.name for job in self._pending()}
        new_jobs, until, is_late = [], self._clock() + INTAKE_BUDGET_SECONDS, False
        for one in sorted(ready, key=lambda found: found.size):
            job = jobs.get(one.name)
            is_known = job and self._compared.get(one.name) == one.stamp
            if is_known or (job and isinstance(job.state, Pending)):
                continue
            if is_late := self._clock() > until:
                break
            with suppress(FileNotFoundError, _UnreadableError):
                data = self._read(one)
                if not job or job.sha256 != _sha256(data):
                    new_jobs.append(self._new_job(one, data, waiting))
                self._compared[one.name] = one.stamp
        if new_jobs:
            self._journal.add(new_jobs)
        return not is_late

    def _read(self, found: Found) -> bytes | None:
        """Return a file's bytes; None if it is not a regular file.

        Raises FileNotFoundError, and _UnreadableError for what may pass.
        """
        if not found.is_regular:
            return None
        try:
            return self._spool.read(found.name)
        except FileNotFoundError:
            raise
        except SpoolError as error:
            if error.errno in STARVED:
                raise
            if error.errno in UNREADABLE:
                self._unreadable[found.name] = str(error)
                raise _UnreadableError from error
            return None

    def _new_job(self, found: Found, data: bytes | None, waiting: dict[str, str]) -> NewJob:
        name, device_id, file_system, sha256 = printable(found.name), "", "", _sha256(data)
        state: State
        try:
            if data is None:
                raise ManifestError(f"{name} is not a readable regular file")
            read = self._under_way.manifest(data, name)
            device_id, file_system = read.device_id, read.file_system
            if reason := self._already(sha256, waiting):
                state = Rejected(reason)
            else:
                state = Pending(found.stamp)
                waiting[sha256] = found.name
                _log_accepted(read)
        except ManifestError as error:
            state = Rejected(explain(error))
        return NewJob(
            device_id=device_id,
            file_system=file_system,
            name=found.name,
            sha256=sha256,
            state=state,
            since=self._clock(),
        )

    def _already(self, sha256: str, waiting: Mapping[str, str]) -> str:
        """Return why the same bytes need no second job; an empty text if they need one."""
        if job := self._journal.open_job_with(sha256):
            if job.job_id:
                return f"already prepared as {job.job_id}; no new job was made"
            return f"the same manifest is being submitted as {printable(job.name)}"
        if name := waiting.get(sha256):
            return f"the same manifest already waits as {printable(name)}"
        return ""


def explain(error: ManifestError) -> str:
    """Return all faults of a manifest for the reason file, with invisible characters escaped."""
    if not error.faults:
        return "\n".join(filter(None, [str(error), error.hint]))
    shown = [printable_lines(fault.excerpt()) for fault in error.faults[:MAX_EXPLAINED]]
    if (more := len(error.faults) - MAX_EXPLAINED) > 0:
        shown.append(f"(and {more} more)")
    return "\n\n".join(shown)


def _sha256(data: bytes | None) -> str:
    return digest(data) if data is not None else ""


def _log_accepted(read: Manifest) -> None:
    extra = {"device_id": read.device_id}
    log.info("manifest %s accepted", read.name, extra=extra)
    if read.warnings:
        others = len(read.warnings) - 1
        more = f" (and {others} more: `driveprep check` shows them)" if others else ""
        log.warning("%s%s", read.warnings[0], more, extra=extra)
