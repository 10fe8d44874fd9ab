"""udev's database for drives on loop devices, which have no port, serial or WWN of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import private_mounts
import pytest
from loop_drives import run

DATA = Path("/run/udev/data")


class UdevDatabase:
    """What udevd would write, in a /run of the test's own."""

    def describe(self, device: str, **properties: str) -> None:
        """Have udev know these properties of a device, and what blkid finds on it."""
        number = os.stat(device).st_rdev
        blkid = ["blkid", "-p", "-o", "udev", device]  # ends with 2 if nothing is on it
        done = subprocess.run(blkid, capture_output=True, text=True, check=False)
        found = done.stdout.splitlines()
        lines = ["I:1", *(f"E:{line}" for line in found)]
        lines += [f"E:{name}={value}" for name, value in properties.items()]
        place = DATA / f"b{os.major(number)}:{os.minor(number)}"
        place.write_text("\n".join(lines) + "\n")


@pytest.fixture
def udev() -> Iterator[UdevDatabase]:
    """An empty database. The mounts of the tests are their own, so no other program sees it."""
    place = Path("/run/udev") if Path("/run/udev").is_dir() else Path("/run")
    run("mount", "-t", "tmpfs", private_mounts.SOURCE, place)
    DATA.mkdir(parents=True)
    yield UdevDatabase()
    subprocess.run(["umount", "--lazy", place], check=True)
