"""What papers and the service's list of jobs know, and a journal that was restored may not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from daemon.jobs import schema
from daemon.jobs.job import NewJob, Progress, Signed
from daemon.jobs.parts.access import Access


class Witnessed(Access):
    """The part of the journal for what other witnesses know."""

    def last_change(self) -> float | None:
        """Return when a state last began, in seconds since the epoch; None without any job."""
        ((latest,),) = self._rows("SELECT max(since) FROM job")
        return float(latest) if latest is not None else None

    def is_foreign(self, job_id: str) -> bool:
        """Return whether the service's job was found to be of no job here."""
        return bool(self._rows("SELECT 1 FROM foreign_job WHERE job_id = ?", job_id))

    def record_foreign(self, job_id: str) -> None:
        """Record that the service's job is of no job here. Safe to repeat."""
        with self._commit() as connection:
            connection.execute("INSERT OR IGNORE INTO foreign_job VALUES (?)", (job_id,))

    def unknown(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of up to 999 JobIds that no job here has."""
        query = f"SELECT job_id FROM job WHERE job_id IN ({', '.join('?' * len(job_ids))})"
        return set(job_ids).difference(job_id for (job_id,) in self._rows(query, *job_ids))

    def add_prepared(self, job: NewJob, state: Signed, progress: Progress | None) -> None:
        """Record a job that is known from its papers, or the pool, only. It is filed already.

        Safe to repeat: both can find the same one.
        """
        reported = json.dumps(asdict(progress)) if progress else None
        is_closed = progress is not None and progress.is_terminal
        with self._commit() as connection:
            connection.execute(
                "INSERT INTO job (device_id, file_system, name, sha256, state, fields, job_id,"
                " since, filed, closed, progress) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)"
                " ON CONFLICT (job_id) WHERE job_id IS NOT NULL DO NOTHING",
                (job.device_id, job.file_system, job.name, job.sha256)
                + (*schema.columns(state), state.job_id, job.since, is_closed, reported),
            )
