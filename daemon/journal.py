"""The journal: our ledger on disk, an SQLite file with one writer and many readers.

What a method that changes something has returned from is synced (WAL, synchronous=FULL). It
holds no credentials. Manifest texts are kept from `Submitting` until they are filed, in a file
of mode 0600, for the comparison with the service's CurrentManifest. All errors are JournalError:
whoever cannot trust the ledger must stop, not guess.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from daemon.errors import JournalError, JournalFullError, StaleJobError
from daemon.job import (
    Job,
    Obstacle,
    Pending,
    Rejected,
    Signed,
    State,
    Submitted,
    Submitting,
    check_step,
)

NAME = "journal.sqlite3"
VERSION = 1  # of the tables, kept in user_version
STATES: dict[str, type[State]] = {
    state.__name__: state for state in (Pending, Submitting, Submitted, Signed, Rejected)
}
BUSY_SECONDS = 10.0  # a reader that checkpoints may hold the file for a moment

TABLES = """
CREATE TABLE job (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id       TEXT NOT NULL,
    file_system     TEXT NOT NULL,
    name            TEXT NOT NULL,
    sha256          TEXT NOT NULL,
    state           TEXT NOT NULL,
    fields          TEXT NOT NULL,              -- the state's own, as JSON
    job_id          TEXT,
    since           REAL NOT NULL,
    filed           INTEGER NOT NULL DEFAULT 0,
    closed          INTEGER NOT NULL DEFAULT 0, -- the service is done with the job
    manifest        BLOB,                       -- as dropped; from Submitting until filed
    obstacle        TEXT                        -- as JSON
);
-- A device carries one SIGNATURE, so at most one of its jobs is open at the service.
CREATE UNIQUE INDEX one_open_job ON job (device_id)
    WHERE closed = 0 AND state IN ('Submitting', 'Submitted', 'Signed');
