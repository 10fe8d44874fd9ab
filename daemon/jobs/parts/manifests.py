"""Which manifest texts the journal refers to, by their SHA-256, and where they are.

The texts are files beside it, see `storage/texts.py`. Only in a backup, which is one file, and in a
journal before version 5 are they in the rows themselves.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from daemon.jobs.job import Job
from daemon.jobs.parts.access import Access
from daemon.jobs.storage import database
from daemon.jobs.storage.texts import Texts


class Manifests(Access):
    """The part of the journal that keeps the texts of manifests."""

    _path: Path
    _texts: Texts

    def manifest(self, job: Job) -> bytes | None:
        """Return the manifest as dropped, of a job that has reached `Submitting`."""
        digest = self._kept(job)
        with database.translated(self._path):
            return self._texts.read(job.number, digest) if digest else None

    def _keep(self, job: Job, text: bytes) -> str:
        """Make a text durable, before a commit that refers to it."""
        with database.translated(self._path):
            return self._texts.keep(job.number, text)

    def _kept(self, job: Job) -> str | None:
        rows = self._rows("SELECT manifest FROM job WHERE number = ?", job.number)
        return rows[0][0] if rows else None

    def _forget(self, job: Job, digest: str | None) -> None:
        """Remove a text, after the commit; if that fails, the next start does it."""
        with suppress(OSError):
            if digest:
                self._texts.remove(job.number, digest)

    def _tidy_up(self, connection: sqlite3.Connection) -> None:
        """Take texts out of rows, and remove those that nothing refers to."""
        take_out(connection, self._texts)
        database.let_read(self._path)
        self._texts.remove_all_but(self._rows(f"{_SELECT} AND manifest IS NOT NULL"))


_SELECT = "SELECT number, manifest FROM job WHERE filed = 0"
_UPDATE = "UPDATE job SET manifest = ? WHERE number = ?"


def take_out(connection: sqlite3.Connection, texts: Texts) -> None:
    """Move the texts from the rows to their files. Safe to repeat."""
    rows = connection.execute(f"{_SELECT} AND typeof(manifest) = 'blob'").fetchall()
    for number, text in rows:
        connection.execute(_UPDATE, (texts.keep(number, text), number))
    if rows:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log has them, too


def read(connection: sqlite3.Connection, texts: Texts) -> dict[int, bytes]:
    """Return the text of each job that has one. Raises OSError, ValueError."""
    rows = connection.execute(f"{_SELECT} AND typeof(manifest) = 'text'").fetchall()
    return {number: texts.read(number, digest) for number, digest in rows}


def put_in(connection: sqlite3.Connection, found: dict[int, bytes]) -> None:
    """Put texts into the rows of a backup."""
    connection.executemany(_UPDATE, [(text, number) for number, text in found.items()])
    connection.commit()
