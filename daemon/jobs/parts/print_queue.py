"""Papers on their way to a printer. All methods can be repeated."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import replace

from daemon.jobs import schema
from daemon.jobs.job import Job, Paper
from daemon.jobs.parts.access import Access


class PrintQueue(Access):
    """The part of the journal for papers that are to be printed.

    `has_news` is set whenever a paper was added, and at the start; its reader clears it.
    """

    has_news = True

    def ask_for_papers(self, jobs: Iterable[Job], prints: Collection[str], at: float) -> None:
        """Record, all or none, that these kinds of papers are to be printed, now or once more.

        `at` is when a person asked, in seconds since the epoch: the same request is recorded once.
        Of a job, `filed` must be true.
        """
        with self._lock, self._commit() as database:
            for job in jobs:
                self._write_papers(database, with_papers(job, prints, at))
        self.has_news = True

    def unprinted(self) -> list[tuple[Job, Paper]]:
        """Return every paper that is not settled, in the order in which they were asked for."""
        jobs = self._jobs("unprinted = 1 AND filed = 1")
        found = [(job, paper) for job in jobs for paper in job.papers if not paper.is_settled]
        return sorted(found, key=lambda one: one[1].asked_at)

    def record_paper(self, job: Job, paper: Paper) -> None:
        """Record what became of a paper, unless it was asked for anew meanwhile."""
        with self._lock:
            (held,) = self._jobs("number = ?", job.number)
            papers = tuple(paper if _is_same(one, paper) else one for one in held.papers)
            with self._commit() as database:
                self._write_papers(database, replace(held, papers=papers))
            if unfiled := self.worklist.get(job.number):  # it is to be signed again
                self._remember(replace(unfiled, papers=papers))

    def _write_papers(self, database: sqlite3.Connection, job: Job) -> None:
        """Write the papers of a job within a transaction, if it has any."""
        if not job.papers:
            return
        is_open = not all(one.is_settled for one in job.papers)
        query = "UPDATE job SET papers = ?, unprinted = ? WHERE number = ?"
        database.execute(query, (schema.dump_papers(job.papers), is_open, job.number))


def with_papers(job: Job, prints: Collection[str], at: float) -> Job:
    """Return the job with these kinds of papers to be printed, asked for at that moment."""
    kept = [one for one in job.papers if one.kind not in prints or one.asked_at >= at]
    kinds = {one.kind for one in kept}
    return replace(job, papers=(*kept, *(Paper(one, at) for one in prints if one not in kinds)))


def _is_same(one: Paper, other: Paper) -> bool:
    return (one.kind, one.asked_at) == (other.kind, other.asked_at)
