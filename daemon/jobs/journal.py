"""The journal: the record of jobs on disk, with one writer and many readers.

A change is synced when its method returns. The journal holds no credentials. Manifest texts are
kept beside it (`storage/texts.py`) from `Submitting` until they are filed, for the comparison with
the service's CurrentManifest. All errors are JournalError: without a journal to trust, the daemon
must stop, not guess.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from daemon.errors import JournalError, StaleJobError
from daemon.jobs import reader, schema
from daemon.jobs.job import (
    Job,
    NewJob,
    Obstacle,
    Pending,
    Progress,
    Signed,
    State,
    Submitted,
    Submitting,
    check_step,
)
from daemon.jobs.parts.followup import FollowUp
from daemon.jobs.parts.foresight import Foresight
from daemon.jobs.parts.manifests import Manifests
from daemon.jobs.parts.pooled import Pooled
from daemon.jobs.parts.print_queue import PrintQueue, with_papers
from daemon.jobs.parts.witnessed import Witnessed
from daemon.jobs.schema import CLAIM, FRESH, MIGRATIONS, NAME, OPEN, TABLES, VERSION
from daemon.jobs.storage import database
from daemon.jobs.storage.database import CHECKED_BYTES, Form
from daemon.jobs.storage.texts import Texts
from daemon.jobs.worklist import Worklist

INFO_BYTES = 4096  # always as many, so that a shorter text leaves nothing of a longer one
FORM = Form(TABLES, VERSION, MIGRATIONS)


class Journal(FollowUp, Foresight, Manifests, Pooled, PrintQueue, Witnessed):
    """The journal, open for its one writer. Safe to use from several threads.

    The unfiled jobs are also kept in memory, in `worklist`. A missing journal is created only if it
    `is_new`. Raises JournalError also when another daemon has it open.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], *, is_new: bool = True) -> None:
        self._path = folder / NAME
        self._texts = Texts(folder)
        self._clock = clock
        self._lock = threading.RLock()
        self._info: dict[str, str | float] = {"pid": os.getpid()}
        self._claim = database.claim(folder / CLAIM)
        try:
            with database.translated(self._path):
                self._database = database.open_for_writing(self._path, FORM, is_new=is_new)
                self._tidy_up(self._database)
                self.worklist = Worklist(schema.select(self._database, "filed = 0"))
            status = self._path.stat()
            self._inode, self._is_checked = status.st_ino, status.st_size <= CHECKED_BYTES
            self.publish()
        except BaseException:
            os.close(self._claim)
            raise

    def close(self) -> None:
        """Release the journal for the next daemon. Safe to repeat."""
        with self._lock:
            self._database.close()
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1

    def check(self) -> None:
        """Check the whole file, once, while others use it. Raises JournalError."""
        if not self._is_checked and (damage := reader.damage(self._path.parent)):
            with database.translated(self._path):
                raise sqlite3.DatabaseError(damage)
        self._is_checked = True

    def publish(self, **facts: str | float) -> None:
        """Publish facts about this process for `status`. Not synced: they end with it."""
        with self._lock, suppress(OSError):
            self._info |= facts
            os.pwrite(self._claim, json.dumps(self._info).encode().ljust(INFO_BYTES), 0)

    # The jobs that still have a step to take

    def unfiled(self) -> list[Job]:
        """Return every job that still has a step to take, oldest first."""
        return self.worklist.jobs()

    def add(self, jobs: Iterable[NewJob]) -> list[Job]:
        """Record new jobs, all or none; return them with their numbers."""
        with self._commit() as database:
            added = [schema.insert(database, job) for job in jobs]
        self._remember(*added)
        return added

    def withdraw(self, jobs: Iterable[Job]) -> None:
        """Delete pending jobs whose manifest was removed. Safe to repeat."""
        gone = []
        with self._lock:
            with self._commit() as database:
                for job in jobs:
                    text = self._kept(job)
                    query = "DELETE FROM job WHERE number = ? AND state = 'Pending'"
                    if database.execute(query, (job.number,)).rowcount:
                        gone.append((job, text))
            for job, text in gone:
                self.worklist.remove(job)
                self._forget(job, text)

    def record(self, job: Job, state: State, manifest: bytes | None = None, claim: str = "") -> Job:
        """Record one step. `manifest`, as dropped, is kept until the job is filed.

        `claim` is the pool's claim for the request that leaves next; "": the one before stays.

        The obstacle stays visible, with its count of attempts, until the service has answered.
        Raises StaleJobError if `job` is not as it is now, RuntimeError for a step that must not
        follow.
        """
        with self._lock:
            held = self.worklist.get(job.number)
            if held is None or held.state != job.state:
                raise StaleJobError(f"{job.name} was withdrawn or moved on")
            check_step(held.state, state)
            after = replace(
                held,
                state=state,
                since=held.since if type(state) is type(held.state) else self._clock(),
                obstacle=held.obstacle if isinstance(state, Pending | Submitting) else None,
                claim=claim or held.claim,
                generation=1 if claim else held.generation,
            )
            self._write(after, manifest)
            return after

    def record_obstacles(self, obstacles: Iterable[tuple[Job, Obstacle | None]]) -> None:
        """Record, all or none, what blocks jobs (None: nothing any more)."""
        with self._lock:
            held = [(self.worklist.get(job.number), obstacle) for job, obstacle in obstacles]
            changed = [replace(job, obstacle=obstacle) for job, obstacle in held if job]
            with self._commit() as database:
                query = "UPDATE job SET obstacle = ? WHERE number = ?"
                for job in changed:
                    database.execute(query, (schema.dump(job.obstacle), job.number))
            self._remember(*changed)

    def mark_filed(self, job: Job, prints: Collection[str] = ()) -> Job:
        """Record that the manifest is filed; delete its text here. Safe to repeat.

        These kinds of papers are then to be printed.
        """
        filed = with_papers(replace(job, filed=True, obstacle=None), prints, self._clock())
        text = self._kept(job)
        with self._commit() as database:
            database.execute(
                "UPDATE job SET filed = 1, manifest = NULL, obstacle = NULL WHERE number = ?",
                (job.number,),
            )
            self._write_papers(database, filed)
        self._forget(job, text)
        self.has_news |= bool(prints)
        self._remember(filed)
        return filed

    def record_eject(self, job: Job, sentence: str) -> None:
        """Record how the eject of a prepared drive ended. Safe to repeat."""
        with self._commit() as database:
            database.execute("UPDATE job SET eject = ? WHERE number = ?", (sentence, job.number))

    # What the service reports of its jobs

    def record_progress(self, job: Job, progress: Progress) -> Job:
        """Record what the service last reported of a job. Safe to repeat."""
        with self._lock:
            with self._commit() as database:
                database.execute(
                    "UPDATE job SET progress = ?, closed = ? WHERE number = ?",
                    (json.dumps(asdict(progress)), progress.is_terminal, job.number),
                )
            after = replace(self.worklist.get(job.number) or job, progress=progress)
            if self.worklist.get(job.number):
                self._remember(after)
            return after

    def reopen(self, job: Job, state: Submitted | Signed, manifest: bytes) -> Job:
        """Reopen a filed job to be signed and filed again, or in the same state only filed.

        `manifest` is the one that the service has now. Raises StaleJobError if `job` moved on.
        """
        if state != job.state:
            check_step(job.state, state)
        with self._lock:
            held = next(iter(self._jobs("number = ?", job.number)), None)
            if held is None or not held.filed or held.state != job.state:
                raise StaleJobError(f"{job.name} moved on")
            after = replace(held, state=state, since=self._clock(), filed=False, obstacle=None)
            self._write(after, manifest)
            return after

    def followed(self, fresh: tuple[float, float] = (0.0, 0.0)) -> list[Job]:
        """Return every filed job that the service has not finished, nor reported within `fresh`."""
        return self._jobs(f"filed = 1 AND {OPEN} AND NOT {FRESH}", *fresh)

    def open_job(self, device_id: str) -> Job | None:
        """Return the one job of a deviceId that may be open at the service."""
        return next(iter(self._jobs(f"device_id = ? AND {OPEN}", device_id)), None)

    def jobs_of(self, digests: Iterable[str]) -> list[Job]:
        """Return the pending and open jobs that were made from bytes with these SHA-256."""
        among = "sha256 IN (SELECT value FROM json_each(?))"
        return self._jobs(f"{among} AND (state = 'Pending' OR {OPEN})", json.dumps([*digests]))

    def job_with(self, job_id: str) -> Job | None:
        """Return the job with that JobId."""
        return next(iter(self._jobs("job_id = ?", job_id)), None)

    def _jobs(self, which: str, *values: object) -> list[Job]:
        with self._lock, database.translated(self._path):
            return [*schema.select(self._database, which, *values)]

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, database.translated(self._path):
            return self._database.execute(query, values).fetchall()

    def _write(self, job: Job, manifest: bytes | None) -> None:
        with self._lock:
            old = self._kept(job)
            new = old if manifest is None else self._keep(job, manifest)
            with self._commit() as database:
                # A rejected job keeps its JobId. That of a ceded one is the other station's.
                cursor = database.execute(
                    "UPDATE job SET state = ?1, fields = ?, since = ?, filed = ?, obstacle = ?,"
                    " manifest = ?, claim = ?, generation = ?,"
                    " job_id = iif(?1 = 'Ceded', NULL, coalesce(?, job_id)) WHERE number = ?",
                    (*schema.columns(job.state), job.since, job.filed, schema.dump(job.obstacle))
                    + (new, job.claim, job.generation, job.job_id or None, job.number),
                )
                if cursor.rowcount != 1:
                    raise KeyError(f"no entry {job.number}")
            self._remember(job)
            if new != old:
                self._forget(job, old)

    def _remember(self, *jobs: Job) -> None:
        """Update the memory, only after a commit: it follows the disk, never the other way."""
        for job in jobs:
            self.worklist.put(job)

    def _check_place(self) -> None:
        """Raise JournalError if the path no longer leads to the file that is open."""
        try:
            is_here = self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            is_here = False
        if not is_here:
            raise JournalError(
                f"the journal {self._path} was moved or replaced while driveprep was running",
                "Stop driveprep before you restore a journal, and use `driveprep restore FILE`."
                " Then start it again: it compares the journal with the service's jobs.",
                code="journal-replaced",
            )

    @contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable at the end of the block, or not begun."""
        with self._lock, database.translated(self._path):
            self._check_place()
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
