"""What a board shows of the journal, in one read: few jobs whole, all others only counted.

Ten thousand waiting jobs cost a count. Writes nothing; all errors are JournalError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import JournalError
from daemon.jobs import schema
from daemon.jobs.job import Job
from daemon.jobs.schema import COLUMNS, NAME, OLD_COLUMNS, OPEN, VERSION
from daemon.jobs.storage import database

WAITING = "filed = 0 AND state = 'Pending'"
# A job that waits for nothing but its drive is only counted.
_STUCK = f"{WAITING} AND obstacle IS NOT NULL AND json_extract(obstacle, '$.is_absence') = 0"
_UNDER_WAY = "filed = 0 AND state <> 'Pending'"
_REJECTED = "state = 'Rejected' AND filed = 1 AND dismissed = 0"
FINISHED = "finished"  # by the service, well or not
STATES = ("pending", "submitting", "submitted", "signed", "rejected", FINISHED)
_SECONDS = (
    "SELECT json_extract(fields, '$.signed_at') - json_extract(fields, '$.mounted_at') FROM job"
    " WHERE state = 'Signed' AND json_extract(fields, '$.mounted_at') IS NOT NULL"
)
MAX_STUCK = 200  # jobs that no drive moves and that are shown, each
MAX_NAMES = 500  # deviceIds of drives that are here; SQLite binds 999 values


@dataclass(frozen=True, slots=True)
class Overview:
    """The journal at one moment. Times are seconds since the epoch."""

    jobs: tuple[Job, ...]  # under way, stuck, rejected, open at the service, or of a drive here
    waiting: int  # manifests that wait, for a drive or for anything else
    stuck: int  # of these, the ones that need more than their drive
    rejected: int  # that nobody has dealt with
    made_at: tuple[float, ...]  # of each job made since `since`
    shipped_at: tuple[float, ...]  # of each shipment recorded since `since`
    signed: tuple[Job, ...]  # the jobs that were signed last, newest first
    oldest_waiting: float | None  # since when the first of those that wait does so


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured of the journal."""

    states: Mapping[str, int]  # jobs of each of STATES
    obstacles: Mapping[str, int]  # unfiled jobs with an obstacle, by its code
    oldest_waiting: float | None  # seconds since the epoch
    seconds: tuple[float, ...]  # from the first sight of a drive to SIGNATURE, of each job


def read(folder: Path, since: float, device_ids: Iterable[str], last: int) -> Overview | None:
    """Return the overview for drives with these deviceIds; None without a journal.

    `last` limits the signed jobs. Raises JournalError also for a journal of another version.
    """
    path = folder / NAME
    with database.translated(path):
        if not path.exists():
            return None
        with database.open_for_reading(path) as connection:
            connection.execute("BEGIN")  # one moment for all that follows
            _check_version(connection)
            return _read(connection, since, tuple(device_ids)[:MAX_NAMES], last)


def find_waiting(folder: Path, text: str, limit: int) -> list[Job]:
    """Return waiting jobs whose deviceId or manifest has `text` in it, the exact one first."""
    path = folder / NAME
    with database.translated(path):
        if not path.exists():
            return []
        with database.open_for_reading(path) as connection:
            _check_version(connection)
            which = f"{WAITING} AND (instr(lower(device_id), ?) OR instr(lower(name), ?))"
            query = f"{which} ORDER BY lower(device_id) = ? DESC, number LIMIT ?"
            word = text.lower()
            return _jobs(connection, query, word, word, word, limit)


def figures(folder: Path) -> Figures:
    """Return the figures of the whole journal; reads every job."""
    path = folder / NAME
    with database.translated(path):
        if not path.exists():
            return Figures({}, {}, None, ())
        with database.open_for_reading(path) as connection:
            connection.execute("BEGIN")
            _check_version(connection)
            finished = f"CASE WHEN closed THEN '{FINISHED}' ELSE lower(state) END"
            states = f"SELECT {finished}, count(*) FROM job GROUP BY 1"
            stuck = (
                "SELECT coalesce(json_extract(obstacle, '$.code'), ''), count(*) FROM job"
                " WHERE filed = 0 AND obstacle IS NOT NULL GROUP BY 1"
            )
            return Figures(
                states=dict(connection.execute(states)),
                obstacles=dict(connection.execute(stuck)),
                oldest_waiting=_oldest_waiting(connection),
                seconds=_times(connection, _SECONDS),
            )


def _check_version(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found in OLD_COLUMNS or found > VERSION:
        raise JournalError(
            f"the journal has version {found}, this board reads version {VERSION}",
            "Start the daemon of the board's version: systemctl restart driveprep",
            code="journal-version",
        )


def _read(
    connection: sqlite3.Connection, since: float, device_ids: tuple[str, ...], last: int
) -> Overview:
    marks = ", ".join("?" * len(device_ids))
    stuck = f"SELECT number FROM job WHERE {_STUCK} LIMIT {MAX_STUCK}"
    # With a "+", SQLite sorts the few of the index; else it reads all jobs in their order.
    rejected = f"SELECT number FROM job WHERE {_REJECTED} ORDER BY +number DESC LIMIT {MAX_STUCK}"
    shown = schema.any_of(
        _UNDER_WAY,
        f"number IN ({stuck})",
        f"number IN ({rejected})",
        OPEN,
        f"{WAITING} AND device_id IN ({marks})",
    )
    made = (
        "SELECT coalesce(json_extract(fields, '$.submitted_at'), since) FROM job"
        " WHERE since >= ? AND job_id IS NOT NULL"
    )
    shipped = (
        "SELECT json_extract(shipment, '$.at') FROM job WHERE shipment IS NOT NULL"
        f" AND number IN (SELECT number FROM job WHERE {OPEN}"
        " UNION SELECT number FROM job WHERE since >= ?)"
    )
    signed = "state = 'Signed' ORDER BY since DESC LIMIT ?"
    return Overview(
        jobs=tuple(_jobs(connection, f"{shown} ORDER BY number", *device_ids)),
        waiting=_number(connection, WAITING),
        stuck=_number(connection, _STUCK),
        rejected=_number(connection, _REJECTED),
        made_at=_times(connection, made, since),
        shipped_at=_times(connection, shipped, since),
        signed=tuple(_jobs(connection, signed, last)),
        oldest_waiting=_oldest_waiting(connection),
    )


def _oldest_waiting(connection: sqlite3.Connection) -> float | None:
    return next(iter(_times(connection, f"SELECT min(since) FROM job WHERE {WAITING}")), None)


def _number(connection: sqlite3.Connection, which: str) -> int:
    (number,) = connection.execute(f"SELECT count(*) FROM job WHERE {which}").fetchone()
    return int(number)


def _times(connection: sqlite3.Connection, query: str, *values: float) -> tuple[float, ...]:
    return tuple(float(one) for (one,) in connection.execute(query, values) if one is not None)


def _jobs(connection: sqlite3.Connection, which: str, *values: object) -> list[Job]:
    query = f"SELECT {COLUMNS} FROM job WHERE {which}"
    return [schema.job(row) for row in connection.execute(query, values)]
