"""Which jobs can take a step now, with which drive, by which worker.

Nothing here knows what a step does, and nothing here waits.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from daemon.drives.drive import Drive
from daemon.errors import (
    DriveError,
    DriveprepError,
    JournalError,
    ManifestError,
    ServiceError,
    StaleJobError,
    TryLaterError,
    UnreachableError,
)
from daemon.jobs.job import Job, Obstacle, Submitted, about
from daemon.jobs.journal import Journal
from daemon.preparation import signing
from daemon.preparation.pairing import Pairing
from daemon.preparation.polling import StatusPoller
from daemon.preparation.under_way import HUNG_SECONDS
from daemon.service.answering import KEY as ANSWERS
from daemon.service.bell import Ring
from daemon.service.pooling import KEY as POOL
from daemon.service.reload import Reloadable
from daemon.service.reporting.printing import KEY as PRINTING
from daemon.service.retry import Due
from daemon.service.survey import Survey
from daemon.service.workers import Pace, Workers

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.service")

CHOICES = 200  # blocked jobs in one call, so that it takes some milliseconds
FEW_CHOICES = 10  # the same while drives are prepared: the interpreter is theirs
VALIDATION_SHARE = 8  # one of so many requests
VALIDATION_PAUSE_SECONDS = 30.0  # after a validation that the service did not answer
# Keys of workers that prepare no drive; they are not deviceIds.
POLLER, WITNESSES = "/poll", "/witnesses"
BACKGROUND = frozenset({POLLER, WITNESSES, ANSWERS, POOL, PRINTING})

OnError = Callable[[Job, DriveprepError], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What one scan allows: the jobs that can take a step, and why others cannot."""

    ready: list[tuple[Job, Drive | None]]  # a job with the drive that its step needs, if any
    blocked: list[tuple[Job, DriveError | ManifestError]]
    limit: int  # of the latter

    @property
    def is_complete(self) -> bool:
        """Whether all due jobs had their turn."""
        return len(self.blocked) < self.limit


