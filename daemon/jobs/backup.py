"""Copies of the journal: made beside the daemon by SQLite's own backup, and put back without it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from daemon.errors import JournalError
from daemon.jobs.parts import manifests
from daemon.jobs.schema import CLAIM, MIGRATIONS, NAME, TABLES, VERSION
from daemon.jobs.storage import database
from daemon.jobs.storage.database import Form
from daemon.jobs.storage.texts import Texts
from daemon.system import durable

STAMP = ".last-backup"  # in the spool: its time is that of the last backup
ATTEMPTS = 10  # to find a moment at which no job is just being filed
FORM = Form(TABLES, VERSION, MIGRATIONS)


def backup(folder: Path, target: Path) -> None:
    """Copy the journal in `folder` to the new file `target`, mode 0600, while the daemon may run.

    Raises JournalError, FileExistsError when there is such a file, and OSError.
    """
    if not (folder / NAME).exists():
        raise JournalError(f"there is no journal in {folder}", "No manifest was ever dropped.")
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            database.translated(folder / NAME),
            database.open_for_reading(folder / NAME) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            texts = _moment(source, Texts(folder))
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
            manifests.put_in(copy, texts)
    except BaseException:
        target.unlink()
        raise
    with durable.folder(target.parent) as parent:
        durable.sync(parent)
    (folder / STAMP).touch()


def restore(folder: Path, source: Path) -> None:
    """Put a backup in the place of the journal in `folder`; the daemon must not run.

    Raises JournalError if it runs or the backup is damaged; nothing is changed then.
    """
    claim = database.claim(folder / CLAIM)
    try:
        with database.translated(source), database.open_for_reading(source) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            reason = "" if 0 < version <= VERSION else f"its version is {version}"
            damage = database.damage(connection)
        if reason := damage or reason:
            raise JournalError(
                f"{source} is not a usable backup: {reason}", "Use another one.", code="backup"
            )
        _put_in_place(folder, source.read_bytes())
    finally:
        os.close(claim)


def make_empty(folder: Path) -> None:
    """Make an empty journal in `folder`, which the daemon fills from the papers and the service.

    Raises JournalError if there is a journal, or the daemon runs.
    """
    claim = database.claim(folder / CLAIM)
    try:
        if (folder / NAME).exists():
            raise JournalError(
                f"there is a journal in {folder}",
                "Move it aside if it is damaged; a whole one needs no papers.",
            )
        with database.translated(folder / NAME):
            database.open_for_writing(folder / NAME, FORM, is_new=True).close()
    finally:
        os.close(claim)


def age(folder: Path, now: float) -> float | None:
    """Return how many seconds ago the last backup was made; None if there was none."""
    try:
        return now - (folder / STAMP).stat().st_mtime
    except OSError:
        return None


def _moment(source: sqlite3.Connection, texts: Texts) -> dict[int, bytes]:
    """Begin to read one moment of the journal; return its texts, each with its job's number.

    A text that goes away just then is one of an earlier moment: its job was filed.
    """
    for _ in range(ATTEMPTS):
        source.execute("BEGIN")
        with suppress(FileNotFoundError):
            return manifests.read(source, texts)
        source.execute("ROLLBACK")
    return manifests.read(source, texts)


def _put_in_place(folder: Path, data: bytes) -> None:
    with durable.folder(folder) as parent:
        for suffix in ("-wal", "-shm"):  # of another time
            durable.discard(parent, NAME + suffix)
        durable.sync(parent)
        status = folder.stat()
        # A backup can have manifests in it: the daemon lets others read it once it has moved them.
        durable.replace(parent, NAME, data, partial=f".{NAME}.partial", mode=0o600)
        os.chown(NAME, status.st_uid, status.st_gid, dir_fd=parent)
