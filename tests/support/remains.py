"""What remains of a world's folder when its daemon is gone, by a kill or by a power cut."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

FAST = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None  # a folder in memory, if any
PASSING = ("journal.lock", "-shm")  # they hold nothing that outlives a process


def tree(folder: Path | str, below: str = "") -> dict[str, bytes | None]:
    """Everything in a folder: contents by path from `folder`, None for a folder."""
    found: dict[str, bytes | None] = {}
    for entry in os.scandir(f"{folder}/{below}"):
        name = below + entry.name
        if entry.is_dir(follow_symlinks=False):
            found[name] = None
            found |= tree(folder, f"{name}/")
        elif not name.endswith(PASSING):
            with open(entry.path, "rb", buffering=0) as file:
                found[name] = file.readall()
    return found


class Durable:
    """What of a folder has been synced, and so outlives a power cut in any case.

    The worst case: of a file nothing but its contents at its last fsync, of a folder nothing but
    its names at its own last fsync. SQLite syncs by itself: with each commit (synchronous=FULL),
    and the folder as well when it makes the write-ahead log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._held: list[int] = []  # descriptors, so that no inode number is used again

    def begin(self) -> None:
        """Everything there is now is durable."""
        self.close()
        self._sync_folder(self._folder)
        for name, data in tree(self._folder).items():
            path = self._folder / name
            if data is None:
                self._sync_folder(path)
            else:
                self._contents[path.stat().st_ino] = data

    def sync(self, descriptor: int | None) -> None:
        """What an fsync, or with None a commit, has made durable."""
        if descriptor is None:
            spool = self._folder / "spool"
            known = self._names.get(spool.stat().st_ino, {})
            for path in spool.glob("journal.sqlite3*"):
                self._contents[path.stat().st_ino] = path.read_bytes()
                if known.get(path.name, (0, False))[0] != path.stat().st_ino:
                    self._sync_folder(spool)
            return
        self._held.append(os.dup(descriptor))
        path = Path(f"/proc/self/fd/{descriptor}")
        if path.is_dir():
            self._sync_folder(path)
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def files(self) -> dict[str, bytes | None]:
        """What is there after the cut."""
        return self._below(self._folder.stat().st_ino, "")

    def close(self) -> None:
        """Forget everything."""
        while self._held:
            os.close(self._held.pop())
        self._contents.clear()
        self._names.clear()

    def _below(self, folder: int, path: str) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        for name, (number, is_folder) in self._names.get(folder, {}).items():
            if is_folder:
                found[path + name] = None
                found |= self._below(number, f"{path}{name}/")
            elif not name.endswith(PASSING):
                found[path + name] = self._contents.get(number, b"")
        return found

    def _sync_folder(self, path: Path) -> None:
        self._names[path.stat().st_ino] = {
            entry.name: (entry.inode(), entry.is_dir(follow_symlinks=False))
            for entry in os.scandir(path)
        }


def rows(files: Mapping[str, bytes | None]) -> list[dict[str, Any]]:
    """The journal in these files, as the next daemon would find it, with the texts it refers to."""
    found = _rows(*(files.get(f"spool/journal.sqlite3{end}") for end in ("", "-wal")))
    return [row | {"manifest": _text(files, **row)} for row in found]


def _text(
    files: Mapping[str, bytes | None], number: int, manifest: str | None, **_: object
) -> bytes | None:
    return files[f"spool/.texts/{number}.{manifest}"] if manifest else None


@lru_cache(maxsize=4096)
def _rows(database: bytes | None, log: bytes | None) -> list[dict[str, Any]]:
    if not database and not log:
        return []
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        (Path(folder) / "journal").write_bytes(database or b"")
        if log:
            (Path(folder) / "journal-wal").write_bytes(log)
        with closing(sqlite3.connect(Path(folder) / "journal")) as opened:
            opened.row_factory = sqlite3.Row
            if not opened.execute("SELECT 1 FROM sqlite_master").fetchone():
                return []
            return [dict(row) for row in opened.execute("SELECT * FROM job ORDER BY number")]
