"""The spool: `pending/`, `prepared/` and `rejected/`, and what may happen to a file in them.

Nothing is ever overwritten and no link is followed. What a file says is the business of other
rooms; here it has a name, bytes and a stamp.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from daemon import durable

SUFFIXES = (".yml", ".yaml", ".manifest", ".txt")
UNFINISHED = (".part", ".tmp", ".swp")
LIMIT = 64 * 1024 + 1  # bytes: enough to see that a file is longer than a manifest may be
FOLDERS = {"pending": 0o770, "prepared": 0o750, "rejected": 0o750}
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
RETRY = ".retry-"  # an empty file of this name asks for a deviceId to be tried again at once


@dataclass(frozen=True, slots=True)
class Found:
    """A file in pending/, as its inode tells without opening it."""

    name: str
    stamp: str  # changes whenever the file or its contents do
    ready_at: float  # when it counts as complete, seconds since the epoch
    is_regular: bool


class Spool:
    """The three folders, made if absent. Errors are the kernel's own OSError."""

    def __init__(self, path: Path, settle: float, clock: Callable[[], float]) -> None:
        self.path = path
        self._settle = settle
        self._clock = clock
        self._completed: dict[str, float] = {}  # name -> when it was closed or renamed in
        self._lock = threading.Lock()  # two workers must not take the same free name
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        for name, mode in FOLDERS.items():
            if not (path / name).is_dir():
                (path / name).mkdir()
                (path / name).chmod(mode)

    @property
    def pending(self) -> Path:
        """Where manifests are dropped."""
        return self.path / "pending"

    def is_new(self) -> bool:
        """Whether nothing was ever prepared here."""
        return not any((self.path / "prepared").iterdir())

    def completed(self, name: str) -> None:
        """`name` was closed after writing, or renamed in: it need not keep still to count."""
        self._completed[name] = self._clock()

    def scan(self) -> list[Found]:
        """Every file in pending/ that may be a manifest, by name."""
        with os.scandir(self.pending) as entries:
            found = [self._found(entry) for entry in entries if is_manifest_name(entry.name)]
        present = [one for one in found if one]
        self._completed = {
            one.name: self._completed[one.name] for one in present if one.name in self._completed
        }
        return sorted(present, key=lambda one: one.name)

    def _found(self, entry: os.DirEntry[str]) -> Found | None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # taken away since the folder was listed
            return None
        changed = status.st_ctime  # mtime can be set to anything, utime(2)
        # A rename or link changes only ctime (inode(7)): such a file was complete when it came.
        came_whole = status.st_ctime_ns > status.st_mtime_ns and status.st_size > 0
        was_completed = self._completed.get(entry.name, 0.0) >= changed
        stamp = f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{status.st_ctime_ns}"
        settled = came_whole or was_completed or changed > self._clock() + self._settle
        ready_at = 0.0 if settled else changed + self._settle
        return Found(entry.name, stamp, ready_at, stat.S_ISREG(status.st_mode))

    def read(self, name: str) -> bytes:
        """A pending file's bytes, cut at LIMIT. Raises OSError for anything but a plain file."""
        with durable.folder(self.pending) as pending:
            return durable.read(pending, name, LIMIT)

    def reject(self, name: str, sha256: str, data: bytes | None, reason: str) -> str:
        """File a manifest under rejected/ with its reason; the name it has there.

        The file in pending/ is moved if it still is the one with `sha256` ("": whatever it is);
        if it has gone, `data` is written instead. Idempotent, as long as each reason is unique.
        """
        with self._lock, ExitStack() as stack:
            pending = stack.enter_context(durable.folder(self.pending))
            rejected = stack.enter_context(durable.folder(self.path / "rejected"))
            there = self._still(pending, name, sha256)
            place = _free_place(rejected, name, reason, there=there)
            if _peek(rejected, f"{place}.reason.txt") is None:
                durable.create(rejected, f"{place}.reason.txt", reason.encode(), 0o640)
                durable.sync(rejected)
            if there:
                durable.move(pending, name, rejected, place)
            elif data is not None and not _exists(rejected, place):
                durable.create(rejected, place, data)
                durable.sync(rejected)
            return place

    def file(self, folder: str, name: str, sha256: str, files: Mapping[str, bytes]) -> Path:
        """Put `files` into the new folder prepared/`folder`, whole or not at all; then take the
        manifest `name` out of pending/, if it still is the one with `sha256`. Idempotent.
        """
        with self._lock, ExitStack() as stack:
            prepared = stack.enter_context(durable.folder(self.path / "prepared"))
            place = _place_for(prepared, folder, files)
            if not _exists(prepared, place):
                _write_folder(prepared, place, files)
            pending = stack.enter_context(durable.folder(self.pending))
            if self._still(pending, name, sha256):
                durable.discard(pending, name)
                durable.sync(pending)
            return self.path / "prepared" / place

    def retries(self) -> list[str]:
        """The deviceIds somebody asked to try again; each is told once."""
        names = [name for name in os.listdir(self.pending) if name.startswith(RETRY)]
        with durable.folder(self.pending) as pending:
            for name in names:
                durable.discard(pending, name)
        return [bytes.fromhex(name.removeprefix(RETRY)).decode() for name in names]

    @staticmethod
    def _still(pending: int, name: str, sha256: str) -> bool:
        """Whether pending/`name` is there and still the file that was read."""
        if not sha256:
            return _exists(pending, name)
        try:
            return digest(durable.read(pending, name, LIMIT)) == sha256
        except OSError:
            return False


