"""An SQLite file that can be trusted, or JournalError: its claim, its opening, its log.

Knows nothing of jobs. WAL and synchronous=FULL: a transaction that has ended is on the disk.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.errors import JournalError, JournalFullError

BUSY_SECONDS = 10.0  # a reader that checkpoints may hold the file for a moment
# SQLite drops a damaged log from the damage on without a word, so the log is kept short.
CHECKPOINT_PAGES = 64
CACHE_KIB = 256  # what a look needs; SQLite's own 2 MiB would fill with jobs that are over
LOG_HEADER = struct.Struct(">8I")  # sqlite.org/fileformat2.html, 4.1: the WAL header
FRAME_HEADER = struct.Struct(">6I")  # and 4.2: page, size after a commit, two salts, two sums
LOG_MAGIC = 0x377F0682  # its last bit says in which byte order the sums are made
LOCK = struct.Struct("@hhqqi")  # struct flock of fcntl(2): type, whence, start, length, process
# An open file description lock, fcntl(2): it ends with its descriptor, and can be asked about.
WHOLE_FILE = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def claim(path: Path) -> int:
    """A descriptor that keeps everybody else from claiming `path`, until it is closed."""
    with translated(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, WHOLE_FILE)
        except BlockingIOError as error:
            os.close(descriptor)
            raise JournalError(
                f"another driveprep daemon already works on {path.parent}",
                "Stop it first (`systemctl stop driveprep`), or give this one another spool.",
            ) from error
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def is_claimed(path: Path) -> bool:
    """Whether somebody has claimed `path` now. Takes no lock and makes no file."""
    with translated(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, WHOLE_FILE)
            return bool(LOCK.unpack(found)[0] != fcntl.F_UNLCK)
        finally:
            os.close(descriptor)


def open_for_writing(path: Path, tables: str, version: int, *, is_new: bool) -> sqlite3.Connection:
    """The database at `path`, with `tables` of that `version` (in user_version).

    One without tables is only begun where it `is_new`. One whose log is damaged stays as it is.
    """
    if not is_new and not path.exists():
        raise _lost(path)
    # First of all: a connection takes in what it can read of the log, and then removes it.
    _check_log(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _mode(path)))
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
            database.executescript(f"BEGIN; {tables} PRAGMA user_version = {version}; COMMIT;")
        elif found != version:
            raise sqlite3.DatabaseError(f"its tables are of version {found}, want {version}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def open_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The database beside its writer; nothing can be written."""
    # Without a writer there is no log. SQLite would make one to read, and leave it to our user.
    how = "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    database = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Whatever goes wrong in the block with the file at `path` is a JournalError."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise JournalFullError(
                f"the disk that holds the journal {path} is full",
                "Make room on it; everything then goes on by itself.",
            ) from error
        if isinstance(error, PermissionError):
            raise JournalError(
                f"you may not read {path}",
                "Use sudo, or become a member of its group: usermod -aG driveprep NAME",
            ) from error
        raise JournalError(
            f"cannot trust or write the journal {path}: {error}",
            f"Restore {path} from a backup, or move it aside and compare every drive with the"
            " service's own list of jobs before you go on.",
        ) from error


def _mode(path: Path) -> int:
    """For the owner alone, but in a setgid folder, which was given to a group, for it to read."""
    return 0o640 if path.parent.stat().st_mode & stat.S_ISGID else 0o600


def _lost(path: Path) -> JournalError:
    return JournalError(
        f"{path.parent} holds prepared jobs, but the journal {path} is missing or empty",
        "Restore it from a backup, or move the folder prepared/ aside to begin anew.",
    )


def _check_log(path: Path) -> None:
    """Raise sqlite3.DatabaseError where the log of the database at `path` has lost commits.

    SQLite reads it up to the first frame that is not as it was written. One commit behind that
    can be the one that a power cut tore, and which nobody was told of; with two of them, at least
    one was synced and has been damaged since.
    """
    log, index = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
    # SQLite makes the log before its index, and removes it after.
    if index.exists() and not log.exists():
        raise sqlite3.DatabaseError(f"its log {log.name} is missing")
    if log.exists() and _commits_cut_off(log) > 1:
        raise sqlite3.DatabaseError(f"its log {log.name} is damaged")


def _commits_cut_off(log: Path) -> int:
    """How many commits are in the log behind the place up to which SQLite can read it."""
    if log.stat().st_size <= LOG_HEADER.size:
        return 0
    with log.open("rb") as file:
        header = file.read(LOG_HEADER.size)
        magic, _, page_size, _, *salts, first, second = LOG_HEADER.unpack(header)
        order = ">" if magic & 1 else "<"
        sums = _sums(order, header[:24], (0, 0))
        if magic | 1 != LOG_MAGIC | 1 or sums != (first, second):
            # It is synced before any frame is written: no power cut does that.
            raise sqlite3.DatabaseError(f"its log {log.name} is damaged")
        commits, is_whole, size = 0, True, FRAME_HEADER.size + page_size
        while len(frame := file.read(size)) == size:
            _, size_after_commit, *found_salts, first, second = FRAME_HEADER.unpack_from(frame)
            if is_whole:
                sums = _sums(order, frame[:8] + frame[FRAME_HEADER.size :], sums)
                is_whole = found_salts == salts and sums == (first, second)
            if not is_whole:
                commits += size_after_commit > 0 and found_salts == salts
        return commits


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """The checksum of a log goes on from one frame to the next (fileformat2.html, 4.2)."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
