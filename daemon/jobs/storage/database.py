"""An SQLite file that can be trusted, or JournalError: claimed by one process, and opened.

Knows nothing about jobs. WAL and synchronous=FULL: a committed transaction is on the disk.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemon.errors import JournalError, JournalFullError
from daemon.jobs.storage import disk, wal

CHECKED_BYTES = 64 << 20  # a larger file is checked while it is in use: 800 MB take two seconds
BUSY_SECONDS = 10.0  # a reader that checkpoints may hold the file for a moment
# SQLite silently drops a damaged log from the damage on, so the log is kept short.
CHECKPOINT_PAGES = 64
CACHE_KIB = 256  # enough for a scan; SQLite's default of 2 MiB would fill with old jobs
LOCK = struct.Struct("@hhqqi")  # struct flock of fcntl(2): type, whence, start, length, process
# An open file description lock, fcntl(2): it ends with its descriptor, and can be queried.
WHOLE_FILE = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Form:
    """What a database must hold."""

    tables: str
    version: int  # of the tables; it is in user_version
    migrations: Mapping[int, str] = field(default_factory=dict)  # from that version to the next


def claim(path: Path) -> int:
    """Return a descriptor that keeps other processes from claiming `path` until it is closed."""
    with translated(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, WHOLE_FILE)
        except BlockingIOError as error:
            os.close(descriptor)
            raise JournalError(
                f"another driveprep daemon is already using {path.parent}",
                "Stop it first (`systemctl stop driveprep`), or give this one another spool.",
            ) from error
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def is_claimed(path: Path) -> bool:
    """Return whether a process has claimed `path` now. Takes no lock and makes no file."""
    with translated(path):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, WHOLE_FILE)
            return bool(LOCK.unpack(found)[0] != fcntl.F_UNLCK)
        finally:
            os.close(descriptor)


def open_for_writing(path: Path, form: Form, *, is_new: bool) -> sqlite3.Connection:
    """Open the database at `path`; create its tables or migrate them, each in one transaction.

    One without tables is created only if it `is_new`. A damaged one is not changed, unless it has
    more than CHECKED_BYTES: then the caller has it checked.
    """
    if not is_new and not path.exists():
        raise _lost(path)
    # First of all: a connection takes in what it can read of the log, and then removes it.
    wal.check(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, _mode(path)))
    database = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        database.execute("PRAGMA secure_delete = ON")  # a manifest that was filed is forgotten
        database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found == 0 and not is_new:
            raise _lost(path)
        if found == 0:
            _run(database, form.tables, form.version)
        if found > form.version:
            raise _newer(path, found, form.version)
        is_checked_now = path.stat().st_size <= CHECKED_BYTES or found < form.version
        if is_checked_now and (problem := damage(database)):
            raise sqlite3.DatabaseError(problem)
        for version in range(found or form.version, form.version):
            _migrate(database, form, version)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except BaseException:
        database.close()
        raise
    return database


def damage(database: sqlite3.Connection) -> str:
    """Check the whole file; return the first damage, or ""."""
    (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    return "" if verdict == "ok" else str(verdict)


@contextmanager
def open_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database beside its writer; nothing can be written."""
    # Without a writer there is no log. SQLite would create one to read, owned by our user.
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    database = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)
    try:
        yield database
    finally:
        database.close()


def let_read(path: Path) -> None:
    """Let the group read a database that was put in place for its owner alone."""
    if path.stat().st_mode & 0o777 == 0o600:
        path.chmod(_mode(path))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn every error of the block with the file at `path` into a JournalError."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise JournalFullError(
                f"the disk that holds the journal {path} is full",
                "Make room on it; driveprep then continues by itself.",
            ) from error
        is_of_the_disk = isinstance(error, sqlite3.OperationalError | OSError)
        if is_of_the_disk and (found := disk.explain(path, error)):
            raise found from error
        if isinstance(error, PermissionError):
            raise JournalError(
                f"no permission to read {path}",
                "Use sudo, or join its group with `sudo usermod -aG driveprep NAME`; if you were"
                " just added, log out and in again.",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise JournalError(
                f"cannot trust or write the journal {path}: {error}; a trial file next to it can be"
                " written",
                "Check the disk and its mount (`dmesg`, `driveprep doctor`), then start driveprep"
                " again.",
                code="journal-not-written",
            ) from error
        raise JournalError(
            f"cannot trust or write the journal {path}: {error}",
            f"The journal is damaged. Restore {path} from a backup with `driveprep restore FILE`,"
            " or make one from the papers with `driveprep restore --from-papers`.",
            code="journal-damaged",
        ) from error


def _run(database: sqlite3.Connection, script: str, version: int) -> None:
    database.executescript(f"BEGIN; {script} PRAGMA user_version = {version}; COMMIT;")


def _migrate(database: sqlite3.Connection, form: Form, version: int) -> None:
    if version not in form.migrations:
        raise sqlite3.DatabaseError(f"its version {version} is not known")
    _run(database, form.migrations[version], version + 1)


def _newer(path: Path, found: int, known: int) -> JournalError:
    return JournalError(
        f"the journal {path} was written by a newer driveprep (version {found}; this one knows"
        f" {known})",
        "Install that newer driveprep again. Nothing was changed.",
        code="journal-newer",
    )


def _mode(path: Path) -> int:
    """Return 0600; in a setgid folder, which belongs to a group that may read it, 0640."""
    return 0o640 if path.parent.stat().st_mode & stat.S_ISGID else 0o600


def _lost(path: Path) -> JournalError:
    return JournalError(
        f"{path.parent} holds prepared jobs, but the journal {path} is missing or empty",
        "Restore it from a backup with `driveprep restore FILE`, or make one from the papers with"
        " `driveprep restore --from-papers`.",
    )
