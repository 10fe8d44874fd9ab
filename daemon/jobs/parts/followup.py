"""What is recorded of jobs that are finished here: dismissed rejections, shipments, reminders."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from daemon.jobs.deadlines import is_unshipped
from daemon.jobs.job import Job, Shipment
from daemon.jobs.parts.access import Access
from daemon.jobs.schema import OPEN

DISMISS = "UPDATE job SET dismissed = 1 WHERE state = 'Rejected' AND filed = 1 AND dismissed = 0"


class FollowUp(Access):
    """The part of the journal for what happens after a job is filed. All methods can be repeated.

    All errors are JournalError.
    """

    def dismiss(self, word: str) -> int:
        """Dismiss the rejections of a manifest or deviceId; return how many there were."""
        with self._commit() as database:
            query = f"{DISMISS} AND (name = ? OR device_id = ?)"
            return database.execute(query, (word, word)).rowcount

    def dismiss_all(self) -> int:
        """Dismiss every rejection; return how many there were."""
        with self._commit() as database:
            return database.execute(DISMISS).rowcount

    def job_of(self, word: str) -> Job | None:
        """Return the job with that JobId; of a deviceId its open job, or else its newest."""
        which = (
            "number = (SELECT number FROM job WHERE job_id = upper(?) OR device_id = ?"
            f" ORDER BY job_id IS upper(?) DESC, ({OPEN}) DESC, number DESC LIMIT 1)"
        )
        return next(iter(self._jobs(which, word, word, word)), None)

    def record_shipments(self, shipments: Iterable[tuple[Job, Shipment | None]]) -> None:
        """Record, all or none, which drives of filed jobs have left (None: it has not)."""
        query = "UPDATE job SET shipment = ? WHERE number = ? AND filed = 1"
        with self._commit() as database:
            for job, shipment in shipments:
                text = json.dumps(asdict(shipment)) if shipment else None
                database.execute(query, (text, job.number))

    def unshipped(self, before: float) -> list[Job]:
        """Return the jobs signed before that moment whose drives should have left.

        Those with a recorded reminder are left out.
        """
        which = f"filed = 1 AND {OPEN} AND shipment IS NULL AND reminded = 0 AND since < ?"
        return [job for job in self._jobs(which, before) if is_unshipped(job, before)]

    def record_reminder(self, job: Job) -> None:
        """Record that it was said that the drive of this job is still here."""
        with self._commit() as database:
            database.execute("UPDATE job SET reminded = 1 WHERE number = ?", (job.number,))
