"""Small file systems in memory, to be mounted as drives where no device is needed (root only)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root's rights")


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A new, empty tmpfs at `place`, made if absent; unmounted at the end, whatever happens."""
    place.mkdir(exist_ok=True)
    chosen = ["-o", ",".join(options)] if options else []
    mount("-t", "tmpfs", *chosen, "driveprep-test", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def mount(*arguments: str) -> None:
    """mount(8); its failure shows what it said."""
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
