"""The journal's form on disk: its files, its tables, and a job as one row of them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from daemon.jobs.job import (
    Artifact,
    Caution,
    Ceded,
    Job,
    NewJob,
    Obstacle,
    Paper,
    Pending,
    Progress,
    Rejected,
    Shipment,
    Signed,
    State,
    Submitted,
    Submitting,
)

NAME = "journal.sqlite3"
CLAIM = "journal.lock"
VERSION = 5  # of the tables and of what is in them
STATES: dict[str, type[State]] = {
    state.__name__: state for state in (Pending, Submitting, Submitted, Signed, Rejected, Ceded)
}
OPEN = "closed = 0 AND state IN ('Submitting', 'Submitted', 'Signed')"
# When the service last reported a job that it has.
_REPORTED = (
    "coalesce(json_extract(progress, '$.checked_at'), json_extract(fields, '$.submitted_at'), 0)"
)
FRESH = f"({_REPORTED} > ? AND {_REPORTED} < ?)"
# JobIds of the service that are of no job here, so that each is looked up only once.
FOREIGN = "CREATE TABLE foreign_job (job_id TEXT PRIMARY KEY) WITHOUT ROWID;\n"
# What this station is in the pool, if it is in one, and what is at the other ones; and the jobs of
# which the pool must hear.
MEMBERSHIP = """
CREATE TABLE membership (
    only_one        INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_one = 1),
    station         TEXT NOT NULL,              -- as JSON
    benches         TEXT                        -- as JSON; NULL: not read yet
);
CREATE INDEX claimed ON job (number) WHERE claim <> '';
"""
UNPRINTED = "CREATE INDEX unprinted ON job (number) WHERE unprinted = 1;\n"
# A manifest that is taken in deals with the rejections of earlier ones of the same name.
REJECTIONS = """
CREATE INDEX rejection ON job (name) WHERE state = 'Rejected' AND filed = 1 AND dismissed = 0;
CREATE TRIGGER accepted AFTER INSERT ON job WHEN NEW.state <> 'Rejected' BEGIN
    UPDATE job SET dismissed = 1
        WHERE name = NEW.name AND state = 'Rejected' AND filed = 1 AND dismissed = 0;
