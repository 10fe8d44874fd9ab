"""Has a file changed? Asked by those who cannot, or must not, rely on events alone."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[int, ...]


def of(path: Path) -> Stamp:
    """Return what changes whenever a file is written or replaced; () if it cannot be seen."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a path can hold NUL
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
