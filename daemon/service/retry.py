"""Obstacles: what an error makes of one, when a job is tried again, and whose turn it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

from daemon.errors import (
    DriveAbsentError,
    DriveprepError,
    InDoubtError,
    ServiceError,
    UnreachableError,
)
from daemon.jobs.job import Job, Obstacle
from daemon.jobs.worklist import Worklist

# The longest pause between two attempts, by the kind of error. Pauses double up to it.
PAUSE_SECONDS = {InDoubtError: 5.0, UnreachableError: 60.0, ServiceError: 600.0}


@dataclass(frozen=True, slots=True)
class Retry:
    """Turns errors into obstacles. `jitter` picks a factor between two bounds for each pause."""

    jitter: Callable[[float, float], float] = random.uniform

    def obstacle(self, before: Obstacle | None, error: DriveprepError, now: float) -> Obstacle:
        """Return the obstacle after an error; errors of the service wait longer each time."""
        is_absence = isinstance(error, DriveAbsentError)
        after = Obstacle(str(error), error.hint, now, 0, None, is_absence, error.code)
        if before and after.is_like(before):
            after = replace(after, since=before.since)
        if not isinstance(error, ServiceError):
            return after
        attempts = before.attempts + 1 if before else 1
        longest = next(pause for kind, pause in PAUSE_SECONDS.items() if isinstance(error, kind))
        pause = min(longest, 2.0 ** min(attempts, 20)) * self.jitter(0.5, 1.0)
        return replace(after, attempts=attempts, retry_at=now + pause)


def waits(job: Job, now: float) -> bool:
    """Return whether the time of the next attempt is still ahead. A clock can be set back."""
    retry_at = job.obstacle.retry_at if job.obstacle else None
    return retry_at is not None and now < retry_at <= now + max(PAUSE_SECONDS.values())


def is_due(job: Job, now: float, here: Collection[str], *, something_changed: bool) -> bool:
    """Return whether to try a job now.

    Errors of the service pass with time, all others with a change. `here` are the deviceIds that
    match some drive: only for them can the absence of a drive have ended.
    """
    if job.obstacle is None or job.obstacle.retry_at is not None:
        return not waits(job, now)
    return something_changed and (job.device_id in here or not job.obstacle.is_absence)


class Due:
    """The jobs whose turn it is. Each keeps its place until it is blocked or has a worker."""

    def __init__(self, worklist: Worklist) -> None:
        self._worklist = worklist
        self._due: dict[int, int] = {}  # by number, in the order of their places
        self._places = count()
        self._working: dict[int, str] = {}  # jobs with a worker, and their keys

    def add(self, jobs: Iterable[Job], now: float, here: Collection[str], *, changed: bool) -> None:
        """Add those of the jobs that are due now; see `is_due`."""
        for job in jobs:
            if is_due(job, now, here, something_changed=changed):
                self._due.setdefault(job.number, next(self._places))

    def add_all(self) -> None:
        """Add every job, whatever its obstacle is."""
        for job in self._worklist.jobs():
            self._due.setdefault(job.number, next(self._places))

    def started(self, job: Job, key: str) -> None:
        """The job has the worker `key`."""
        self._due.pop(job.number, None)
        self._working[job.number] = key

    def ended(self, busy: Collection[str]) -> list[Job]:
        """Return the jobs whose workers have ended since the last call, as they are now."""
        ended = [number for number, key in self._working.items() if key not in busy]
        for number in ended:
            del self._working[number]
        return [job for job in map(self._worklist.get, ended) if job]

    def remove(self, job: Job) -> None:
        """The job is blocked. Safe to repeat."""
        self._due.pop(job.number, None)

    def turns(self, first: Iterable[Job], now: float, limit: int) -> Iterator[Job]:
        """Yield due jobs: those of `first`, then up to `limit` others."""
        ahead = [job.number for job in first if job.number in self._due]
        ahead.sort(key=self._due.__getitem__)
        others = list(islice(self._due, limit + len(ahead)))
        for number in dict.fromkeys([*ahead, *others]):
            job = self._worklist.get(number)
            if job is None or waits(job, now):
                del self._due[number]
            else:
                yield job