CREATE UNIQUE INDEX one_job_id ON job (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX unfiled ON job (number) WHERE filed = 0;
CREATE INDEX same_bytes ON job (sha256);
"""
COLUMNS = "number, device_id, file_system, name, sha256, state, fields, since, filed, obstacle"
OPEN = "closed = 0 AND state IN ('Submitting', 'Submitted', 'Signed')"


class Journal:
    """The ledger, open for its one writer. Safe to use from several threads.

    The unfiled jobs are also kept in memory: `unfiled()` costs no disk. A journal that is not
    there is made only where it `is_new`; raises JournalError also when another daemon has it.
    """

    def __init__(self, folder: Path, clock: Callable[[], float], *, is_new: bool = True) -> None:
        self._path = folder / NAME
        if not is_new and not self._path.exists():
            raise JournalError(
                f"{folder} holds prepared jobs, but its journal {self._path} is missing",
                "Restore it from a backup, or move the folder prepared/ aside to begin anew.",
            )
        self._clock = clock
        self._lock = threading.RLock()
        self._claim = _claim(folder)
        try:
            with _translated(self._path):
                self._database = _open_for_writing(self._path)
                rows = self._database.execute(f"SELECT {COLUMNS} FROM job WHERE filed = 0")
                self._unfiled = {job.number: job for job in map(_job, rows)}
        except BaseException:
            os.close(self._claim)
            raise

    def close(self) -> None:
        """Let the next daemon have the journal. Safe to repeat."""
        with self._lock:
            self._database.close()
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1

    def unfiled(self) -> list[Job]:
        """Every job that still has a step to take, oldest first."""
        with self._lock:
            return list(self._unfiled.values())

    def current(self, job: Job) -> Job | None:
        """The same job as it stands now; None when it was withdrawn or filed."""
        with self._lock:
            return self._unfiled.get(job.number)

    def add(self, jobs: Iterable[Job]) -> list[Job]:
        """Write new jobs down, all or none; the ones returned have their numbers."""
        added = []
        with self._commit() as database:
            for job in jobs:
                (number,) = database.execute(
                    "INSERT INTO job (device_id, file_system, name, sha256, state, fields, since)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number",
                    (job.device_id, job.file_system, job.name, job.sha256, *_state(job.state))
                    + (job.since,),
                ).fetchone()
                added.append(replace(job, number=number))
            self._unfiled.update((job.number, job) for job in added)
        return added

    def withdraw(self, jobs: Iterable[Job]) -> None:
        """Forget pending jobs whose manifest was taken away. Safe to repeat."""
        with self._commit() as database:
            for job in jobs:
                gone = database.execute(
                    "DELETE FROM job WHERE number = ? AND state = 'Pending'", (job.number,)
                )
                if gone.rowcount:
                    self._unfiled.pop(job.number, None)

    def record(self, job: Job, state: State, manifest: bytes | None = None) -> Job:
        """Take one step. `manifest` is kept until the job is filed.

        The obstacle stays in view, with its count of attempts, until the service has answered.
        Raises StaleJobError when `job` is not how it stands now, RuntimeError for a step that
        may not follow.
        """
        with self._commit() as database:
            held = self._unfiled.get(job.number)
            if held is None or held.state != job.state:
                raise StaleJobError(f"{job.name} was withdrawn or moved on")
            check_step(held.state, state)
            after = replace(
                held,
                state=state,
                since=held.since if type(state) is type(held.state) else self._clock(),
                obstacle=held.obstacle if isinstance(state, Pending | Submitting) else None,
            )
            database.execute(
                "UPDATE job SET state = ?, fields = ?, job_id = ?, since = ?, obstacle = ?,"
                " manifest = coalesce(?, manifest) WHERE number = ?",
                (*_state(state), after.job_id or None)
                + (after.since, _dump(after.obstacle), manifest, job.number),
            )
            self._unfiled[job.number] = after
        return after

    def hinder(self, obstacles: Iterable[tuple[Job, Obstacle | None]]) -> None:
        """Write down, all or none, what is in the way of jobs (None: nothing any more)."""
        with self._commit() as database:
            for job, obstacle in obstacles:
                database.execute(
                    "UPDATE job SET obstacle = ? WHERE number = ?", (_dump(obstacle), job.number)
                )
                if held := self._unfiled.get(job.number):
                    self._unfiled[job.number] = replace(held, obstacle=obstacle)

    def file(self, job: Job) -> Job:
        """The manifest is in its last place; its text is forgotten here. Safe to repeat."""
        with self._commit() as database:
            database.execute(
                "UPDATE job SET filed = 1, manifest = NULL, obstacle = NULL WHERE number = ?",
                (job.number,),
            )
            self._unfiled.pop(job.number, None)
        return replace(job, filed=True, obstacle=None)

    def close_job(self, job: Job) -> None:
        """The service is done with the job: its deviceId may be used again. Safe to repeat."""
        with self._commit() as database:
            database.execute("UPDATE job SET closed = 1 WHERE number = ?", (job.number,))

    def manifest(self, job: Job) -> bytes | None:
        """The manifest's text as dropped, of a job that came as far as `Submitting`."""
        row = self._row("SELECT manifest FROM job WHERE number = ?", job.number)
        return row[0] if row else None

    def open_job(self, device_id: str) -> Job | None:
        """The one job of a deviceId that may be open at the service."""
        return self._job(f"SELECT {COLUMNS} FROM job WHERE device_id = ? AND {OPEN}", device_id)

    def open_job_with(self, sha256: str) -> Job | None:
        """The open job that was made from the very same bytes."""
        return self._job(f"SELECT {COLUMNS} FROM job WHERE sha256 = ? AND {OPEN}", sha256)

    def job_with(self, job_id: str) -> tuple[Job, bool] | None:
        """The job with that JobId, and whether the service is done with it."""
        row = self._row(f"SELECT {COLUMNS}, closed FROM job WHERE job_id = ?", job_id)
        return (_job(row[:-1]), bool(row[-1])) if row else None

    def _job(self, query: str, value: str) -> Job | None:
        row = self._row(query, value)
        return _job(row) if row else None

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock, _translated(self._path):
            row: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
            return row

    @contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        """One transaction: durable at the end of the block, or not begun."""
        with self._lock, _translated(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise


def history(folder: Path, since: float) -> list[tuple[Job, bool]]:
    """For a reader beside the daemon: every unfiled or open job, and those moved `since` then.

    Each comes with whether the service is done with it. Writes nothing. Raises JournalError.
    """
    path = folder / NAME
    if not path.exists():
        return []
    with _translated(path):
        database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            rows = database.execute(
                f"SELECT {COLUMNS}, closed FROM job"
                f" WHERE filed = 0 OR ({OPEN}) OR since >= ? ORDER BY number",
                (since,),
            ).fetchall()
        finally:
            database.close()
    return [(_job(row[:-1]), bool(row[-1])) for row in rows]


def is_claimed(folder: Path) -> bool:
    """Whether a daemon has the journal now."""
    try:
        descriptor = _claim(folder)
    except JournalError:
        return True
    os.close(descriptor)
    return False


def _claim(folder: Path) -> int:
    """A lock that ends with the process, so no crash leaves it behind."""
    descriptor = os.open(folder / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise JournalError(
            f"another driveprep daemon already works on {folder}",
            "Stop it first (`systemctl stop driveprep`), or give this one another spool.",
        ) from error
    return descriptor


def _open_for_writing(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(f"BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"tables of version {version}, want {VERSION}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise JournalFullError(
                f"the disk that holds the journal {path} is full",
                "Make room on it; everything then goes on by itself.",
            ) from error
        raise JournalError(
            f"cannot trust or write the journal {path}: {error}",
            f"Restore {path} from a backup, or move it aside and compare every drive with the"
            " service's own list of jobs before you go on.",
        ) from error


def _job(row: Iterable[Any]) -> Job:  # sqlite3 knows no types of columns
    number, device_id, file_system, name, sha256, state, fields, since, filed, obstacle = row
    return Job(
        number,
        device_id,
        file_system,
        name,
        sha256,
        STATES[str(state)](**json.loads(str(fields))),
        since,
        bool(filed),
        Obstacle(**json.loads(str(obstacle))) if obstacle else None,
    )


def _state(state: State) -> tuple[str, str]:
    return type(state).__name__, json.dumps(asdict(state))


def _dump(obstacle: Obstacle | None) -> str | None:
    return json.dumps(asdict(obstacle)) if obstacle else None
