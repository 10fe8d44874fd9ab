"""The steps by which a file moves from pending/ to its final place, or back.

Everything is relative to folders' descriptors. Each step may be interrupted and repeated; nothing
is overwritten, and nothing is lost that an editor saves meanwhile. Errors are OSErrors.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path

from daemon.system import durable

REASON = ".reason.txt"
PARTIAL = ".partial"
BEFORE = "-before"  # ends the name of a folder with papers that are out of date
MAX_NAME_BYTES = 200  # in rejected/; with a number and REASON it stays below NAME_MAX, 255
WHOLE = 1 << 40  # bytes: more than any file that is dropped here
READ_LIMIT = 64 * 1024 + 1  # bytes: enough to see that a file is longer than a manifest may be


def digest(data: bytes) -> str:
    """Return the sha256 by which texts are compared."""
    import hashlib  # noqa: PLC0415 - an idle daemon stays small: it brings OpenSSL, 4 MiB

    return hashlib.sha256(data).hexdigest()


def is_same(pending: int, name: str, sha256: str) -> bool:
    """Return whether pending/`name` exists and is still what it was when it was read."""
    try:
        return digest(durable.read(pending, name, READ_LIMIT)) == sha256
    except FileNotFoundError:
        return False
    except OSError:  # it cannot be read, and could not be then
        return not sha256


def place_with(rejected: int, name: str, reason: bytes) -> str:
    """Return the first numbered form of `name` that is free or was left with this reason."""
    for place in numbered(name):
        is_taken = exists(rejected, place + REASON)
        if is_taken and holds(rejected, place + REASON, reason):
            return place
        if not is_taken and not exists(rejected, place):
            return place
    raise AssertionError("numbers never end")


def reason_of(rejected: Path, name: str, mark: str) -> str:
    """Return the name of the file in rejected/ that has the reason with `mark`; "" if none is seen.

    A name can be rejected several times.
    """
    with suppress(OSError):
        for place in numbered(name):
            if mark in (rejected / (place + REASON)).read_text("utf-8", "replace"):
                return place + REASON
    return ""


def has_papers(prepared: int, folder: str, files: Mapping[str, bytes]) -> bool:
    """Return whether `folder` exists with these files, such as by a call that was interrupted."""
    with suppress(OSError), durable.folder(folder, prepared) as there:
        return all(holds(there, name, data) for name, data in files.items())
    return False


def set_aside(prepared: int, folder: str) -> None:
    """Give what has the name `folder` another one: the papers of a job before it was updated."""
    for place in numbered(f"{folder}{BEFORE}"):
        if not exists(prepared, place):
            os.rename(folder, place, src_dir_fd=prepared, dst_dir_fd=prepared)
            durable.sync(prepared)
            return


def write_folder(here: int, prepared: int, place: str, files: Mapping[str, bytes]) -> None:
    """Write a folder next to prepared/, where no one expects papers, and move it there whole."""
    partial = f".{place}{PARTIAL}"
    with suppress(FileExistsError):  # of a crash: its files are replaced one by one
        os.mkdir(partial, 0o750, dir_fd=here)
    with durable.folder(partial, here) as target:
        for name, data in files.items():
            durable.discard(target, name)
            durable.create(target, name, data, 0o640)
        durable.sync(target)
    durable.move(here, partial, prepared, place)


def clear_folder(here: int, partial: str, files: Mapping[str, bytes]) -> None:
    """Remove what a rename that was not synced on both sides has left, if anything."""
    with suppress(FileNotFoundError), durable.folder(partial, here) as target:
        for name in files:
            durable.discard(target, name)
        os.rmdir(partial, dir_fd=here)
        durable.sync(here)


def create(folder: int, name: str, data: bytes, mode: int) -> None:
    """Create a file, whole or not at all, in a folder that only this process writes to."""
    durable.replace(folder, name, data, partial=PARTIAL, mode=mode)


def numbered(name: str) -> Iterator[str]:
    """Yield `name`, then forms of it with numbers; shortened, and escaped if it is not UTF-8."""
    suffix = Path(name).suffix
    stem = os.fsencode(Path(name).stem)[:MAX_NAME_BYTES].decode("utf-8", "backslashreplace")
    yield f"{stem}{suffix}"
    for number in count(2):
        yield f"{stem}-{number}{suffix}"


def take(pending: int, taken: int, name: str, sha256: str) -> bool:
    """Move the file with `sha256` out of its editors' reach; return whether it was still that one.

    Only a file that has been moved can be compared and then removed with nothing saved between.
    """
    if is_same(pending, name, sha256):
        with suppress(FileNotFoundError):
            _move_aside(pending, taken, name)
    if not exists(taken, name):  # it may be there since a call that was interrupted
        return False
    if is_same(taken, name, sha256):
        return True
    put_back(taken, pending, name)
    return False


def put_back(taken: int, pending: int, name: str) -> None:
    """Move a file back to pending/, with a number if its name is taken by now."""
    for place in numbered(name):
        try:  # unlike a rename, a link never replaces what was dropped just now
            os.link(name, place, src_dir_fd=taken, dst_dir_fd=pending, follow_symlinks=False)
        except FileExistsError:
            if not are_same(taken, name, pending, place):  # of a call that was interrupted
                continue
        except PermissionError:  # a folder has no second link
            os.rename(name, place, src_dir_fd=taken, dst_dir_fd=pending)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            if not exists(pending, place):
                durable.create(pending, place, durable.read(taken, name, WHOLE), 0o660)
            elif not are_same(taken, name, pending, place):
                continue
        break
    durable.sync(pending)  # before its other name goes
    forget(pending, taken, name)


def _move_aside(pending: int, taken: int, name: str) -> None:
    """Rename, or copy where pending/ is a mount of its own, such as a network folder."""
    try:
        os.rename(name, name, src_dir_fd=pending, dst_dir_fd=taken)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        create(taken, name, durable.read(pending, name, WHOLE), 0o600)
        durable.discard(pending, name)


def are_same(folder: int, name: str, other: int, other_name: str) -> bool:
    """Return whether two files can be read and have the same contents."""
    with suppress(OSError):
        return durable.read(folder, name, READ_LIMIT) == durable.read(other, other_name, READ_LIMIT)
    return False


def forget(pending: int, taken: int, name: str) -> None:
    """Remove a taken file for good, under both its names."""
    durable.discard(taken, name)
    durable.sync(taken)
    durable.sync(pending)


def holds(folder: int, name: str, data: bytes) -> bool:
    """Return whether a file can be read and its contents are `data`."""
    try:
        return durable.read(folder, name, len(data) + 1) == data
    except OSError:
        return False


def exists(folder: int, name: str) -> bool:
    """Return whether the name exists, even as a dangling link."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
