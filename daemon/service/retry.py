"""Obstacles: what an error makes of one, and when a job with an obstacle is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from daemon.errors import (
    DriveAbsentError,
    DriveprepError,
    InDoubtError,
    ServiceError,
    UnreachableError,
)
from daemon.jobs.job import Job, Obstacle

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
