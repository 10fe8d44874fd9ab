"""The journal for readers beside the daemon: `status`, `show`, `doctor`. Writes nothing.

All errors are JournalError.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from daemon.jobs import schema
from daemon.jobs.job import Job, Signed, Submitted, Submitting
from daemon.jobs.schema import CLAIM, COLUMNS, NAME, OLD_COLUMNS, OPEN
from daemon.jobs.storage import database


def recent(folder: Path, since: float) -> list[Job]:
    """Return every unfiled or open job, and those whose state began after `since`."""
    which = schema.any_of("filed = 0", OPEN, "since >= ?")
    return _read(folder, f"{which} ORDER BY number", since)


def find(folder: Path, word: str) -> Job | None:
    """Return the job with that JobId; of a deviceId its open job, or else its newest."""
    where = (
        "job_id = upper(?) OR device_id = ?"
        f" ORDER BY job_id IS upper(?) DESC, ({OPEN}) DESC, number DESC LIMIT 1"
    )
    return next(iter(_read(folder, where, word, word, word)), None)


def made(folder: Path) -> list[tuple[str, Job]]:
    """Return every job that was or may have been made at the service, oldest first, with its JobId.

    The JobId is "" for one that is in doubt.
    """
    return _rows(folder, "job_id IS NOT NULL OR state = 'Submitting' ORDER BY number")


def membership(folder: Path) -> tuple[str, str] | None:
    """Return what this station is in its pool, and what is at the others; None: it is in none.

    Both as JSON; the latter is "" until it has been read.
    """
    path = folder / NAME
    with database.translated(path):
        if not path.exists():
            return None
        with database.open_for_reading(path) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version in OLD_COLUMNS:
                return None
            row = connection.execute("SELECT station, benches FROM membership").fetchone()
            return (row[0], row[1] or "") if row else None


def count_made(folder: Path, since: float) -> int:
    """Return how many jobs the service has made since then, as far as their JobIds are known."""
    rows = _rows(folder, "job_id IS NOT NULL AND since >= ?", since)
    return sum(made_at(job) >= since for _, job in rows)


def made_at(job: Job) -> float:
    """Return when the job was made, in seconds since the epoch; else when its state began."""
    match job.state:
        case Submitting(sent_at=at) | Submitted(submitted_at=at) | Signed(submitted_at=at):
            return at
    return job.since


def last_number(folder: Path) -> int:
    """Return the number of the newest job; 0 if there is none."""
    jobs = _read(folder, "number = (SELECT max(number) FROM job)")
    return jobs[0].number if jobs else 0


def added(folder: Path, number: int) -> list[Job]:
    """Return every job that is newer than the one with this number, or not filed yet."""
    which = schema.any_of("filed = 0", "number > ?")
    return _read(folder, f"{which} ORDER BY number", number)


def daemon_info(folder: Path) -> dict[str, str | float] | None:
    """Return what a running daemon last published about itself; None if none is running."""
    if not database.is_claimed(folder / CLAIM):
        return None
    with database.translated(folder / CLAIM), suppress(ValueError):  # it may be writing just now
        facts: dict[str, str | float] = json.loads((folder / CLAIM).read_bytes())
        return facts
    return {}


def damage(folder: Path) -> str:
    """Have SQLite check the whole journal; return the first damage it finds, or ""."""
    path = folder / NAME
    with database.translated(path), database.open_for_reading(path) as connection:
        return database.damage(connection)


def _read(folder: Path, which: str, *values: object) -> list[Job]:
    return [job for _, job in _rows(folder, which, *values)]


def _rows(folder: Path, which: str, *values: object) -> list[tuple[str, Job]]:
    """Return jobs with their JobIds, which a job that ended before it was signed has, too."""
    path = folder / NAME
    with database.translated(path):
        if not path.exists():
            return []
        with database.open_for_reading(path) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            columns = OLD_COLUMNS.get(version, COLUMNS)
            query = f"SELECT job_id, {columns} FROM job WHERE {which}"
            rows = connection.execute(query, values)
            return [(job_id or "", schema.job(row)) for job_id, *row in rows]
