"""Was a job made after all? The service's own list decides when no usable response arrived."""

from __future__ import annotations

from daemon.errors import InDoubtError, JobRefusedError
from daemon.importexport.client import Client
from daemon.importexport.results import JobStatus
from daemon.jobs.job import Submitting
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.preparation.polling import ENDED

# A service refuses a request whose Timestamp is further off than this (API, RequestExpired), so a
# job that it made is never dated earlier than the journaled time less this.
CLOCK_SKEW_SECONDS = 15 * 60


def job_made(state: Submitting, text: str, journal: Journal, client: Client) -> JobStatus | None:
    """Return the job that was made of the manifest `text`; None if none is listed so far.

    Raises InDoubtError for several, and ServiceError when the service does not answer.
    """
    made = []
    for listed in client.list_jobs():  # newest first
        if listed.creation_date < state.sent_at - CLOCK_SKEW_SECONDS:
            break
        is_other = listed.job_type != "Export" or listed.is_canceled
        if is_other or journal.job_with(listed.job_id):
            continue
        status = _status(listed.job_id, client)
        if status and rules.is_same(text, status.current_manifest or ""):
            made.append(status)
    if len(made) > 1:
        raise InDoubtError(
            f"the service has several jobs for this one manifest:"
            f" {', '.join(status.job_id for status in made)}",
            "Cancel all but one at the service; the one left is then used.",
            code="in-doubt-several-jobs",
        )
    return made[0] if made else None


def _status(job_id: str, client: Client) -> JobStatus | None:
    """Return the status of a listed job; None if it ended since it was listed."""
    try:
        return client.get_status(job_id)
    except JobRefusedError as error:
        if error.code.startswith(ENDED):
            return None
        raise
