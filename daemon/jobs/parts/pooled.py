"""What the journal remembers of the pool that this station shares. All methods can be repeated."""

from __future__ import annotations

from dataclasses import replace

from daemon.errors import StaleJobError
from daemon.jobs import schema
from daemon.jobs.job import Ceded, Job, check_step
from daemon.jobs.parts.access import Access
from daemon.jobs.schema import OPEN


class Pooled(Access):
    """The part of the journal for the pool: who this station is, and which claims it has."""

    def membership(self) -> str | None:
        """Return what `record_membership` recorded last; None if that was None, or nothing."""
        rows = self._rows("SELECT station FROM membership")
        return rows[0][0] if rows else None

    def record_membership(self, station: str | None) -> None:
        """Record what this station is in its pool; None: it is in none."""
        with self._commit() as database:
            if station is None:
                database.execute("DELETE FROM membership")
            else:
                database.execute(
                    "INSERT INTO membership (only_one, station) VALUES (1, ?)"
                    " ON CONFLICT DO UPDATE SET station = excluded.station",
                    (station,),
                )

    def record_benches(self, benches: str) -> None:
        """Record what is at the other stations, for those who read the journal."""
        with self._commit() as database:
            database.execute("UPDATE membership SET benches = ?", (benches,))

    def cede(self, job: Job, state: Ceded) -> Job:
        """Record that another station has a filed job, and follows it; its papers stay here.

        Raises StaleJobError if `job` moved on.
        """
        check_step(job.state, state)
        with self._lock:
            with self._commit() as database:
                ceded = database.execute(
                    "UPDATE job SET state = ?, fields = ?, since = ?, job_id = NULL"
                    " WHERE number = ? AND filed = 1 AND state = ?",
                    (*schema.columns(state), self._clock(), job.number, type(job.state).__name__),
                )
            if not ceded.rowcount:
                raise StaleJobError(f"{job.name} moved on")
            return replace(job, state=state)

    def open_jobs(self) -> list[Job]:
        """Return the jobs that the service has, or may have, and has not finished."""
        return self._jobs(OPEN)

    def has_made(self, sha256: str) -> bool:
        """Return whether the service has, or had, a job that was made of these bytes."""
        query = "SELECT 1 FROM job WHERE sha256 = ? AND job_id IS NOT NULL LIMIT 1"
        return bool(self._rows(query, sha256))

    def claimed(self) -> list[Job]:
        """Return the jobs of which the pool may not know everything yet, oldest first."""
        return self._jobs("claim <> ''")

    def unclaimed(self) -> list[Job]:
        """Return the jobs that the service has, and has not finished, without a claim."""
        return self._jobs(f"{OPEN} AND claim = ''")

    def record_claim(self, job: Job, claim: str, generation: int = 0) -> Job:
        """Record which claim a job has now ("": none); return the job as it now is."""
        with self._lock:
            with self._commit() as database:
                query = "UPDATE job SET claim = ?, generation = ? WHERE number = ? AND claim = ?"
                changed = database.execute(query, (claim, generation, job.number, job.claim))
            after = self.worklist.get(job.number) or job
            if changed.rowcount:
                after = replace(after, claim=claim, generation=generation)
            if self.worklist.get(job.number):
                self._remember(after)
            return after
