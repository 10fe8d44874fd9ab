"""The loop: hear the bell, look at the world, pair jobs with drives, let workers take steps.

Nothing here knows what a step does. Start-up, a missed event, a storm of events and recovery
after a crash are the same look.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daemon import recognition, systemd
from daemon.bell import Bell, Ring
from daemon.drive import Drive
from daemon.drives import Drives
from daemon.errors import (
    ConfigError,
    DriveError,
    DriveprepError,
    InDoubtError,
    JournalError,
    JournalFullError,
    ManifestError,
    ServiceError,
    StaleJobError,
    UnreachableError,
)
from daemon.intake import Intake
from daemon.job import Job, Obstacle, Pending, Rejected, Signed, Submitted, Submitting, about
from daemon.journal import Journal
from daemon.preparation import Preparation
from daemon.spool import Spool

log = logging.getLogger(__name__)

TIMER_SECONDS = 30.0  # how long a lost event may stay unnoticed
FULL_SECONDS = 5.0  # how long to leave a full disk alone
STOP_SECONDS = 10.0  # how long a worker may finish its step; systemd waits 90
# The longest pause between two tries, by what is in the way; pauses double up to it.
PAUSE_SECONDS = {InDoubtError: 15.0, UnreachableError: 60.0, ServiceError: 600.0}


Met = Callable[[Job, DriveprepError | OSError], None]  # what to do about what a worker met


@dataclass(frozen=True, slots=True)
class Outfit:
    """What a change of the configuration exchanges."""

    preparation: Preparation
    devices: Mapping[str, Mapping[str, str]]
    require_mapping: bool
    validate_on_drop: bool
    workers: int


class Service:
    """The daemon's main loop; `run` in one thread, which alone looks and pairs."""

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
        self._load = load
        self._outfit = outfit
        self._watched = drives
        self._drives: tuple[Drive, ...] = ()
        self._busy: dict[str, threading.Thread] = {}
        self._bug: BaseException | None = None
        self._called: dict[int, None] = {}  # jobs that a bell called for, and no look has met yet
        self._unseen = Ring.NOTHING  # what was rung while there was no room to write it down
        self._full_until = -math.inf  # monotonic
        self._validate_after = 0.0  # monotonic; the service did not answer before
        self._incomplete_until: float | None = None  # a manifest is still being written
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
            if time.monotonic() >= timer:
                ring |= Ring.TIMER
                timer = time.monotonic() + TIMER_SECONDS
        systemd.notify("STOPPING=1")
        self._stop()
        if self._bug:
            raise self._bug

    def _look(self, ring: Ring) -> None:
        self._unseen |= ring
        if time.monotonic() < self._full_until:
            return
        try:
            self._look_and_pair(self._unseen)
            self._unseen = Ring.NOTHING
        except JournalFullError as error:
            self._wait_for_room(error)
        self._tell_systemd()

    def _look_and_pair(self, ring: Ring) -> None:
        if Ring.CONFIG in ring:
            self._reload()
        if ring & (Ring.SPOOL | Ring.TIMER) or self._incomplete_until is not None:
            self._incomplete_until = self._intake.take_in()
            self._forget_obstacles(self._spool.retries())
        if ring & (Ring.MOUNTS | Ring.TIMER):
            self._drives = self._watched.mounted()
        self._pair(ring)

    def _wait_for_room(self, error: JournalFullError) -> None:
        """What cannot be written down first is not done; look at all again in a while."""
        if time.monotonic() > self._full_until + TIMER_SECONDS:
            log.error("%s. %s", error, error.hint)
        self._full_until = time.monotonic() + FULL_SECONDS
        self._bell.ring(Ring.TIMER)

    def _reload(self) -> None:
        try:
            self._outfit = self._load()
        except ConfigError as error:
            for fault in error.faults or (error,):
                log.error("configuration unchanged: %s", fault)  # noqa: TRY400 - the fault says it all
            return
        log.info("configuration read")
        self._forget_obstacles([job.device_id for job in self._journal.unfiled()])

    def _forget_obstacles(self, device_ids: list[str]) -> None:
        """Let jobs be tried at once, whatever was in their way."""
        hindered = [
            job
            for job in self._journal.unfiled()
            if job.obstacle and job.device_id in device_ids and _key(job) not in self._busy
        ]
        self._journal.hinder([(job, None) for job in hindered])

    # Pairing

    def _pair(self, ring: Ring) -> None:
        """Give each job that can take a step to a worker; write down what is in others' way."""
        busy = set(self._busy)  # before the jobs: one that is not in it cannot move meanwhile
        jobs = {job.number: job for job in self._journal.unfiled()}
        rivals: dict[str, list[str]] = {}
        for job in jobs.values():
            if isinstance(job.state, Pending):
                rivals.setdefault(job.device_id, []).append(job.name)
        due = dict.fromkeys(job.number for job in jobs.values() if _is_due(job, ring))
        self._called = {number: None for number in self._called | due if number in jobs}
        hindered: list[tuple[Job, Obstacle | None]] = []
        for job in [jobs[number] for number in self._called]:
            if _key(job) in busy:
                continue  # it stays called: what rang may matter after this step
            if _waits(job):
                del self._called[job.number]
                continue
            try:
                drive = self._drive_for(job, rivals)
            except (DriveError, ManifestError) as error:
                hindered += self._hinder(job, error)
                del self._called[job.number]
                continue
            if len(self._busy) < self._outfit.workers:
                del self._called[job.number]
                busy.add(_key(job))
                self._advance(job, drive)
        if hindered:
            self._journal.hinder(hindered)
        self._validate([job for job in jobs.values() if _key(job) not in busy])

    def _drive_for(self, job: Job, rivals: Mapping[str, list[str]]) -> Drive | None:
        """The drive that the next step needs, if it needs one. Raises why there is none."""
        match job.state:
            case Submitting() | Signed() | Rejected():
                return None
            case Pending() if len(rivals[job.device_id]) > 1:
                raise ManifestError(
                    f"several manifests name {job.device_id}: {', '.join(rivals[job.device_id])}",
                    hint="Leave one of them in pending/; a device carries one SIGNATURE.",
                )
            case Pending() | Submitted():
                return recognition.pick(
                    job.device_id,
                    job.file_system,
                    self._drives,
                    self._outfit.devices,
                    self._outfit.require_mapping,
                    asked=rivals,
                )

    def _validate(self, idle: list[Job]) -> None:
        """Ask the service about manifests whose drives are not here, with half of the workers."""
        if not self._outfit.validate_on_drop or time.monotonic() < self._validate_after:
            return
        room = max(1, self._outfit.workers // 2) - len(self._busy)
        for job in idle:
            if room > 0 and isinstance(job.state, Pending) and not job.state.validated:
                self._run(job, self._outfit.preparation.validate, self._met_validating)
                room -= 1

    # Workers

    def _advance(self, job: Job, drive: Drive | None) -> None:
        preparation = self._outfit.preparation
        self._run(job, lambda job: preparation.advance(job, drive), self._met)

    def _run(self, job: Job, steps: Callable[[Job], object], met: Met) -> None:
        worker = threading.Thread(target=self._work, args=(job, steps, met), daemon=True)
        self._busy[_key(job)] = worker
        worker.start()

    def _work(self, job: Job, steps: Callable[[Job], object], met: Met) -> None:
        try:
            try:
                steps(job)
            except (JournalError, StaleJobError):
                raise
            except (DriveprepError, OSError) as error:
                met(job, error)
        except StaleJobError:
            pass  # the next look sees how it stands
        except JournalFullError as error:
            self._wait_for_room(error)
        except BaseException as error:  # noqa: BLE001 - a bug ends the process, not one thread
            self._fail(error)
        finally:
            self._busy.pop(_key(job), None)
            self._bell.ring(Ring.WORK)

    def _met(self, job: Job, error: DriveprepError | OSError) -> None:
        self._journal.hinder(self._hinder(job, error))

    def _met_validating(self, job: Job, error: DriveprepError | OSError) -> None:
        """No obstacle to a job: its drive is not here yet. Later is early enough."""
        self._validate_after = time.monotonic() + TIMER_SECONDS
        log.warning("manifest %s not validated yet: %s", job.name, error, extra=about(job))

    def _fail(self, error: BaseException) -> None:
        self._bug = error
        self._bell.ring(Ring.STOP)

    def _hinder(
        self, job: Job, error: DriveprepError | OSError
    ) -> list[tuple[Job, Obstacle | None]]:
        """The obstacle to write down, if it is news; each is logged once."""
        job = self._journal.current(job) or job
        obstacle = _obstacle(job.obstacle, error, time.time())
        if obstacle == job.obstacle:
            return []
        if not job.obstacle or obstacle.reason != job.obstacle.reason:
            log.warning("%s. %s", obstacle.reason, obstacle.hint, extra=about(job))
        return [(job, obstacle)]

    # Time

    def _pause(self, timer: float) -> float:
        """Seconds until something is due by itself."""
        now = time.time()
        moments = [job.obstacle.retry_at for job in self._journal.unfiled() if job.obstacle]
        moments.append(self._incomplete_until)
        pauses = [timer - time.monotonic(), systemd.watchdog_seconds() or TIMER_SECONDS]
        if self._full_until > time.monotonic():
            return min(*pauses, self._full_until - time.monotonic())
        return min(pauses + [moment - now for moment in moments if moment is not None])

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for worker in list(self._busy.values()):
            worker.join(max(0.0, deadline - time.monotonic()))

    def _tell_systemd(self) -> None:
        jobs = self._journal.unfiled()
        hindered = sum(job.obstacle is not None for job in jobs)
        status = f"STATUS={len(jobs)} jobs, {len(self._busy)} in work, {hindered} waiting"
        if status != self._status:
            systemd.notify(status)
            self._status = status


def _key(job: Job) -> str:
    """One worker per device; a manifest that names none is on its own."""
    return job.device_id or f"#{job.number}"


def _is_due(job: Job, ring: Ring) -> bool:
    """Whether a ring calls for a job. Trouble of the service is over only when its time comes."""
    if job.obstacle is None or job.obstacle.retry_at is not None:
        return not _waits(job)
    return bool(ring & ~Ring.WORK)


def _waits(job: Job) -> bool:
    return bool(job.obstacle and (job.obstacle.retry_at or 0.0) > time.time())


def _obstacle(before: Obstacle | None, error: DriveprepError | OSError, now: float) -> Obstacle:
    """What an error makes of the obstacle before; trouble of the service waits ever longer."""
    reason, hint = str(error), getattr(error, "hint", "Check the disk that holds the spool.")
    since = before.since if before and before.reason == reason else now
    if not isinstance(error, ServiceError):
        return Obstacle(reason, hint, since, 0, None)
    attempts = before.attempts + 1 if before else 1
    longest = next(pause for kind, pause in PAUSE_SECONDS.items() if isinstance(error, kind))
    pause = min(longest, 2.0 ** min(attempts, 20)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    return Obstacle(reason, hint, since, attempts, now + pause)