END;
"""
TABLES = f"""
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
    closed          INTEGER NOT NULL DEFAULT 0, -- progress is terminal
    manifest        TEXT,                       -- SHA-256; from Submitting until filed
    obstacle        TEXT,                       -- as JSON
    progress        TEXT,                       -- as JSON
    eject           TEXT,                       -- how it ended, one sentence
    shipment        TEXT,                       -- as JSON
    dismissed       INTEGER NOT NULL DEFAULT 0, -- a rejection that was dealt with
    reminded        INTEGER NOT NULL DEFAULT 0, -- it was said that the drive is not shipped
    access_key_id   TEXT NOT NULL DEFAULT '',   -- in the manifest
    cautions        TEXT,                       -- as JSON
    as_it_is        INTEGER NOT NULL DEFAULT 0, -- its drive need not be empty
    papers          TEXT,                       -- as JSON
    unprinted       INTEGER NOT NULL DEFAULT 0, -- one of them is not settled
    claim           TEXT NOT NULL DEFAULT '',   -- in the pool
    generation      INTEGER NOT NULL DEFAULT 0  -- of the claim
);
-- A device carries one SIGNATURE, so at most one of its jobs is open at the service.
CREATE UNIQUE INDEX one_open_job ON job (device_id) WHERE {OPEN};
CREATE UNIQUE INDEX one_job_id ON job (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX unfiled ON job (number) WHERE filed = 0;
CREATE INDEX same_bytes ON job (sha256);
CREATE INDEX latest ON job (since);
{UNPRINTED}{FOREIGN}{REJECTIONS}{MEMBERSHIP}"""
# What makes a journal of the next version of one of the version that is the key.
MIGRATIONS = {
    # Version 2: the papers that the service wants in the box, codes of obstacles, and the eject.
    1: f"""
{FOREIGN}UPDATE job SET fields = json_set(fields, '$.artifact_list', json('[]'))
    WHERE state IN ('Submitted', 'Signed');
ALTER TABLE job ADD COLUMN eject TEXT;
UPDATE job SET obstacle = json_set(obstacle, '$.code', '') WHERE obstacle IS NOT NULL;
""",
    # Version 3: shipments, and rejections that were dealt with.
    2: f"""
ALTER TABLE job ADD COLUMN shipment TEXT;
ALTER TABLE job ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN reminded INTEGER NOT NULL DEFAULT 0;
UPDATE job SET reminded = 1 WHERE state = 'Signed'; -- no one could say that they were shipped
{REJECTIONS}""",
    # Version 4: what is known before the drive arrives, drives that need not be empty, printing; in
    # `fields` of Signed when the drive was first seen, in `progress` each change.
    3: f"""
ALTER TABLE job ADD COLUMN access_key_id TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN cautions TEXT;
ALTER TABLE job ADD COLUMN as_it_is INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN papers TEXT;
ALTER TABLE job ADD COLUMN unprinted INTEGER NOT NULL DEFAULT 0;
{UNPRINTED}""",
    # Version 5: pools. Manifest texts are files beside the journal; parts/manifests.py moves them.
    4: f"""
ALTER TABLE job ADD COLUMN claim TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
{MEMBERSHIP}""",
}
COLUMNS = (
    "number, device_id, file_system, name, sha256, state, fields, since, filed, obstacle,"
    " progress, eject, shipment, dismissed, access_key_id, cautions, as_it_is, claim,"
    " generation, papers"
)
# The same of journals of other versions that are read before they are migrated.
COLUMNS_4 = COLUMNS.replace("claim, generation", "'', 0")
COLUMNS_3 = COLUMNS_4.replace("access_key_id, cautions, as_it_is", "'', NULL, 0").replace(
    "papers", "NULL"
)
COLUMNS_2 = COLUMNS_3.replace("shipment, dismissed", "NULL, 0")
OLD_COLUMNS = {
    1: COLUMNS_2.replace("eject", "NULL"),
    2: COLUMNS_2,
    3: COLUMNS_3,
    4: COLUMNS_4,
}


def job(row: Iterable[Any]) -> Job:  # sqlite3 has no types for columns
    """Return the job in a row of COLUMNS, also of a journal that is not migrated yet."""
    number, device_id, file_system, name, sha256, *rest = row
    kind, own, since, filed, obstacle, progress, eject, shipment, dismissed, *rest = rest
    access_key_id, warned, as_it_is, claim, generation, papers = rest
    return Job(
        number,
        device_id,
        file_system,
        name,
        sha256,
        state(kind, _parsed(own)),
        since,
        bool(filed),
        Obstacle(**_parsed(obstacle)) if obstacle else None,
        Progress(**json.loads(progress)) if progress else None,
        eject,
        Shipment(**json.loads(shipment)) if shipment else None,
        bool(dismissed),
        access_key_id,
        cautions(warned),
        bool(as_it_is),
        claim,
        generation,
        tuple(map(_paper, json.loads(papers))) if papers else (),
    )


def select(database: sqlite3.Connection, which: str, *values: object) -> Iterator[Job]:
    """Yield the jobs for which an SQL condition is true, oldest first."""
    query = f"SELECT {COLUMNS} FROM job WHERE {which} ORDER BY number"
    yield from map(job, database.execute(query, values))


def any_of(*conditions: str) -> str:
    """Return the SQL condition that one of them is true.

    Each is looked up in an index of its own; with OR, SQLite would read every job.
    """
    parts = " UNION ".join(f"SELECT number FROM job WHERE {one}" for one in conditions)
    return f"number IN ({parts})"


def insert(database: sqlite3.Connection, job: NewJob) -> Job:
    """Add a row for a new job; return the job with its number."""
    cursor = database.execute(
        "INSERT INTO job (device_id, file_system, name, sha256, state, fields, since,"
        " access_key_id, cautions) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job.device_id, job.file_system, job.name, job.sha256)
        + (*columns(job.state), job.since, job.access_key_id, dump_cautions(job.cautions)),
    )
    return Job(
        cursor.lastrowid or 0,
        job.device_id,
        job.file_system,
        job.name,
        job.sha256,
        job.state,
        job.since,
        access_key_id=job.access_key_id,
        cautions=job.cautions,
    )


def columns(state: State) -> tuple[str, str]:
    """Return what the columns `state` and `fields` hold."""
    return type(state).__name__, _json(state)


def cautions(column: str | None) -> tuple[Caution, ...]:
    """Return what the column `cautions` says."""
    return tuple(Caution(**one) for one in _parsed(column)) if column else ()


def dump_cautions(cautions: Iterable[Caution]) -> str | None:
    """Return what the column `cautions` holds."""
    return json.dumps([_flat(one) for one in cautions]) if cautions else None


def dump_papers(papers: Iterable[Paper]) -> str:
    """Return what the column `papers` holds."""
    return json.dumps([asdict(one) for one in papers])


def dump(obstacle: Obstacle | None) -> str | None:
    """Return what the column `obstacle` holds."""
    return _json(obstacle) if obstacle else None


def _paper(one: dict[str, Any]) -> Paper:
    obstacle = one.pop("obstacle")
    return Paper(**one, obstacle=Obstacle(**obstacle) if obstacle else None)


def _json(values: State | Obstacle) -> str:
    return _encode(_flat(values))


def _flat(values: State | Obstacle | Caution) -> dict[str, Any]:
    """Return the fields by name; asdict() would copy all of it, which takes longer."""
    return {name: getattr(values, name) for name in values.__slots__}


# Made once: json.loads() and json.dumps() take three times as long for a text this short.
_encode = json.JSONEncoder(default=asdict).encode
_decode = json.JSONDecoder().raw_decode


def _parsed(text: str) -> Any:  # noqa: ANN401 - as json.loads
    """Return what a column holds as JSON. Raises ValueError."""
    value, end = _decode(text)
    if end != len(text):
        raise ValueError("extra data after JSON")
    return value


def state(name: str, fields: dict[str, Any]) -> State:
    """Return the state in the columns `state` and `fields`."""
    if "artifact_list" in fields:
        fields["artifact_list"] = tuple(Artifact(**one) for one in fields["artifact_list"])
    return STATES[name](**fields)
