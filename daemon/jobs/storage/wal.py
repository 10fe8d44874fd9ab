"""Has SQLite's write-ahead log lost commits? SQLite itself drops a damaged tail without a word.

The format is that of sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

LOG_HEADER = struct.Struct(">8I")  # 4.1: the WAL header
FRAME_HEADER = struct.Struct(">6I")  # 4.2: page, size after a commit, two salts, two sums
LOG_MAGIC = 0x377F0682  # its last bit says in which byte order the sums are made


def check(path: Path) -> None:
    """Raise sqlite3.DatabaseError if the log of the database at `path` has lost commits.

    SQLite reads the log up to the first frame that is not as it was written. One commit behind
    that frame can be one that a power cut tore before it was reported as done; with two of them,
    at least one was synced and has been damaged since.
    """
    log, index = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
    # SQLite makes the log before its index, and removes it after.
    if index.exists() and not log.exists():
        raise sqlite3.DatabaseError(f"its log {log.name} is missing")
    if log.exists() and _commits_cut_off(log, path.stat().st_size if path.exists() else 0) > 1:
        raise sqlite3.DatabaseError(f"its log {log.name} is damaged")


def _commits_cut_off(log: Path, database_bytes: int) -> int:
    """Return how many commits are in the log behind the place up to which SQLite can read it.

    A torn frame can look like the last one of a commit; not if the database would be too large.
    """
    log_bytes = log.stat().st_size
    if log_bytes <= LOG_HEADER.size:
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
        most = (database_bytes + log_bytes) // page_size  # pages
        while len(frame := file.read(size)) == size:
            _, size_after_commit, *found_salts, first, second = FRAME_HEADER.unpack_from(frame)
            if is_whole:
                sums = _sums(order, frame[:8] + frame[FRAME_HEADER.size :], sums)
                is_whole = found_salts == salts and sums == (first, second)
            if not is_whole:
                commits += 0 < size_after_commit <= most and found_salts == salts
        return commits


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Return the checksum, which continues from one frame to the next (4.2)."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
