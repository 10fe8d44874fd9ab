"""The states of a job, and the journal that records them."""

from daemon.jobs.job import (
    Job,
    NewJob,
    Obstacle,
    Pending,
    Progress,
    Rejected,
    Signed,
    State,
    Submitted,
    Submitting,
)
from daemon.jobs.journal import Journal
from daemon.jobs.reader import daemon_info, find, recent

__all__ = [
    "Job",
    "Journal",
    "NewJob",
    "Obstacle",
    "Pending",
    "Progress",
    "Rejected",
    "Signed",
    "State",
    "Submitted",
    "Submitting",
    "daemon_info",
    "find",
    "recent",
]
