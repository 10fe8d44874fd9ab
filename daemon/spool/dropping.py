"""What others put into pending/, and how: manifests under usable names, and requests to retry."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext, suppress
from itertools import islice
from pathlib import Path
from urllib.parse import quote, unquote

from daemon.spool.filing import REASON
from daemon.system import durable

SUFFIXES = (".yml", ".yaml", ".manifest", ".txt")
UNFINISHED = (".part", ".tmp", ".swp")
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
# What link(2) says where the file system has no hard links.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
QUESTION = ".ask-"  # questions and orders of commands
RETRY = ".retry-"  # an empty file of this name asks for a deviceId to be tried again at once
SAME_DRIVE = ".same-drive-"  # the same, and confirms that the drive has only another bridge


def is_manifest_name(name: str) -> bool:
    """Return whether a file in pending/ with this name can be a manifest."""
    return not why_ignored(name)


def why_ignored(name: str) -> str:
    """Return why a file in pending/ with this name is no manifest; "" if it can be one.

    The temporary files of editors and copy programs cannot.
    """
    lower = name.lower()
    if name.startswith("."):
        return "its name begins with a dot"
    if name.startswith("~") or name.endswith("~"):
        return "it is an editor's copy"
    if lower.endswith(REASON):  # moved back together with its manifest
        return "it is the reason of a rejection"
    if lower.endswith(UNFINISHED) or lower.rpartition(".")[0].endswith(UNFINISHED):
        return "it is not complete yet, by its name"
    return "" if lower.endswith(SUFFIXES) else f"manifests end with {', '.join(SUFFIXES)}"


def ignored(pending: Path, limit: int) -> Iterator[tuple[str, str]]:
    """Yield up to `limit` names in pending/ that no manifest has, each with the reason.

    A folder is one whatever its name is. Requests and questions of commands are not among them.
    """
    with os.scandir(pending) as entries:
        unread = ((one.name, _why_unread(one)) for one in entries if not _is_request(one.name))
        yield from islice(((name, why) for name, why in unread if why), limit)


def _why_unread(one: os.DirEntry[str]) -> str:
    is_folder = one.is_dir(follow_symlinks=False)
    return "it is a folder" if is_folder else why_ignored(one.name)


def _is_request(name: str) -> bool:
    return name.startswith((RETRY, SAME_DRIVE, QUESTION)) or (name[:1], name[-5:]) == (".", ".part")


def safe_name(text: str) -> str:
    """Return `text` as one path component: no slash, no leading dot or dash, 64 characters."""
    return UNSAFE.sub("_", text)[:64].lstrip(".-") or "_"


def drop(pending: Path, name: str, data: bytes) -> Path:
    """Put a manifest into pending/: written whole, synced, then renamed.

    On a file system that can neither rename without replacing nor link, it is written under its
    name at once; closing the file then shows the daemon that it is complete. Raises
    FileExistsError when the name is taken, and OSError.
    """
    drop_all(pending, {name: data})
    return pending / name


def drop_all(pending: Path, files: Mapping[str, bytes]) -> None:
    """Put several manifests into a folder, all or none, each like `drop`.

    All are on the disk before the first gets its name. Raises FileExistsError when a name is taken,
    and OSError; then, and after Ctrl-C, none of them is there.
    """
    # Another process may drop the same names just now.
    partials = {name: f".{os.getpid()}-{number}.part" for number, name in enumerate(files)}
    with durable.folder(pending) as folder, ExitStack() as dropped, ExitStack() as written:
        for name, partial in partials.items():
            durable.discard(folder, partial)
            written.callback(_forget, folder, partial)
            durable.create(folder, partial, files[name], 0o660)
        for name, partial in partials.items():
            _give_name(folder, partial, name, files[name])
            dropped.callback(durable.discard, folder, name)
        durable.sync(folder)
        dropped.pop_all()


def _forget(folder: int, partial: str) -> None:
    """Remove a temporary file; where that fails, it stays and no one reads it."""
    with suppress(OSError):
        durable.discard(folder, partial)


def _give_name(folder: int, partial: str, name: str, data: bytes) -> None:
    """Rename: the daemon sees a file that is complete, and does not change any more."""
    try:
        durable.rename_to_free(folder, partial, name)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        durable.create(folder, name, data, 0o660)


def ask_to_retry(pending: Path, device_id: str, *, same_drive: bool = False) -> None:
    """Leave a request in pending/ to try a deviceId again at once. Idempotent. Raises OSError.

    With `same_drive` a person confirms that its drive only has another USB bridge.
    """
    prefix = SAME_DRIVE if same_drive else RETRY
    with durable.folder(pending) as folder, suppress(FileExistsError):
        durable.create(folder, prefix + quote(device_id, safe=""), b"", 0o660)


def take_requests(pending: Path, names: Iterable[str], prefix: str) -> list[str]:
    """Return the deviceIds of the requests with this prefix, and remove the requests."""
    requests = [name for name in names if name.startswith(prefix)]
    taken = []
    with durable.folder(pending) if requests else nullcontext() as folder:
        for name in requests:
            with suppress(OSError):  # a folder of that name is not a request; others are gone
                os.unlink(name, dir_fd=folder)
                taken.append(unquote(name.removeprefix(prefix)))
    return taken
