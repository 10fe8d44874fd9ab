"""Write, sync, rename: what a function here has returned from survives a power cut.

Everything is relative to a folder's descriptor and follows no link, so a path that changes
underneath cannot lead a write elsewhere. Errors are the kernel's own `OSError`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
CHUNK = 1 << 20  # bytes: read(2) gets a buffer of the size that is asked for
# O_NONBLOCK: opening a FIFO in the place of a file must not wait for a writer.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

RENAME_NOREPLACE = 1  # linux/fs.h
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def folder(path: str | Path, parent: int | None = None) -> Iterator[int]:
    """A descriptor of the folder at `path`, closed at the end; never of a link to one."""
    descriptor = os.open(path, FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create(parent: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Make a new file with `data`, synced; its name is durable after `sync`.

    A mode that lets all others read is meant so, whatever the umask is; not every mount has modes.
    Raises FileExistsError when the name is taken. When writing fails, the name is free again.
    """
    descriptor = os.open(name, CREATE, mode, dir_fd=parent)
    try:
        if mode & 0o007:
            with suppress(OSError):
                os.fchmod(descriptor, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=parent)
        raise
    finally:
        os.close(descriptor)


def replace(parent: int, name: str, data: bytes, *, partial: str, mode: int = 0o600) -> None:
    """Put `data` at `name`, whole or not at all, by way of the name `partial`. Idempotent.

    The file is synced once more under its new name: NTFS keeps a file's name in its own record,
    too, and the drivers ntfs3 and ntfs of Linux do not write that record back with the folder.
    """
    discard(parent, partial)
    create(parent, partial, data, mode)
    try:
        os.rename(partial, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        with suppress(OSError):
            os.unlink(partial, dir_fd=parent)
        raise
    _sync_file(parent, name)
    sync(parent)


def add(parent: int, name: str, data: bytes, *, partial: str, mode: int = 0o600) -> None:
    """Put `data` at the free `name`, whole or not at all, by way of the name `partial`.

    The last step cannot replace a file. Raises FileExistsError when the name is taken, even if no
    listing shows it. Synced like `replace`.
    """
    discard(parent, partial)
    create(parent, partial, data, mode)
    try:
        _rename_to_free(parent, partial, name)
    except OSError:
        with suppress(OSError):
            os.unlink(partial, dir_fd=parent)
        raise
    _sync_file(parent, name)
    sync(parent)


def read(parent: int, name: str, limit: int) -> bytes:
    """The first `limit` bytes of a regular file.

    Raises FileNotFoundError; OSError for a link (ELOOP) or anything but a regular file.
    """
    descriptor = os.open(name, READ, dir_fd=parent)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{name} is not a regular file")
        parts = []
        while limit > 0 and (part := os.read(descriptor, min(limit, CHUNK))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def move(source: int, name: str, target: int, new_name: str) -> None:
    """Rename between two folders of one file system, both synced, the new name first."""
    os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
    sync(target)
    sync(source)


def discard(parent: int, name: str) -> None:
    """Remove a file's name if it is there. Idempotent; durable after `sync`."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


def sync(parent: int) -> None:
    """Make the names in a folder durable."""
    os.fsync(parent)


def rename_to_free(parent: int, old: str, new: str) -> None:
    """Rename within a folder. Raises FileExistsError when the name is taken."""
    _rename_to_free(parent, old, new)


def _rename_to_free(parent: int, old: str, new: str) -> None:
    """Rename within a folder, but never over a file: renameat2(2) with RENAME_NOREPLACE.

    ntfs-3g rejects that flag. There a second name is made, which fails where one exists, and the
    first is removed; a crash in between leaves two names of one file.
    """
    sys.audit("os.rename", old, new, parent, parent)  # like os.rename, PEP 578
    if _LIBC.renameat2(parent, os.fsencode(old), parent, os.fsencode(new), RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
        raise OSError(code, os.strerror(code), new)
    os.link(old, new, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    os.unlink(old, dir_fd=parent)


def _sync_file(parent: int, name: str) -> None:
    descriptor = os.open(name, READ, dir_fd=parent)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
