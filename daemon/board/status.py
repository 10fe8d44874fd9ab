"""`status --json` by a process of its own: with ten thousand jobs it needs more than the board has.

What it printed is in a file without a name, and is sent from there in pieces.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from daemon.config import loading
from daemon.desk import report
from daemon.drives.inventory import Drives
from daemon.errors import DriveprepError
from daemon.system import programs

SECONDS = 60.0
PIECE = 64 * 1024  # bytes
# The Debian package lies outside of Python's path.
PLACE = Path(__file__).resolve().parents[2]
CODE = (
    f"import sys; sys.path.insert(0, {str(PLACE)!r}); import daemon.board.status as one; one.main()"
)


@dataclass(frozen=True, slots=True)
class Status:
    """Makes the report. `table` is the mount table to show; None: the board's own."""

    config: Path
    table: Path | None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pieces(self) -> Iterator[bytes]:
        """Return the report in pieces. Raises DriveprepError. For a thread; one at a time."""
        command = [sys.executable, "-P", "-c", CODE, str(self.config), str(self.table or "")]
        output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when it is sent
        with self.lock:
            process = programs.start(command, programs.environment(None), output)
            until = time.monotonic() + SECONDS
            while not process.has_ended() and time.monotonic() < until:
                time.sleep(0.02)
            process.stop(1.0)
        output.seek(0)
        if output.read(1) != "{":
            raise DriveprepError("the report could not be made", "driveprep status")
        output.seek(0)
        return _read(output)


def _read(output: IO[str]) -> Iterator[bytes]:
    with output:
        while piece := output.read(PIECE):
            yield piece.encode()


def main() -> None:
    """Print the report."""
    config, table = sys.argv[1:]
    settings = loading.load(Path(config), {}, with_credentials=False)
    drives = Drives(table=Path(table) if table else None)
    sys.stdout.write(json.dumps(report.status(settings, drives.mounted()), indent=2) + "\n")