class Scheduler:
    """Chooses jobs and gives them to workers. For the main loop's thread only.

    Failures of the journal and unexpected exceptions stay with `workers.failures()`.
    """

    def __init__(
        self,
        journal: Journal,
        survey: Survey,
        workers: Workers,
        parts: Reloadable,
        steady: Callable[[], float],
    ) -> None:
        self.parts = parts  # exchanged when the configuration changes
        self._journal = journal
        self._worklist = journal.worklist
        self._survey = survey
        self._workers = workers
        self._steady = steady
        self._due = Due(journal.worklist)
        self._pace = Pace(steady)
        self._to_retry: set[str] = set()  # deviceIds that an operator wants to be tried now
        self._to_poll: set[str] = set()  # deviceIds whose open jobs the service is asked about
        self._hung: frozenset[str] = frozenset()  # keys of workers whose drives do not answer
        self._validate_after = -math.inf  # steady
        self._is_started = False
        self._seen: frozenset[tuple[int, int, int | None]] = frozenset()  # mounts of the last scan

    def retry(self, device_ids: Iterable[str]) -> None:
        """Try the jobs of these deviceIds at once, whatever their obstacles are."""
        self._to_retry |= set(device_ids)

    def reconsider(self) -> None:
        """Give every job its turn again: the configuration has changed."""
        self.retry(job.device_id for job in self._worklist.timed() + self._worklist.obstructed())
        self._due.add_all()

    def confirm(self, device_ids: Iterable[str]) -> None:
        """Take the drives of these deviceIds for the ones that their jobs were made for.

        A person has checked that only the USB bridge differs.
        """
        confirmed = set(device_ids)
        for job in self._of_devices(confirmed):
            if isinstance(job.state, Submitted):
                with suppress(StaleJobError):
                    self._journal.record(job, signing.confirmed(job.state))
                log.info("drive confirmed by an operator", extra=about(job))
        self.retry(confirmed)

    def run(self, ring: Ring, now: float) -> bool:
        """Start every step that can be taken now; record why other jobs are blocked.

        `now` is the time of the scan, in seconds since the epoch. Returns whether all jobs had
        their turn; if not, call it again. Raises JournalError.
        """
        busy = self._workers.busy()  # before the jobs: one that is not in it cannot move meanwhile
        self._clear_obstacles(busy)
        choice = self.choose(busy, now, something_changed=bool(ring & ~Ring.WORK))
        self._record(choice.blocked)
        for job, drive in choice.ready:
            if self._start(job, partial(self.parts.preparation.advance, job, drive)):
                self._due.started(job, _key(job))
        self._validate()
        self._recheck()
        self._hear_witnesses()
        self._poll(is_time=Ring.TIMER in ring)
        return choice.is_complete

    def choose(self, busy: Collection[str], now: float, *, something_changed: bool) -> Choice:
        """Return which jobs can take a step now, and with which drive.

        A job that is due stays due until it is blocked, waits for its time, or has a worker. Those
        that a drive matches come first.
        """
        pairing = self._survey.pairing(self._worklist, self.parts.recognition)
        here: Collection[str] = ()
        jobs = self._worklist.take_fresh() + self._due.ended(busy) + self._worklist.timed()
        if something_changed:
            here = self._survey.here(pairing, self._worklist.take_news())
            jobs += self._worklist.obstructed() + self._of_devices(here)
        self._due.add(jobs, now, here, changed=something_changed)
        choice = Choice([], [], CHOICES if BACKGROUND.issuperset(busy) else FEW_CHOICES)
        matched = self._of_devices(pairing.here())
        for job in self._due.turns(matched, now, choice.limit + len(busy)):
            if _key(job) not in busy and choice.is_complete:
                self._try(job, pairing, choice)
        return choice

    def _try(self, job: Job, pairing: Pairing, choice: Choice) -> None:
        try:
            self.parts.preparation.texts.check_terms(job)
            choice.ready.append((job, pairing.drive_for(job)))
        except (DriveError, ManifestError) as error:
            choice.blocked.append((job, error))

    def report_hung(self) -> None:
        """Record an obstacle for each job whose drive does not answer: its worker cannot."""
        drives = self.parts.preparation.under_way.hung_drives()
        jobs = [job for job in map(self._worklist.get, drives) if job]
        self._hung = frozenset(map(_key, jobs))
        for job in jobs:
            reason = f"{drives[job.number].describe()} has not answered for {HUNG_SECONDS:.0f} s"
            hint = "Other drives are not affected. Unplug it and plug it in again; see `dmesg`."
            self.parts.outcomes.blocked(job, DriveError(reason, hint, code="drive-hung"))

    def preparing(self) -> int:
        """Return how many jobs have a worker now."""
        return len(self._workers.busy() - BACKGROUND)

    def _clear_obstacles(self, busy: Collection[str]) -> None:
        """Clear the obstacles of the jobs that an operator wants to be tried now."""
        ready = self._to_retry.difference(busy)
        self._to_retry -= ready
        self._to_poll |= ready
        if obstructed := [job for job in self._of_devices(ready) if job.obstacle]:
            self._journal.record_obstacles([(job, None) for job in obstructed])

    def _record(self, blocked: Collection[tuple[Job, DriveError | ManifestError]]) -> None:
        obstacles: list[tuple[Job, Obstacle | None]] = []
        for job, error in blocked:
            obstacles += self.parts.outcomes.obstacle(job, error)
        if obstacles:
            self._journal.record_obstacles(obstacles)
        for job, _ in blocked:
            self._due.remove(job)

    def _hear_witnesses(self) -> None:
        """Once after the start: a restored journal can lack jobs that have papers."""
        if not self._is_started:
            self._is_started = True
            preparation = self.parts.preparation
            begin = partial(preparation.witnesses.begin, preparation.client)
            self._workers.start(WITNESSES, begin)

    def _recheck(self) -> None:
        """Check the prepared drives that were mounted since the last scan: have they SIGNATURE?"""
        drives = {_mounted_as(drive): drive for drive in self._survey.drives}
        new = [drives[key] for key in drives if key not in self._seen]
        self._seen = frozenset(drives)
        for drive in new:
            for device_id in self.parts.recognition.device_ids(drive):
                job = self._journal.open_job(device_id)
                if job and job.filed and _key(job) not in self._workers.busy():
                    self._workers.start(_key(job), partial(self._recheck_one, job, drive))

    def _recheck_one(self, job: Job, drive: Drive) -> None:
        try:
            self.parts.preparation.recheck(job, drive)
        except JournalError:
            raise
        except DriveprepError as error:
            log.info("SIGNATURE not checked: %s", error, extra=about(job))

    def _validate(self) -> None:
        """Validate manifests whose drives are not here, with a part of the requests."""
        if not self.parts.validate_on_drop or self._steady() < self._validate_after:
            return
        preparation, busy = self.parts.preparation, self._workers.busy()  # before the jobs
        room = max(1, self._pace.limit(self.parts.requests) // VALIDATION_SHARE) - len(
            busy - self._hung - BACKGROUND
        )
        for job in self._worklist.unvalidated(room + len(busy)):
            if room > 0 and _key(job) not in busy and preparation.texts.is_of_account(job):
                steps = partial(preparation.validate, job)
                room -= self._start(job, steps, self._postpone_validation)

    def _postpone_validation(self, job: Job, error: DriveprepError) -> None:
        """Not an obstacle: the job's drive is not here yet, so later is early enough."""
        if self._steady() >= self._validate_after:
            log.warning("manifest %s not validated yet: %s", job.name, error, extra=about(job))
            self.parts.outcomes.warn(job, error)
        self._validate_after = self._steady() + VALIDATION_PAUSE_SECONDS

    def _poll(self, *, is_time: bool) -> None:
        """Ask the service about the jobs that are on their way, one after the other."""
        if not (is_time or self._to_poll) or POLLER in self._workers.busy():
            return
        poller = self.parts.preparation.poller
        jobs, self._to_poll = poller.open_jobs(self._to_poll), set()
        if is_time:
            jobs += [job for job in poller.due() if job not in jobs]
        if jobs:
            self._workers.start(POLLER, lambda: self._ask_about(jobs, poller))

    def _ask_about(self, jobs: Iterable[Job], poller: StatusPoller) -> None:
        for job in jobs:
            try:
                after = poller.ask(job)
            except StaleJobError:
                continue
            except ServiceError as error:
                log.debug("no status: %s", error, extra=about(job))
                self.parts.outcomes.service(error)
                if isinstance(error, UnreachableError):
                    return  # it is the same for the others; the next timer asks again
                continue
            self.parts.outcomes.service(None)
            if after.is_closed:
                self.parts.outcomes.closed(after)

    def _of_devices(self, device_ids: Iterable[str]) -> list[Job]:
        """Return the jobs of these deviceIds, oldest first."""
        jobs = [job for one in device_ids for job in self._worklist.of_device(one)]
        return sorted(jobs, key=lambda job: job.number)

    def _start(self, job: Job, steps: Callable[[], Job], on_error: OnError | None = None) -> bool:
        """Start a worker for a job and return True, if there is a free one for it."""
        busy = self._workers.busy()
        under_way = len(busy - self._hung - BACKGROUND)
        if _key(job) in busy or under_way >= self._pace.limit(self.parts.requests):
            return False
        on_error = on_error or self.parts.outcomes.blocked
        self._workers.start(_key(job), lambda: self._work(job, steps, on_error))
        return True

    def _work(self, job: Job, steps: Callable[[], Job], on_error: OnError) -> None:
        with suppress(StaleJobError):  # the job moved on: the next scan sees it as it is now
            try:
                after = steps()
            except (JournalError, StaleJobError):
                raise
            except DriveprepError as error:
                if isinstance(error, TryLaterError):
                    self._pace.slow_down(self.parts.requests)
                self.parts.outcomes.service(error)
                on_error(job, error)
            else:
                self._pace.speed_up()
                self.parts.outcomes.service(None)
                if after.filed:
                    self.parts.outcomes.filed(after)


def _mounted_as(drive: Drive) -> tuple[int, int, int | None]:
    return drive.mount.mount_id, drive.device_number, drive.device.diskseq


def _key(job: Job) -> str:
    """One worker for each device; a manifest that names no device has its own."""
    return job.device_id or f"/{job.number}"
