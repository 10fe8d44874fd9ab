"""Obstacles: what an error makes of one, and when a job with one is to be tried again."""

from __future__ import annotations

import random
from collections.abc import Collection

from daemon.errors import (
    DriveAbsentError,
    DriveprepError,
    InDoubtError,
    ServiceError,
    UnreachableError,
)
from daemon.jobs.job import Job, Obstacle

# The longest pause between two tries, by what is in the way; pauses double up to it.
PAUSE_SECONDS = {InDoubtError: 5.0, UnreachableError: 60.0, ServiceError: 600.0}


def obstacle(before: Obstacle | None, error: DriveprepError | OSError, now: float) -> Obstacle:
    """The obstacle after an error; trouble of the service waits ever longer, with jitter."""
    reason, hint = str(error), getattr(error, "hint", "Check the disk that holds the spool.")
    since = before.since if before and before.reason == reason else now
    if not isinstance(error, ServiceError):
        return Obstacle(reason, hint, since, 0, None, isinstance(error, DriveAbsentError))
    attempts = before.attempts + 1 if before else 1
    longest = next(pause for kind, pause in PAUSE_SECONDS.items() if isinstance(error, kind))
    pause = min(longest, 2.0 ** min(attempts, 20)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    return Obstacle(reason, hint, since, attempts, now + pause)


def waits(job: Job, now: float) -> bool:
    """Whether the time for the next try is still to come. A clock can be set back."""
    retry_at = job.obstacle.retry_at if job.obstacle else None
    return retry_at is not None and now < retry_at <= now + max(PAUSE_SECONDS.values())


def is_due(job: Job, now: float, here: Collection[str], *, something_changed: bool) -> bool:
    """Whether to try a job now: trouble of the service passes with time, any other by a change.

    `here` are the deviceIds that some drive answers to: absence ends only with one of them.
    """
    if job.obstacle is None or job.obstacle.retry_at is not None:
        return not waits(job, now)
    return something_changed and (job.device_id in here or not job.obstacle.is_absence)
