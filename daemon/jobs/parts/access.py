"""What the parts of the journal need of it: one transaction, jobs, rows, and the memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from daemon.jobs.job import Job
from daemon.jobs.worklist import Worklist


class Access:
    """The journal, as far as its parts call it. All errors are JournalError."""

    worklist: Worklist
    _clock: Callable[[], float]  # seconds since the epoch
    _lock: threading.RLock  # of the memory and the file together

    def _commit(self) -> AbstractContextManager[sqlite3.Connection]:
        """One transaction: durable at the end of the block, or not begun."""
        raise NotImplementedError

    def _jobs(self, which: str, *values: object) -> list[Job]:
        """Return the jobs for which an SQL condition is true, oldest first."""
        raise NotImplementedError

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        raise NotImplementedError

    def _remember(self, *jobs: Job) -> None:
        """Update the memory, only after a commit."""
        raise NotImplementedError