def digest(data: bytes) -> str:
    """The sha256 by which bytes are told apart."""
    return hashlib.sha256(data).hexdigest()


def is_manifest_name(name: str) -> bool:
    """Whether a name in pending/ can ever be a manifest's; editors' and copies' are not."""
    return (
        name.endswith(SUFFIXES)
        and not name.startswith((".", "~"))
        and not name.removesuffix(Path(name).suffix).endswith(UNFINISHED)
    )


def safe_name(text: str) -> str:
    """`text` as one component of a path: no slash, no leading dot, at most 64 characters."""
    return UNSAFE.sub("_", text)[:64].lstrip(".") or "_"


def drop(pending: Path, name: str, data: bytes) -> Path:
    """Put a manifest into pending/ the right way: whole, synced, then renamed to its name.

    Raises FileExistsError when the name is taken.
    """
    with durable.folder(pending) as folder:
        partial = f".{name}.part"
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
        durable.create(folder, RETRY + device_id.encode().hex(), b"", 0o660)


def _free_place(rejected: int, name: str, reason: str, *, there: bool) -> str:
    """The first numbered form of `name` that is free, or that a crash left for this reason."""
    for place in _numbered(name):
        found = _peek(rejected, f"{place}.reason.txt")
        if found is None and not _exists(rejected, place):
            return place
        if found == reason.encode() and not (there and _exists(rejected, place)):
            return place
    raise AssertionError("numbers never end")


def _place_for(prepared: int, folder: str, files: Mapping[str, bytes]) -> str:
    """The first numbered form of `folder` that is free, or that a crash left with these files."""
    for place in _numbered(folder):
        if not _exists(prepared, place):
            return place
        with durable.folder(place, prepared) as there:
            if all(_peek(there, name) == data for name, data in files.items()):
                return place
    raise AssertionError("numbers never end")


def _write_folder(prepared: int, place: str, files: Mapping[str, bytes]) -> None:
    partial = f".{place}.partial"
    with suppress(FileExistsError):  # of a crash: its files are replaced one by one
        os.mkdir(partial, 0o750, dir_fd=prepared)
    with durable.folder(partial, prepared) as target:
        for name, data in files.items():
            durable.replace(target, name, data, partial=f".{name}.part", mode=0o640)
    durable.move(prepared, partial, prepared, place)


def _numbered(name: str) -> Iterator[str]:
    path = Path(name)
    yield name
    for number in count(2):
        yield f"{path.stem}-{number}{path.suffix}"


def _peek(folder: int, name: str) -> bytes | None:
    try:
        return durable.read(folder, name, 16 * LIMIT)
    except OSError:
        return None


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
