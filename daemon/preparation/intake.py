"""Files in pending/ become jobs: they are read, checked and recorded, or rejected.

An event names the files that it concerns, and only these are examined. A scan of the whole folder
makes up for lost events, bit by bit: a restart, a burst of drops and a timer are the same case.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush

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
MAX_SHOWN = 24  # characters of a name in `status`
MAX_EXPLAINED = 20  # faults of one manifest; a longer list helps no one


EVENT, SCAN = 0, 1  # which of the complete files are read first


@dataclass(frozen=True, slots=True)
class _Dropped:
    """A file as it was just read."""

    found: Found
    data: bytes | None  # None: it is not a readable regular file
    sha256: str


class _UnreadableError(Exception):
    """A file cannot be read now; it is recorded as that."""


class Intake:
    """Keeps the journal's pending jobs in step with the manifests in pending/.

    For the main loop's thread only.
    """

    def __init__(
        self,
        folder: Spool,
        journal: Journal,
        under_way: UnderWay,
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        self._spool = folder
        self._journal = journal
        self._worklist = journal.worklist
        self._under_way = under_way
        self._clock = clock
        self._steady = steady
        self._to_scan: deque[str] = deque()  # names
        self._is_first_scan = True
        self._incomplete: dict[str, float] = {}  # name -> when to examine it again, steady
        self._complete: dict[str, Found] = {}  # name -> a file to be read
        self._order: list[tuple[int, int, str]] = []  # a heap: events first, then small files
        self._compared: dict[str, str] = {}  # name -> the stamp of the file its job was made from
        self._unreadable: dict[str, str] = {}  # name -> why the file could not be read

    def scan(self, listed: Iterable[str]) -> None:
        """Begin a scan of the whole folder, which holds the names `listed`; `take_in` does it."""
        known = [*self._worklist.file_names(), *self._incomplete, *self._unreadable]
        self._to_scan = deque(dict.fromkeys([*listed, *known]))

    @property
    def is_scanning(self) -> bool:
        """Whether names of the last scan are still to be examined."""
        return bool(self._to_scan)

    def take_in(
        self, names: Iterable[str] = (), until: Callable[[], bool] = lambda: False
    ) -> float | None:
        """Take in the files with these names, then continue the scan until `until()`. Idempotent.

        Returns after how many seconds to call again, because a file is still being written or the
        scan is not finished; otherwise None.
        """
        gone: list[Job] = []
        for name in dict.fromkeys([*names, *self._due()]):
            gone += self._examine(name, EVENT)
        while self._to_scan and not until():
            gone += self._examine(self._to_scan.popleft(), SCAN)
        self._is_first_scan = self._is_first_scan and bool(self._to_scan)
        dropped = self._read_complete(until)
        self._withdraw(gone, "manifest %s withdrawn")
        edited = [job for one in dropped for job in self._pending(one) if job.sha256 != one.sha256]
        self._withdraw(edited, "manifest %s changed, checking it again")
        self._add(dropped)
        if self._to_scan or self._complete:
            return 0.0
        moments = self._incomplete.values()
        return max(0.0, min(moments) - self._steady()) if moments else None

    def unreadable(self) -> str:
        """Return what cannot be read, in a few words; "" if all can."""
        if not self._unreadable:
            return ""
        name, more = printable(min(self._unreadable)), len(self._unreadable) - 1
        shown = name if len(name) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..."
        return shown + (f" and {more} more" if more else "")

    def _due(self) -> list[str]:
        now = self._steady()
        return [name for name, moment in self._incomplete.items() if moment <= now]

    def _examine(self, name: str, order: int) -> list[Job]:
        """Note what is to be done about a name; return the pending jobs whose file is gone."""
        self._incomplete.pop(name, None)
        self._complete.pop(name, None)
        found = self._spool.examine(name)
        jobs = self._worklist.of_name(name)
        if found is None:
            self._unreadable.pop(name, None)
        if found is None or not jobs:
            self._compared.pop(name, None)
        if found is None:
            return [job for job in jobs if isinstance(job.state, Pending)]
        if not self._is_known(found, jobs):
            is_old = order == SCAN and self._is_first_scan
            if wait := self._spool.wait(found, was_there_at_start=is_old):
                self._incomplete[name] = self._steady() + wait
            elif self._has_usable_name(found):
                self._complete[name] = found
                heappush(self._order, (order, found.size, name))
        return []

    def _is_known(self, found: Found, jobs: Collection[Job]) -> bool:
        """Return whether the file is the one that was read for its job."""
        stamps = [job.state.stamp for job in jobs if isinstance(job.state, Pending)]
        if stamps:
            return found.stamp in stamps
        return bool(jobs) and self._compared.get(found.name) == found.stamp

    def _pending(self, dropped: _Dropped) -> list[Job]:
        jobs = self._worklist.of_name(dropped.found.name)
        return [job for job in jobs if isinstance(job.state, Pending)]

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

    def _read_complete(self, until: Callable[[], bool]) -> list[_Dropped]:
        """Read complete files until `until()`, but at least one."""
        dropped: list[_Dropped] = []
        while self._order and not (dropped and until()):
            *_, name = heappop(self._order)
            if found := self._complete.pop(name, None):
                # It is gone, or cannot be read just now.
                with suppress(FileNotFoundError, _UnreadableError):
                    data = self._read(found)
                    self._unreadable.pop(name, None)
                    self._spool.forget(name)
                    dropped.append(_Dropped(found, data, _sha256(data)))
        return dropped

    def _withdraw(self, jobs: list[Job], message: str) -> None:
        if jobs:
            self._journal.withdraw(jobs)
        for job in jobs:
            self._under_way.finished(job)
            log.info(message, job.name, extra=about(job))

    def _add(self, dropped: Iterable[_Dropped]) -> None:
        """Record a job for each file that has none."""
        new_jobs: list[NewJob] = []
        waiting: dict[str, str] = {}  # sha256 -> the name of a file that becomes a job now
        for one in dropped:
            jobs = self._worklist.of_name(one.found.name)
            same = next((job for job in jobs if job.sha256 == one.sha256), None)
            if same is None:
                new_jobs.append(self._new_job(one, waiting))
            elif isinstance(same.state, Pending):
                with suppress(StaleJobError):  # it was taken further
                    self._journal.record(same, Pending(one.found.stamp, same.state.validated))
            else:
                self._compared[one.found.name] = one.found.stamp
        if new_jobs:
            self._journal.add(new_jobs)

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

    def _new_job(self, dropped: _Dropped, waiting: dict[str, str]) -> NewJob:
        found, data = dropped.found, dropped.data
        name, device_id, file_system = printable(found.name), "", ""
        state: State
        try:
            if data is None:
                raise ManifestError(f"{name} is not a readable regular file")
            read = self._under_way.manifest(data, name)
            device_id, file_system = read.device_id, read.file_system
            if reason := self._already(dropped.sha256, waiting):
                state = Rejected(reason)
            else:
                state = Pending(found.stamp)
                waiting[dropped.sha256] = found.name
                _log_accepted(read)
        except ManifestError as error:
            state = Rejected(explain(error))
        return NewJob(
            device_id=device_id,
            file_system=file_system,
            name=found.name,
            sha256=dropped.sha256,
            state=state,
            since=self._clock(),
        )

    def _already(self, sha256: str, waiting: Mapping[str, str]) -> str:
        """Return why the same bytes need no second job; an empty text if they need one."""
        if job := self._journal.open_job_with(sha256):
            if job.job_id:
                return f"already prepared as {job.job_id}; no new job was made"
            return f"the same manifest is being submitted as {printable(job.name)}"
        name = waiting.get(sha256)
        if name is None and (job := self._journal.pending_job_with(sha256)) and self._waits(job):
            name = job.name
        return f"the same manifest already waits as {printable(name)}" if name is not None else ""

    def _waits(self, job: Job) -> bool:
        """Return whether the file of a pending job still has the same bytes."""
        found = self._spool.examine(job.name)
        if found is None or self._is_known(found, [job]):
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


def _log_accepted(read: Manifest) -> None:
    extra = {"device_id": read.device_id}
    log.info("manifest %s accepted", read.name, extra=extra)
    if read.warnings:
        others = len(read.warnings) - 1
        more = f" (and {others} more: `driveprep check` shows them)" if others else ""
        log.warning("%s%s", read.warnings[0], more, extra=extra)
