"""When a job expires, when its drive is late, and when it should have left."""

from __future__ import annotations

from daemon.jobs.job import Job, Progress, Signed, Submitted

EXPIRY_SECONDS = 30 * 24 * 3600  # the guide: a job expires 30 days after it was made
LATE_SECONDS = 7 * 24 * 3600  # before that: a carrier may need as long


def expires_at(state: Submitted | Signed) -> float:
    """Return when the job expires unless the drive is there, in seconds since the epoch."""
    return state.submitted_at + EXPIRY_SECONDS


def has_arrived(job: Job) -> bool:
    """Return whether the service has reported the drive anywhere but with its owner."""
    location = job.progress.location_code if job.progress else None
    return location not in {None, "NotReceived"}


def is_late(job: Job) -> bool:
    """Return whether the drive of an open job had not arrived when only a few days were left."""
    match job:
        case Job(state=Submitted() | Signed() as state, progress=Progress() as progress):
            last_days = expires_at(state) - LATE_SECONDS
            return not has_arrived(job) and not job.is_closed and progress.checked_at > last_days
    return False


def is_unshipped(job: Job, before: float) -> bool:
    """Return whether the drive was signed before that moment, and is not known to have left."""
    match job:
        case Job(state=Signed(signed_at=signed_at), filed=True, shipment=None, is_closed=False):
            return signed_at < before and not has_arrived(job)
    return False
