"""Why the journal cannot be written: SQLite tells only a full disk apart, so it is tried beside it.

A damaged journal, a disk error and a full disk are three different things with three remedies.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from daemon.errors import JournalError, JournalFullError

TRIAL_NAME = ".journal-trial"
TRIAL = b"x" * 4096  # bytes: a page of the database
FULL = {
    errno.ENOSPC: "the disk that holds the journal {path} is full",
    errno.EDQUOT: "the disk quota for the journal {path} is exceeded",
}
BROKEN = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.EREMOTEIO})


def explain(path: Path, error: Exception) -> JournalError | None:
    """Return what a trial write next to the journal at `path` proves; None if it succeeds."""
    code = getattr(error, "errno", None) or _trial(path.parent)
    if code is None:
        return None
    if code in FULL:
        return JournalFullError(
            FULL[code].format(path=path), "Make room on it; driveprep then continues by itself."
        )
    disk = _disk(path.parent)
    if code == errno.EROFS:
        return JournalError(
            f"the disk {disk} that holds the journal {path} is read-only",
            "`dmesg` shows why the kernel made it so. Mend that, mount it writable, and start"
            " driveprep again: it continues where it was. Do not restore the journal.",
            code="journal-read-only",
        )
    if code in BROKEN:
        return JournalError(
            f"the disk {disk} that holds the journal {path} has an error: {os.strerror(code)}",
            "`dmesg` shows the cause. Once the disk works, start driveprep again: it continues"
            " where it was. Do not restore the journal unless `driveprep doctor` finds it damaged.",
            code="journal-disk-error",
        )
    return None


def _trial(folder: Path) -> int | None:
    """Return the errno of writing and syncing a small file in the folder; None if that works."""
    place = folder / TRIAL_NAME
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, TRIAL)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno
    finally:
        with suppress(OSError):
            place.unlink()
    return None


def _disk(folder: Path) -> str:
    """Return the device node of the folder's disk, or its numbers."""
    with suppress(OSError):
        number = folder.stat().st_dev
        name = f"{os.major(number)}:{os.minor(number)}"
        with suppress(OSError):
            node = Path(f"/sys/dev/block/{name}").resolve(strict=True).name
            return f"/dev/{node}"
        return name
    return "?"
