"""The loop: hear the bell, look at the world, pair jobs with drives, let workers take steps.

Nothing here knows what a step does. Start-up, a missed event, a storm of events and recovery
after a crash are the same look.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from daemon.drives.drive import Drive
from daemon.drives.inventory import Drives
from daemon.errors import (
    ConfigError,
    DriveError,
    DriveprepError,
    JournalError,
    JournalFullError,
    ManifestError,
    ServiceError,
    StaleJobError,
    UnreachableError,
)
from daemon.jobs.job import Job, Obstacle, Pending, about
from daemon.jobs.journal import Journal
from daemon.preparation.intake import Intake
from daemon.preparation.polling import Following
from daemon.preparation.steps import Preparation
from daemon.service.bell import Bell, Ring
from daemon.service.outcomes import Aftermath
from daemon.service.retry import is_due, waits
from daemon.service.survey import Lookout
from daemon.service.workers import Workers
from daemon.spool.spool import Spool
from daemon.system import systemd
from daemon.system.printable import timestamp

log = logging.getLogger("daemon.service")

TIMER_SECONDS = 30.0  # how long a lost event may stay unnoticed
IDLE_SECONDS = 60.0  # the same while no job has a step to take
FULL_SECONDS = 5.0  # how long to leave a full disk alone
STOP_SECONDS = 10.0  # how long a worker may finish its step; systemd waits 90
HUNG_SECONDS = 60.0  # a disk wakes in 10; a stick may have as long to write what others left it
FOLLOWER = "/follow"  # the key of the one worker that follows jobs; no deviceId's


Met = Callable[[Job, DriveprepError | OSError], None]  # what to do about what a worker met


@dataclass(frozen=True, slots=True)
class Outfit:
    """What a change of the configuration exchanges."""

    preparation: Preparation
    aftermath: Aftermath
    devices: Mapping[str, Mapping[str, str]]
    require_mapping: bool
    validate_on_drop: bool
    workers: int


class Service:
    """The daemon's main loop; `run` in one thread, which alone looks, pairs and starts workers."""

    def __init__(
        self,
        bell: Bell,
        journal: Journal,
        spool: Spool,
        intake: Intake,
        drives: Drives,
        outfit: Outfit,
        load: Callable[[], Outfit],
    ) -> None:
        self._bell = bell
        self._journal = journal
        self._spool = spool
        self._intake = intake
        self._outfit = outfit
        self._load = load
        self._workers = Workers(lambda: bell.ring(Ring.WORK))
        self._lookout = Lookout(drives)
        self._called: dict[int, None] = {}  # jobs that a ring called for, and no look has met yet
        self._retried: set[str] = set()  # deviceIds that somebody wants tried at once
        self._asked_for: set[str] = set()  # deviceIds whose open jobs somebody wants asked about
        self._hung: frozenset[str] = frozenset()  # keys of workers whose drives do not answer
        self._unseen = Ring.NOTHING  # what was rung while there was no room to write it down
        self._looked_at = 0.0  # seconds since the epoch
        self._full_until = -math.inf  # monotonic
        self._validate_after = -math.inf  # monotonic; the service did not answer before
        self._incomplete_until: float | None = None  # a manifest is still being written
        self._config_fault = ""  # of a change that was not taken
        self._status = ""

    def run(self) -> None:
        """Work until STOP is rung. Raises JournalError, or whatever bug a worker met."""
        systemd.notify("READY=1")
        timer = time.monotonic() + TIMER_SECONDS
        ring = Ring.ALL & ~Ring.CONFIG
        while Ring.STOP not in ring:
            self._look(ring)
            ring = self._bell.wait(self._pause(timer))
            systemd.notify("WATCHDOG=1")
            if self._workers.bug:
                raise self._workers.bug
            if time.monotonic() >= timer:
                ring |= Ring.TIMER
                is_idle = not self._journal.unfiled()
                timer = time.monotonic() + (IDLE_SECONDS if is_idle else TIMER_SECONDS)
        systemd.notify("STOPPING=1")
        self._workers.join(STOP_SECONDS)

    # Looking

    def _look(self, ring: Ring) -> None:
        self._unseen |= ring
        if time.monotonic() < self._full_until:
            return
        self._looked_at = time.time()
        try:
            self._refresh(self._unseen)
            self._pair(self._unseen)
            self._unseen = Ring.NOTHING
        except JournalFullError as error:
            self._wait_for_room(error)
        self._tell_systemd()

    def _refresh(self, ring: Ring) -> None:
        """Look at the halves that may have changed; a drive does not wait for a full folder."""
        if Ring.CONFIG in ring:
            self._reload()
        self._lookout.look(ring, self._journal.unfiled())
        if Ring.TIMER in ring:
            self._look_for_hung()
        if ring & (Ring.SPOOL | Ring.TIMER) or self._incomplete_until is not None:
            if Ring.MOUNTS in ring:
                self._pair(Ring.MOUNTS)
            self._incomplete_until = self._intake.take_in()
            # What the first manifest after a quiet time makes necessary.
            self._lookout.look(Ring.NOTHING, self._journal.unfiled())
            self._retried |= set(self._spool.retries())
            self._journal.tell(lastScan=timestamp(self._looked_at))

    def _look_for_hung(self) -> None:
        """A worker that hangs with its drive cannot say so, and holds up no other job."""
        drives = self._outfit.preparation.silent(HUNG_SECONDS)
        jobs = [job for job in self._journal.unfiled() if job.number in drives]
        self._hung = frozenset(map(_key, jobs))
        for job in jobs:
            reason = f"{drives[job.number].describe()} has not answered for {HUNG_SECONDS:.0f} s"
            hint = "Other drives go on. Pull it out and plug it in again; `dmesg` may tell more."
            self._outfit.aftermath.met(job, DriveError(reason, hint))

    def _reload(self) -> None:
        in_use = self._outfit.preparation.in_use
        try:
            outfit = self._load()
        except ConfigError as error:
            for fault in error.faults or (error,):
                log.error("configuration unchanged: %s", fault)  # noqa: TRY400 - it says it all
            self._config_fault = f"; configuration unchanged: {error}"
            return
        self._config_fault = ""
        preparation = replace(outfit.preparation, in_use=in_use)  # workers go on with the old one
        self._outfit = replace(outfit, preparation=preparation)
        log.info("configuration read")
        self._retried |= {job.device_id for job in self._journal.unfiled()}

    def _wait_for_room(self, error: JournalFullError) -> None:
        """What cannot be written down first is not done; look at all again in a while."""
        if time.monotonic() > self._full_until + TIMER_SECONDS:
            log.error("%s. %s", error, error.hint)
        self._full_until = time.monotonic() + FULL_SECONDS
        self._bell.ring(Ring.TIMER)

    # Pairing

    def _pair(self, ring: Ring) -> None:
        """Give each job that can take a step to a worker; write down what is in others' way."""
        busy = self._workers.busy()  # before the jobs: one that is not in it cannot move meanwhile
        self._forgive(busy)
        jobs = {job.number: job for job in self._journal.unfiled()}
        now, changed = self._looked_at, bool(ring & ~Ring.WORK)
        outfit = self._outfit
        pairing = self._lookout.pairing(jobs.values(), outfit.devices, outfit.require_mapping)
        here = self._lookout.here(pairing)
        due = [job for job in jobs.values() if is_due(job, now, here, something_changed=changed)]
        called = self._called | dict.fromkeys(job.number for job in due)
        self._called = {number: None for number in called if number in jobs}
        hindered: list[tuple[Job, Obstacle | None]] = []
        for job in [jobs[number] for number in self._called if _key(jobs[number]) not in busy]:
            try:
                if not waits(job, now) and not self._advance(job, pairing.drive_for(job)):
                    continue  # it stays called until there is a worker for it
            except (DriveError, ManifestError) as error:
                hindered += outfit.aftermath.hindrance(job, error)
            del self._called[job.number]
        if hindered:
            self._journal.hinder(hindered)
        self._validate()
        if self._asked_for or Ring.TIMER in ring:
            self._follow()

    def _forgive(self, busy: frozenset[str]) -> None:
        """Take away what is in the way of the jobs that somebody wants tried at once."""
        ready = self._retried - busy
        self._retried -= ready
        self._asked_for |= ready
        hindered = [
            job for job in self._journal.unfiled() if job.obstacle and job.device_id in ready
        ]
        if hindered:
            self._journal.hinder([(job, None) for job in hindered])

    def _validate(self) -> None:
        """Ask the service about manifests whose drives are not here, with half of the workers."""
        if not self._outfit.validate_on_drop or time.monotonic() < self._validate_after:
            return
        busy = self._workers.busy()  # before the jobs, as in `_pair`
        room = max(1, self._outfit.workers // 2) - len(busy - self._hung - {FOLLOWER})
        for job in self._journal.unfiled():
            is_open = isinstance(job.state, Pending) and not job.state.validated
            if room > 0 and is_open and _key(job) not in busy:
                steps = partial(self._outfit.preparation.validate, job)
                room -= self._start(job, steps, self._met_validating)

    def _follow(self) -> None:
        """Ask about the jobs that are on their way, one after the other."""
        if FOLLOWER in self._workers.busy():
            return
        following = self._outfit.preparation.following
        jobs, self._asked_for = following.due(self._asked_for), set()
        if jobs:
            self._workers.start(FOLLOWER, lambda: self._ask_about(jobs, following))

    # Workers

    def _advance(self, job: Job, drive: Drive | None) -> bool:
        steps = partial(self._outfit.preparation.advance, job, drive)
        return self._start(job, steps, self._outfit.aftermath.met)

    def _start(self, job: Job, steps: Callable[[], Job], met: Met) -> bool:
        """Have `steps` taken by a worker, if there is one for this job."""
        busy = self._workers.busy()
        if _key(job) in busy or len(busy - self._hung - {FOLLOWER}) >= self._outfit.workers:
            return False
        self._workers.start(_key(job), lambda: self._work(job, steps, met))
        return True

    def _work(self, job: Job, steps: Callable[[], Job], met: Met) -> None:
        with self._without_a_guess():
            try:
                after = steps()
            except (JournalError, StaleJobError):
                raise
            except (DriveprepError, OSError) as error:
                met(job, error)
            else:
                if after.filed:
                    self._outfit.aftermath.filed(after)

    def _ask_about(self, jobs: list[Job], following: Following) -> None:
        with self._without_a_guess():
            for job in jobs:
                try:
                    after = following.ask(job)
                except UnreachableError:
                    return  # it is the same for the others; the next timer asks again
                except ServiceError as error:
                    log.debug("nothing heard of it: %s", error, extra=about(job))
                    continue
                if after.is_closed:
                    self._outfit.aftermath.closed(after)

    @contextmanager
    def _without_a_guess(self) -> Iterator[None]:
        """A job that moved on is looked at anew, a full disk waited for; the rest ends us."""
        try:
            yield
        except StaleJobError:
            pass
        except JournalFullError as error:
            self._wait_for_room(error)

    def _met_validating(self, job: Job, error: DriveprepError | OSError) -> None:
        """No obstacle to a job: its drive is not here yet. Later is early enough."""
        if time.monotonic() >= self._validate_after:
            log.warning("manifest %s not validated yet: %s", job.name, error, extra=about(job))
        self._validate_after = time.monotonic() + TIMER_SECONDS

    # Telling

    def _tell_systemd(self) -> None:
        jobs = self._journal.unfiled()
        hindered = sum(job.obstacle is not None for job in jobs)
        in_work = len(self._workers.busy() - {FOLLOWER})
        counts = f"{len(jobs)} jobs: {in_work} in work, {hindered} waiting"
        status = f"STATUS={counts}{self._config_fault}"
        if status != self._status:
            systemd.notify(status)
            self._status = status

    def _pause(self, timer: float) -> float:
        """Seconds until something is due by itself."""
        now = time.monotonic()
        pauses = [timer - now, systemd.watchdog_seconds() or IDLE_SECONDS]
        if self._full_until > now:
            return min(*pauses, self._full_until - now)
        moments = [job.obstacle.retry_at for job in self._journal.unfiled() if job.obstacle]
        moments.append(self._incomplete_until)
        # One that was past when we last looked waits for a worker, whose end rings.
        ahead = [moment for moment in moments if moment and moment > self._looked_at]
        return min(pauses + [moment - time.time() for moment in ahead])


def _key(job: Job) -> str:
    """One worker per device; a manifest that names none is on its own."""
    return job.device_id or f"/{job.number}"
