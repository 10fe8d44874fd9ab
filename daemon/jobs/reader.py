"""The journal for those who read beside the daemon: `status`, `show`, `doctor`. Writes nothing.

All errors are JournalError.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from daemon.jobs import database, schema
from daemon.jobs.job import Job
from daemon.jobs.schema import CLAIM, COLUMNS, NAME, OPEN


def recent(folder: Path, since: float) -> list[Job]:
    """Every unfiled or open job, and those that moved `since`."""
    return _read(folder, f"filed = 0 OR ({OPEN}) OR since >= ? ORDER BY number", since)


def find(folder: Path, word: str) -> Job | None:
    """The job with that JobId, or the last of that deviceId."""
    where = (
        "job_id = upper(?) OR device_id = ? ORDER BY job_id IS upper(?) DESC, number DESC LIMIT 1"
    )
    return next(iter(_read(folder, where, word, word, word)), None)


def told(folder: Path) -> dict[str, str | float] | None:
    """What a daemon at work last told of itself; None where none is at work."""
    if not database.is_claimed(folder / CLAIM):
        return None
    with database.translated(folder / CLAIM), suppress(ValueError):  # it may be telling right now
        facts: dict[str, str | float] = json.loads((folder / CLAIM).read_bytes())
        return facts
    return {}


def _read(folder: Path, which: str, *values: object) -> list[Job]:
    path = folder / NAME
    with database.translated(path):
        if not path.exists():
            return []
        with database.open_for_reading(path) as connection:
            query = f"SELECT {COLUMNS} FROM job WHERE {which}"
            return [schema.job(row) for row in connection.execute(query, values)]
