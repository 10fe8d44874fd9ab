"""Files in pending/ become jobs: they are read, checked and recorded, or rejected."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from daemon.errors import NO_ADDRESS, Fault, ManifestError, SpoolError, StaleJobError
from daemon.jobs.job import MANIFEST, Caution, Job, NewJob, Pending, Rejected, about
from daemon.jobs.journal import Journal
from daemon.manifest.acceptance import is_to_fill_in
from daemon.manifest.rules import Manifest
from daemon.preparation.arrivals import Arrivals, Until
from daemon.preparation.texts import Texts
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
MAX_SHOWN = 24  # characters of a name in `status`
MAX_EXPLAINED = 20  # faults of one manifest; a longer list helps no one


WITHDRAWN = "manifest %s withdrawn"
CHANGED = "manifest %s changed, checking it again"


@dataclass(frozen=True, slots=True)
class _Dropped:
    """A file as it was just read; its nodes are not kept, of which many would cost memory."""

    found: Found
    sha256: str  # "" if it is not a readable regular file
    job: NewJob | None = None  # None: a job was made of the same bytes
    warnings: tuple[Fault, ...] = ()  # of its manifest


class _UnreadableError(Exception):
    """A file cannot be read now; it is recorded as that."""


class Intake:
    """Keeps the journal's pending jobs in step with the manifests in pending/.

    For the main loop's thread only.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        spool: Spool,
        journal: Journal,
        under_way: UnderWay,
        clock: Callable[[], float],
        texts: Callable[[], Texts],
        report: Callable[[Job], None] = lambda _: None,
    ) -> None:
        """`texts` returns those of the present configuration; `report` is told each new job."""
        self._texts = texts
        self._report = report
        self.arrivals = arrivals
        self._spool = spool
        self._journal = journal
        self._worklist = journal.worklist
        self._under_way = under_way
        self._clock = clock
        self._unreadable: dict[str, str] = {}  # name -> why the file could not be read

    def take_in(self, names: Iterable[str] = (), until: Until = lambda _: False) -> float | None:
        """Take in the files with these names, then continue the scan, until `until`. Idempotent.

        Returns after how many seconds to call again, because a file is still being written or the
        scan is not finished; otherwise None.
        """
        gone = self.arrivals.examine(names, until)
        for name in gone:
            self._unreadable.pop(name, None)
        dropped = self._read_complete(until)
        self._withdraw([job for name in gone for job in self._pending(name)], WITHDRAWN)
        edited = [(job, one) for one in dropped for job in self._pending(one.found.name)]
        self._withdraw([job for job, one in edited if job.sha256 != one.sha256], CHANGED)
        self._add(dropped)
        return self.arrivals.pause()

    def unreadable(self) -> str:
        """Return what cannot be read, in a few words; "" if all can."""
        if not self._unreadable:
            return ""
        name, more = printable(min(self._unreadable)), len(self._unreadable) - 1
        shown = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
        return shown + (f" and {more} more" if more else "")

    def _pending(self, name: str) -> list[Job]:
        return [job for job in self._worklist.of_name(name) if isinstance(job.state, Pending)]

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

    def _read_complete(self, until: Until) -> list[_Dropped]:
        """Read and parse complete files until `until`."""
        dropped: list[_Dropped] = []
        while found := self.arrivals.take(until):
            if not self._has_usable_name(found):
                continue
            # It is gone, or cannot be read just now.
            with suppress(FileNotFoundError, _UnreadableError):
                data = self._read(found)
                self._unreadable.pop(found.name, None)
                self._spool.forget(found.name)
                dropped.append(self._parsed(found, data))
        return dropped

    def _parsed(self, found: Found, data: bytes | None) -> _Dropped:
        sha256 = _sha256(data)
        if any(job.sha256 == sha256 for job in self._worklist.of_name(found.name)):
            return _Dropped(found, sha256)
        name = printable(found.name)
        try:
            if data is None:
                raise ManifestError(f"{name} is not a readable regular file")
            manifest = self._under_way.manifest(data, name)
            self._texts().terms.check(manifest)
        except ManifestError as error:
            return _Dropped(found, sha256, self._new_job(found, sha256, error))
        job = self._new_job(found, sha256, manifest)
        return _Dropped(found, sha256, job, manifest.warnings)

    def _withdraw(self, jobs: list[Job], message: str) -> None:
        if jobs:
            self._journal.withdraw(jobs)
        for job in jobs:
            self._under_way.finished(job)
            log.info(message, job.name, extra=about(job))

    def _add(self, dropped: Iterable[_Dropped]) -> None:
        """Record a job for each file that has none."""
        new = [one for one in dropped if not self._has_job(one)]
        same: dict[str, list[Job | NewJob]] = {one.sha256: [] for one in new}
        for known in self._journal.jobs_of(same) if same else ():
            same[known.sha256].append(known)
        new_jobs: list[NewJob] = []
        for one in new:
            if one.job is not None:  # else its job was filed meanwhile
                job = self._judged(one.job, one.warnings, same[one.sha256])
                new_jobs.append(job)
                if isinstance(job.state, Pending):
                    same[one.sha256].append(job)
        for made in self._journal.add(new_jobs) if new_jobs else ():
            self._report(made)

    def _has_job(self, one: _Dropped) -> bool:
        """Return whether the worklist has its job, which is then told of its present stamp."""
        jobs = self._worklist.of_name(one.found.name)
        same = next((job for job in jobs if job.sha256 == one.sha256), None)
        if same is None:
            return False
        if isinstance(same.state, Pending):
            with suppress(StaleJobError):  # it was taken further
                self._journal.record(same, Pending(one.found.stamp, same.state.validated))
        else:
            self.arrivals.compared(one.found)
        return True

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
                self._note_unreadable(found.name, str(error))
                raise _UnreadableError from error
            return None

    def _note_unreadable(self, name: str, reason: str) -> None:
        if self._unreadable.get(name) != reason:
            log.warning("%s; it stays there, and is read again after each change", reason)
        self._unreadable[name] = reason

    def _new_job(self, found: Found, sha256: str, read: Manifest | ManifestError) -> NewJob:
        if isinstance(read, ManifestError):
            return NewJob(
                device_id="",
                file_system="",
                name=found.name,
                sha256=sha256,
                state=Rejected(explain(read)),
                since=self._clock(),
            )
        return NewJob(
            device_id=read.device_id,
            file_system=read.file_system,
            name=found.name,
            sha256=sha256,
            state=Pending(found.stamp),
            since=self._clock(),
            access_key_id=read.access_key_id or "",
            cautions=_cautions(read.warnings),
        )

    def _judged(
        self, job: NewJob, warnings: Sequence[Fault], same_bytes: Iterable[Job | NewJob]
    ) -> NewJob:
        """Return the job, rejected if its bytes need no second one."""
        if isinstance(job.state, Pending):
            if reason := self._already(same_bytes):
                return replace(job, state=Rejected(reason), cautions=())
            _log_accepted(job, warnings)
        return job

    def _already(self, same_bytes: Iterable[Job | NewJob]) -> str:
        """Return why the same bytes need no second job; an empty text if they need one."""
        names = []
        for job in same_bytes:
            is_pending = isinstance(job.state, Pending)
            if isinstance(job, NewJob) or (is_pending and self._waits(job)):
                names.append(job.name)
            elif job.job_id:
                return f"already prepared as {job.job_id}; no new job was made"
            elif not is_pending:
                return f"the same manifest is being submitted as {printable(job.name)}"
        return f"the same manifest already waits as {printable(names[0])}" if names else ""

    def _waits(self, job: Job) -> bool:
        """Return whether the file of a pending job still has the same bytes."""
        found = self._spool.examine(job.name)
        if found is None or self.arrivals.is_known(found, [job]):
            return found is not None
        with suppress(FileNotFoundError, _UnreadableError):
            return _sha256(self._read(found)) == job.sha256
        return False


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


def _cautions(warnings: Sequence[Fault]) -> tuple[Caution, ...]:
    shown = [
        Caution(NO_ADDRESS if is_to_fill_in(one) else MANIFEST, str(one))
        for one in warnings[:MAX_EXPLAINED]
    ]
    if (more := len(warnings) - MAX_EXPLAINED) > 0:
        shown.append(Caution(MANIFEST, f"{more} more warnings", "`driveprep check` shows them."))
    return tuple(shown)


def _log_accepted(job: NewJob, warnings: Sequence[Fault]) -> None:
    extra = {"device_id": job.device_id}
    log.info("manifest %s accepted", printable(job.name), extra=extra)
    if warnings:
        others = len(warnings) - 1
        more = f" (and {others} more: `driveprep check` shows them)" if others else ""
        log.warning("%s%s", warnings[0], more, extra=extra)
