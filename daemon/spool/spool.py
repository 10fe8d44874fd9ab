"""The spool: `pending/`, `prepared/` and `rejected/`, and what may happen to a file in them.

Nothing is ever overwritten and no link is followed. Here a file has a name, bytes and a stamp;
what it says is read elsewhere.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    is_regular: bool
    size: int  # bytes
    came_whole: bool  # it was complete when it came
    changed: float  # seconds since the epoch, by the clock of the file's disk or server


class Spool:
    """The three folders, created if they are missing. Raises SpoolError.

    `clock` counts seconds and cannot be set. Files' own times come from other clocks (a server's,
    or ours before it was set), so a file counts as complete when it was seen not to change. Only
    of what was there at the start is an old file taken for a complete one.
    """

    def __init__(self, path: Path, settle: float, clock: Callable[[], float]) -> None:
        self.path = path
        self.pending = path / "pending"  # where manifests are dropped
        self._prefix = f"{self.pending}/"
        self._settle = settle
        self._clock = clock
        self._noticed: dict[str, None] = {}  # names that may have changed
        self._still: dict[str, tuple[str, float]] = {}  # name -> its stamp, and since when
        self._notice_lock = threading.Lock()  # the watching thread notices what is examined
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

    def is_new(self) -> bool:
        """Return whether nothing was ever prepared here."""
        prepared = self.path / "prepared"
        with translated("read", prepared), os.scandir(prepared) as entries:
            return next(entries, None) is None

    def noticed(self, name: str, *, complete: bool) -> None:
        """Something may have happened to `name` in pending/. Safe in several threads.

        `complete`: it was closed after writing, or renamed in.
        """
        with self._notice_lock:
            self._noticed[name] = None
            if complete and dropping.is_manifest_name(name):
                with suppress(OSError):
                    status = os.stat(self.pending / name, follow_symlinks=False)
                    if status.st_size > 0:  # `touch` closes, too
                        self._still[name] = _stamp(status), -math.inf

    def take_noticed(self) -> list[str]:
        """Return the names that were noticed since the last call, each once."""
        with self._notice_lock:
            names, self._noticed = list(self._noticed), {}
            return names

    def names(self) -> list[str]:
        """Return the names of everything in pending/."""
        with translated("read", self.pending):
            return os.listdir(self.pending)

    def examine(self, name: str) -> Found | None:
        """Return what has that name in pending/; None if there is nothing that may be a manifest.

        It is not opened.
        """
        found = self._found(name) if dropping.is_manifest_name(name) else None
        if found is None:
            self.forget(name)
        return found

    def wait(self, found: Found, age: float = 0.0) -> float:
        """Return the seconds until a file counts as complete if it does not change; 0: it does.

        Of a file that is seen for the first time, `age` says for how many seconds it is taken not
        to have changed.
        """
        if found.came_whole:
            return 0.0
        with self._notice_lock:
            # Again: the watching thread may have noticed a change since.
            current = self._found(found.name)
            if current is None:
                return self._settle
            now = self._clock()
            known, since = self._still.get(found.name, ("", now))
            if known != current.stamp:
                since = now - age
            since = min(since, now)
            self._still[found.name] = current.stamp, since
        is_same = current.stamp == found.stamp
        return max(0.0, since + self._settle - now) if is_same else self._settle

    def _found(self, name: str) -> Found | None:
        with translated("read", self.pending), suppress(FileNotFoundError):
            status = os.stat(f"{self._prefix}{name}", follow_symlinks=False)
            return Found(
                name,
                _stamp(status),
                is_regular=stat.S_ISREG(status.st_mode),
                size=status.st_size,
                # A rename or link changes only ctime (inode(7)): it was complete when it came.
                came_whole=status.st_ctime_ns > status.st_mtime_ns and status.st_size > 0,
                changed=status.st_ctime,
            )
        return None

    def forget(self, name: str) -> None:
        """Forget since when a file has not changed: it was read, or is gone."""
        if name in self._still:
            with self._notice_lock:
                self._still.pop(name, None)

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

    def remove(self, name: str, sha256: str) -> None:
        """Remove a manifest from pending/, if it is still the one with `sha256`. Idempotent."""
        with translated("file", self.pending), self._lock, ExitStack() as stack:
            taken = stack.enter_context(durable.folder(self.path / TAKEN))
            pending = stack.enter_context(durable.folder(self.pending))
            if filing.take(pending, taken, name, sha256):
                filing.forget(pending, taken, name)

    def prepared(self) -> Iterator[Path]:
        """Yield the folders with the papers of prepared jobs, which can be very many."""
        place = self.path / "prepared"
        with translated("read", place), os.scandir(place) as entries:
            for entry in entries:
                yield place / entry.name

    def paper(self, folder: str, name: str) -> bytes | None:
        """Return a file in prepared/`folder`; None if it is missing."""
        place = self.path / "prepared"
        with translated("read", place), durable.folder(place) as prepared:
            try:
                with durable.folder(folder, prepared) as there:
                    return durable.read(there, name, filing.READ_LIMIT)
            except FileNotFoundError:
                return None

    def retries(self, names: Iterable[str]) -> list[str]:
        """Return the deviceIds that an operator asked to be tried again; each is returned once.

        `names` are names in pending/, of which some may be such requests.
        """
        with translated("read", self.pending):
            return dropping.take_requests(self.pending, names, dropping.RETRY)

    def confirmations(self, names: Iterable[str]) -> list[str]:
        """Return the deviceIds whose drives a person has confirmed; each is returned once."""
        with translated("read", self.pending):
            return dropping.take_requests(self.pending, names, dropping.SAME_DRIVE)

    def questions(self, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """Return the questions of commands among the files with these names, with their numbers."""
        with translated("read", self.pending), durable.folder(self.pending) as pending:
            return list(questions.asked(pending, names))

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
