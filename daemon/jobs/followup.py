"""What is recorded of jobs that are finished here: dismissed rejections, shipments, reminders."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager

DISMISS = "UPDATE job SET dismissed = 1 WHERE state = 'Rejected' AND filed = 1 AND dismissed = 0"


class FollowUp:
    """The part of the journal for what happens after a job is filed. All methods can be repeated.

    All errors are JournalError.
    """

    def dismiss(self, word: str) -> int:
        """Dismiss the rejections of a manifest or deviceId; return how many there were."""
        with self._commit() as database:
            return database.execute(
                f"{DISMISS} AND (name = ? OR device_id = ?)", (word,) * 2
            ).rowcount

    def dismiss_all(self) -> int:
        """Dismiss every rejection; return how many there were."""
        with self._commit() as database:
            return database.execute(DISMISS).rowcount

    def _commit(self) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError  # the journal's
