"""The spool: `pending/`, `prepared/` and `rejected/`, and what may happen to a file in them.

Nothing is ever overwritten and no link is followed. Here a file has a name, bytes and a stamp;
what it says is read elsewhere.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import SpoolError
from daemon.spool import dropping, filing, questions
from daemon.system import durable

TAKEN = ".taken"  # the folder for a manifest on its way out of pending/, where no one edits it
FOLDERS = {"pending": 0o770, "prepared": 0o750, "rejected": 0o750, questions.ANSWERS: 0o750}


@dataclass(frozen=True, slots=True)
class Found:
    """A file in pending/, as its inode describes it; it is not opened."""

    name: str
    stamp: str  # changes whenever the file or its contents do
    wait: float  # seconds until it counts as complete if it does not change; 0: it does now
    is_regular: bool
    size: int  # bytes


class Spool:
    """The three folders, created if they are missing. Raises SpoolError.

    `clock` counts seconds and cannot be set. Files' own times come from other clocks (a server's,
    or ours before it was set), so a file counts as complete when it was seen not to change. Only
    in the first scan is an old file taken for a complete one.
    """

    def __init__(self, path: Path, settle: float, clock: Callable[[], float]) -> None:
        self.path = path
        self._settle = settle
        self._clock = clock
        self._still: dict[str, tuple[str, float]] = {}  # name -> its stamp, and since when
        self._still_lock = threading.Lock()  # the watching thread marks what a scan compares
        self._is_first_scan = True
        self._lock = threading.Lock()  # two workers must not take the same free name
        with translated("create", path):
            self._create_folders()
            self._put_back()

    def _create_folders(self) -> None:
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name, mode in FOLDERS.items():
            if not (self.path / name).is_dir():
                (self.path / name).mkdir()
                (self.path / name).chmod(mode)

    def _put_back(self) -> None:
        """Move back what a crash left on its way out; it is then filed again."""
        (self.path / TAKEN).mkdir(mode=0o700, exist_ok=True)
        with durable.folder(self.path / TAKEN) as taken, durable.folder(self.pending) as pending:
            for name in os.listdir(taken):
                filing.put_back(taken, pending, name)

    @property
    def pending(self) -> Path:
        """Return the folder where manifests are dropped."""
        return self.path / "pending"

    def is_new(self) -> bool:
        """Return whether nothing was ever prepared here."""
        prepared = self.path / "prepared"
        with translated("read", prepared):
            return not any(prepared.iterdir())

    def completed(self, name: str) -> None:
        """`name` was closed after writing, or renamed in: it is complete at once."""
        if not dropping.is_manifest_name(name):
            return
        with suppress(OSError), self._still_lock:
            status = os.stat(self.pending / name, follow_symlinks=False)
            if status.st_size > 0:  # `touch` closes, too
                self._still[name] = _stamp(status), -math.inf

    def scan(self) -> list[Found]:
        """Return every file in pending/ that may be a manifest, sorted by name."""
        pending = self.pending
        with translated("read", pending), os.scandir(pending) as entries, self._still_lock:
            manifests = (entry for entry in entries if dropping.is_manifest_name(entry.name))
            found = [self._found(entry) for entry in manifests]
            present = {one.name: one for one in found if one}
            self._still = {name: self._still[name] for name in self._still if name in present}
            self._is_first_scan = False
        return [present[name] for name in sorted(present)]

    def _found(self, entry: os.DirEntry[str]) -> Found | None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # taken away since the folder was listed
            return None
        stamp = _stamp(status)
        # A rename or link changes only ctime (inode(7)): such a file was complete when it came.
        came_whole = status.st_ctime_ns > status.st_mtime_ns and status.st_size > 0
        wait = 0.0 if came_whole else self._wait(entry.name, stamp, status.st_ctime)
        return Found(entry.name, stamp, wait, stat.S_ISREG(status.st_mode), status.st_size)

    def _wait(self, name: str, stamp: str, changed: float) -> float:
        now = self._clock()
        known, since = self._still.get(name, ("", now))
        if known != stamp:
            since = changed if self._is_first_scan else now
        since = min(since, now)
        self._still[name] = stamp, since
        return max(0.0, since + self._settle - now)

    def read(self, name: str) -> bytes:
        """Return a pending file's bytes, cut at READ_LIMIT.

        Raises FileNotFoundError, and SpoolError for anything but a regular file.
        """
        gone = (FileNotFoundError,)
        with (
            translated("read", self.pending / name, except_for=gone),
            durable.folder(self.pending) as pending,
        ):
            return durable.read(pending, name, filing.READ_LIMIT)

    def reject(self, name: str, sha256: str, data: bytes | None, reason: str) -> str:
        """File a manifest under rejected/ with its reason; return the name it has there.

        The file in pending/ is moved if it is still the one with `sha256` ("": one that cannot be
        read); if it is gone, `data` is written instead. Idempotent, as long as each reason is
        unique.
        """
        where = self.path / "rejected"
        with translated("file", where), self._lock, ExitStack() as stack:
            taken = stack.enter_context(durable.folder(self.path / TAKEN))
            pending = stack.enter_context(durable.folder(self.pending))
            rejected = stack.enter_context(durable.folder(where))
            place = filing.place_with(rejected, name, reason.encode())
            if not filing.exists(rejected, place + filing.REASON):
                filing.create(rejected, place + filing.REASON, reason.encode(), 0o640)
            is_done = filing.exists(rejected, place)
            is_taken = False
            if sha256 or not is_done:  # an unreadable file that is already filed stays
                is_taken = filing.take(pending, taken, name, sha256)
            if is_taken and not is_done:
                durable.move(taken, name, rejected, place)
            elif data is not None and not is_done:
                filing.create(rejected, place, data, 0o600)
            durable.sync(rejected)  # a call that was interrupted may not have come so far
            if is_taken:
                filing.forget(pending, taken, name)
            return place

    def file(self, folder: str, name: str, sha256: str, files: Mapping[str, bytes]) -> Path:
        """Put `files` into the folder prepared/`folder`, whole or not at all; then remove the
        manifest `name` from pending/, if it is still the one with `sha256`. Idempotent.

        What has that name with other contents is kept as prepared/`folder`-before.
        """
        where = self.path / "prepared"
        with translated("file", where), self._lock, ExitStack() as stack:
            here = stack.enter_context(durable.folder(self.path))
            prepared = stack.enter_context(durable.folder("prepared", here))
            if filing.has_papers(prepared, folder, files):
                durable.sync(prepared)
                filing.clear_folder(here, f".{folder}{filing.PARTIAL}", files)
            else:
                if filing.exists(prepared, folder):
                    filing.set_aside(prepared, folder)
                filing.write_folder(here, prepared, folder, files)
            taken = stack.enter_context(durable.folder(TAKEN, here))
            pending = stack.enter_context(durable.folder("pending", here))
            if filing.take(pending, taken, name, sha256):
                filing.forget(pending, taken, name)
            return where / folder

    def prepared(self) -> list[Path]:
        """Return the folders with the papers of prepared jobs."""
        place = self.path / "prepared"
        with translated("read", place):
            return [place / name for name in sorted(os.listdir(place))]

    def paper(self, folder: str, name: str) -> bytes | None:
        """Return a file in prepared/`folder`; None if it is missing."""
        place = self.path / "prepared"
        with translated("read", place), durable.folder(place) as prepared:
            try:
                with durable.folder(folder, prepared) as there:
                    return durable.read(there, name, filing.READ_LIMIT)
            except FileNotFoundError:
                return None

    def retries(self) -> list[str]:
        """Return the deviceIds that an operator asked to be tried again; each is returned once."""
        with translated("read", self.pending):
            return dropping.take_requests(self.pending, dropping.RETRY)

    def confirmations(self) -> list[str]:
        """Return the deviceIds whose drives a person has confirmed; each is returned once."""
        with translated("read", self.pending):
            return dropping.take_requests(self.pending, dropping.SAME_DRIVE)

    def has_questions(self) -> bool:
        """Return whether a command waits for an answer."""
        with translated("read", self.pending):
            return any(name.startswith(questions.PREFIX) for name in os.listdir(self.pending))

    def questions(self) -> list[tuple[str, bytes]]:
        """Return the questions of commands, each with its number."""
        with translated("read", self.pending), durable.folder(self.pending) as pending:
            return list(questions.asked(pending))

    def answer(self, number: str, data: bytes, now: float) -> None:
        """Answer a question. Safe to repeat. `now` is in seconds since the epoch."""
        where = self.path / questions.ANSWERS
        with translated("file", where), ExitStack() as stack:
            pending = stack.enter_context(durable.folder(self.pending))
            answers = stack.enter_context(durable.folder(where))
            questions.answer(pending, answers, number, data, now)


@contextmanager
def translated(
    action: str, path: Path, *, except_for: tuple[type[OSError], ...] = ()
) -> Iterator[None]:
    """Turn an OSError of the block into a SpoolError, `except_for` what the caller handles."""
    try:
        yield
    except except_for:
        raise
    except OSError as error:
        raise SpoolError(
            f"cannot {action} {path}: {error.strerror or error}",
            "Check the disk that holds the spool, and its permissions (`driveprep doctor`).",
            code=f"spool-{action}",
            errno=error.errno or 0,
        ) from error


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"
