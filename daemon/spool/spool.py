"""The spool: `pending/`, `prepared/` and `rejected/`, and what may happen to a file in them.

Nothing is ever overwritten and no link is followed. What a file says is the business of other
rooms; here it has a name, bytes and a stamp.
"""

from __future__ import annotations

import math
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from daemon.spool import filing
from daemon.system import durable

SUFFIXES = (".yml", ".yaml", ".manifest", ".txt")
UNFINISHED = (".part", ".tmp", ".swp")
TAKEN = ".taken"  # the folder for a manifest on its way out of pending/, where nobody edits it
FOLDERS = {"pending": 0o770, "prepared": 0o750, "rejected": 0o750}
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
RETRY = ".retry-"  # an empty file of this name asks for a deviceId to be tried again at once


@dataclass(frozen=True, slots=True)
class Found:
    """A file in pending/, as its inode tells without opening it."""

    name: str
    stamp: str  # changes whenever the file or its contents do
    wait: float  # seconds until it counts as complete if it keeps still; 0: it does
    is_regular: bool
    size: int  # bytes


class Spool:
    """The three folders, made if absent. Errors are the kernel's own OSError.

    `clock` counts seconds; with one that nobody can set, jumps of the time change nothing. Files'
    own times come from other clocks (a server's, or ours before it was set), so stillness is what
    was seen here. Only on the first look is an old file taken for a still one.
    """

    def __init__(self, path: Path, settle: float, clock: Callable[[], float]) -> None:
        self.path = path
        self._settle = settle
        self._clock = clock
        self._still: dict[str, tuple[str, float]] = {}  # name -> its stamp, and since when
        self._still_lock = threading.Lock()  # the watch marks what a look compares
        self._is_first_look = True
        self._lock = threading.Lock()  # two workers must not take the same free name
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name, mode in FOLDERS.items():
            if not (path / name).is_dir():
                (path / name).mkdir()
                (path / name).chmod(mode)
        self._give_back()

    def _give_back(self) -> None:
        """Return what a crash left on its way out; whoever filed it files it again."""
        (self.path / TAKEN).mkdir(mode=0o700, exist_ok=True)
        with durable.folder(self.path / TAKEN) as taken, durable.folder(self.pending) as pending:
            for name in os.listdir(taken):
                filing.put_back(taken, pending, name)

    @property
    def pending(self) -> Path:
        """Where manifests are dropped."""
        return self.path / "pending"

    def is_new(self) -> bool:
        """Whether nothing was ever prepared here."""
        return not any((self.path / "prepared").iterdir())

    def completed(self, name: str) -> None:
        """`name` was closed after writing, or renamed in: it need not keep still to count."""
        if not is_manifest_name(name):
            return
        with suppress(OSError), self._still_lock:
            status = os.stat(self.pending / name, follow_symlinks=False)
            if status.st_size > 0:  # `touch` closes, too
                self._still[name] = _stamp(status), -math.inf

    def scan(self) -> list[Found]:
        """Every file in pending/ that may be a manifest, by name."""
        with os.scandir(self.pending) as entries, self._still_lock:
            found = [self._found(entry) for entry in entries if is_manifest_name(entry.name)]
            present = {one.name: one for one in found if one}
            self._still = {name: self._still[name] for name in self._still if name in present}
            self._is_first_look = False
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
            since = changed if self._is_first_look else now
        since = min(since, now)
        self._still[name] = stamp, since
        return max(0.0, since + self._settle - now)

    def read(self, name: str) -> bytes:
        """A pending file's bytes, cut at LIMIT. Raises OSError for anything but a plain file."""
        with durable.folder(self.pending) as pending:
            return durable.read(pending, name, filing.LIMIT)

    def reject(self, name: str, sha256: str, data: bytes | None, reason: str) -> str:
        """File a manifest under rejected/ with its reason; the name it has there.

        The file in pending/ is moved if it still is the one with `sha256` ("": one that cannot be
        read); if it has gone, `data` is written instead. Idempotent, as long as each reason is
        unique.
        """
        with self._lock, ExitStack() as stack:
            taken = stack.enter_context(durable.folder(self.path / TAKEN))
            pending = stack.enter_context(durable.folder(self.pending))
            rejected = stack.enter_context(durable.folder(self.path / "rejected"))
            place = filing.place_with(rejected, name, reason.encode())
            if not filing.exists(rejected, place + filing.REASON):
                filing.create(rejected, place + filing.REASON, reason.encode(), 0o640)
            is_done = filing.exists(rejected, place)
            is_taken = (sha256 or not is_done) and filing.take(pending, taken, name, sha256)
            if is_taken and not is_done:
                durable.move(taken, name, rejected, place)
            elif data is not None and not is_done:
                filing.create(rejected, place, data, 0o600)
            durable.sync(rejected)  # a call that was interrupted may not have come so far
            if is_taken:
                filing.forget(pending, taken, name)
            return place

    def file(self, folder: str, name: str, sha256: str, files: Mapping[str, bytes]) -> Path:
        """Put `files` into the new folder prepared/`folder`, whole or not at all; then take the
        manifest `name` out of pending/, if it still is the one with `sha256`. Idempotent.
        """
        with self._lock, ExitStack() as stack:
            here = stack.enter_context(durable.folder(self.path))
            prepared = stack.enter_context(durable.folder("prepared", here))
            place = filing.place_for(prepared, folder, files)
            if filing.exists(prepared, place):  # by a call that was interrupted
                durable.sync(prepared)
                filing.clear_folder(here, f".{place}{filing.PARTIAL}", files)
            else:
                filing.write_folder(here, prepared, place, files)
            taken = stack.enter_context(durable.folder(TAKEN, here))
            pending = stack.enter_context(durable.folder("pending", here))
            if filing.take(pending, taken, name, sha256):
                filing.forget(pending, taken, name)
            return self.path / "prepared" / place

    def retries(self) -> list[str]:
        """The deviceIds somebody asked to try again; each is told once."""
        names = [name for name in os.listdir(self.pending) if name.startswith(RETRY)]
        told = []
        with durable.folder(self.pending) as pending:
            for name in names:
                with suppress(OSError):  # a folder of that name is no word of ours
                    os.unlink(name, dir_fd=pending)
                    told.append(unquote(name.removeprefix(RETRY)))
        return told


