"""The states of a job, and the journal that records them.

`journal.Journal`, its one writer, belongs to this interface, too; it is loaded only where it is
imported.
"""

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
from daemon.jobs.reader import daemon_info, find, recent

__all__ = [
    "Job",
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
