"""The emulated service's jobs, in memory and, if wanted, in a file that survives a kill -9."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ALPHABET = "123456789ABCDEFGHIJKLMNPQRSTUVWXYZ"  # no zero, no letter O [2009 specification]
_LIFE_SECONDS = 30 * 86_400  # a job whose device has not come by then is gone


@dataclass(frozen=True, slots=True)
class Job:
    """One job of one account."""

    job_id: str
    account: str  # the access key that made it
    job_type: str
    device_id: str
    manifest: str = field(repr=False)
    signature: str = field(repr=False)
    creation_date: float  # seconds since the epoch
    is_canceled: bool = False
    location_code: str = "NotReceived"
    progress_code: str = "Pending"
    carrier: str | None = None
    tracking_number: str | None = None
    error_count: int = 0
    log_bucket: str | None = None
    log_key: str | None = None

    def is_gone(self, now: float) -> bool:
        """Its 30 days are over, and nothing has come in."""
        is_waiting = (self.location_code, self.progress_code) == ("NotReceived", "Pending")
        return is_waiting and now - self.creation_date > _LIFE_SECONDS


class Ledger:
    """Every job, oldest first. Used by one thread at a time.

    With a file, `put` returns only when the job is on disk. One process at a time may use a file.
    """

    def __init__(self, state: Path | None) -> None:
        self._database = None if state is None else _opened(state)
        self._jobs: dict[str, Job] = {}
        self._made: Counter[tuple[str, date]] = Counter()
        if self._database is not None:
            for (job,) in self._database.execute("SELECT job FROM jobs ORDER BY number"):
                self._remember(Job(**json.loads(job)))

    def put(self, job: Job) -> None:
        """Write a new job, or a job's new state."""
        if self._database is not None:
            with self._database:
                self._database.execute(
                    "INSERT INTO jobs (job_id, job) VALUES (?, ?)"
                    " ON CONFLICT (job_id) DO UPDATE SET job = excluded.job",
                    (job.job_id, json.dumps(asdict(job))),
                )
        self._remember(job)

    def find(self, job_id: str) -> Job | None:
        """A job by its JobId, which is the same in upper and lower case."""
        return self._jobs.get(job_id.upper())

    def all(self) -> tuple[Job, ...]:
        """Every job, oldest first."""
        return tuple(self._jobs.values())

    def new_id(self) -> str:
        """A JobId that no job has: five characters of the service's alphabet."""
        while True:
            job_id = "".join(secrets.choice(_ALPHABET) for _ in range(5))
            if job_id not in self._jobs:
                return job_id

    def made_on_day(self, account: str, now: float) -> int:
        """How many jobs an account has made on the day (UTC) of `now`."""
        return self._made[account, _day(now)]

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._database is not None:
            self._database.close()

    def _remember(self, job: Job) -> None:
        if job.job_id not in self._jobs:
            self._made[job.account, _day(job.creation_date)] += 1
        self._jobs[job.job_id] = job


def _opened(state: Path) -> sqlite3.Connection:
    # Manifests can hold passwords: no other user may read them.
    os.close(os.open(state, os.O_CREAT | os.O_RDWR, 0o600))
    # The service's lock lets one thread in at a time, whichever it is.
    database = sqlite3.connect(state, check_same_thread=False)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS jobs"
        " (number INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, job TEXT NOT NULL)"
    )
    return database


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