def is_manifest_name(name: str) -> bool:
    """Whether a name in pending/ can ever be a manifest's; editors' and copies' are not."""
    lower = name.lower()
    is_hidden = name.startswith((".", "~"))
    is_ours = lower.endswith(filing.REASON)  # put back together with its manifest
    is_unfinished = lower.rpartition(".")[0].endswith(UNFINISHED)
    return lower.endswith(SUFFIXES) and not (is_hidden or is_ours or is_unfinished)


def safe_name(text: str) -> str:
    """`text` as one component of a path: no slash, no dot or dash first, at most 64 characters."""
    return UNSAFE.sub("_", text)[:64].lstrip(".-") or "_"


def drop(pending: Path, name: str, data: bytes) -> Path:
    """Put a manifest into pending/ the right way: whole, synced, then linked to its name.

    Raises FileExistsError when the name is taken.
    """
    with durable.folder(pending) as folder:
        partial = f".{os.getpid()}.part"  # another process may drop the same name just now
        durable.discard(folder, partial)
        durable.create(folder, partial, data, 0o660)
        try:
            os.link(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            durable.discard(folder, partial)
        durable.sync(folder)
    return pending / name


def ask_to_retry(pending: Path, device_id: str) -> None:
    """Leave word in pending/ that a deviceId is to be tried again at once. Idempotent."""
    with durable.folder(pending) as folder, suppress(FileExistsError):
        durable.create(folder, RETRY + quote(device_id, safe=""), b"", 0o660)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"
