"""What is known or decided before a job's drive arrives. All methods can be repeated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from daemon.jobs import schema
from daemon.jobs.job import Caution, Job, Pending
from daemon.jobs.parts.access import Access


class Foresight(Access):
    """The part of the journal for what may go wrong, and what a person has decided about it."""

    def cautions(self, job: Job) -> tuple[Caution, ...]:
        """Return what may go wrong with a job, with the texts that the worklist does without."""
        rows = self._rows("SELECT cautions FROM job WHERE number = ?", job.number)
        return schema.cautions(rows[0][0]) if rows else ()

    def record_cautions(self, job: Job, others: Iterable[Caution]) -> Job:
        """Record what the service has against a job now, unless it is filed.

        What its manifest itself warns of stays. Returns the job as it now is.
        """
        with self._lock:
            if (held := self.worklist.get(job.number)) is None:
                return job
            own = [one for one in self.cautions(held) if one.is_own]
            after = replace(held, cautions=(*own, *others))
            with self._commit() as database:
                query = "UPDATE job SET cautions = ? WHERE number = ?"
                database.execute(query, (schema.dump_cautions(after.cautions), job.number))
            self._remember(after)
            return after

    def allow_as_it_is(self, device_id: str) -> list[Job]:
        """Record that the drive of a deviceId's pending job need not be empty; return the jobs."""
        with self._lock:
            jobs = self.worklist.of_device(device_id)
            allowed = [replace(one, is_as_it_is=True) for one in jobs if _is_pending(one)]
            with self._commit() as database:
                for job in allowed:
                    database.execute("UPDATE job SET as_it_is = 1 WHERE number = ?", (job.number,))
            self._remember(*allowed)
            return allowed


def _is_pending(job: Job) -> bool:
    return isinstance(job.state, Pending)
