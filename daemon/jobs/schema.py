"""The journal's form on disk: its files, its tables, and a job as one row of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from daemon.jobs.job import (
    Job,
    Obstacle,
    Pending,
    Progress,
    Rejected,
    Signed,
    State,
    Submitted,
    Submitting,
)

NAME = "journal.sqlite3"
CLAIM = "journal.lock"
VERSION = 1  # of the tables
STATES: dict[str, type[State]] = {
    state.__name__: state for state in (Pending, Submitting, Submitted, Signed, Rejected)
}
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
    closed          INTEGER NOT NULL DEFAULT 0, -- progress is terminal
    manifest        BLOB,                       -- as dropped; from Submitting until filed
    obstacle        TEXT,                       -- as JSON
    progress        TEXT                        -- as JSON
);
-- A device carries one SIGNATURE, so at most one of its jobs is open at the service.
CREATE UNIQUE INDEX one_open_job ON job (device_id)
    WHERE closed = 0 AND state IN ('Submitting', 'Submitted', 'Signed');
CREATE UNIQUE INDEX one_job_id ON job (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX unfiled ON job (number) WHERE filed = 0;
CREATE INDEX same_bytes ON job (sha256);
CREATE INDEX latest ON job (since);
"""
COLUMNS = (
    "number, device_id, file_system, name, sha256, state, fields, since, filed, obstacle, progress"
)
OPEN = "closed = 0 AND state IN ('Submitting', 'Submitted', 'Signed')"


def job(row: Iterable[Any]) -> Job:  # sqlite3 knows no types of columns
    """The job in a row of COLUMNS."""
    (
        number,
        device_id,
        file_system,
        name,
        sha256,
        state,
        fields,
        since,
        filed,
        obstacle,
        progress,
    ) = row
    return Job(
        number,
        device_id,
        file_system,
        name,
        sha256,
        STATES[state](**json.loads(fields)),
        since,
        bool(filed),
        Obstacle(**json.loads(obstacle)) if obstacle else None,
        Progress(**json.loads(progress)) if progress else None,
    )


def columns(state: State) -> tuple[str, str]:
    """What the columns `state` and `fields` hold."""
    return type(state).__name__, json.dumps(asdict(state))


def dump(obstacle: Obstacle | None) -> str | None:
    """What the column `obstacle` holds."""
    return json.dumps(asdict(obstacle)) if obstacle else None
