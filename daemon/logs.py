"""Lines for the person on duty: deviceId and JobId first, then one sentence."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from daemon.printable import printable

# sd-daemon(3): journald takes the level of a line from this prefix.
LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class Lines(logging.Formatter):
    """One line a record, whatever a label or a name holds; tracebacks below it as they are."""

    def __init__(self, *, journald: bool) -> None:
        super().__init__("%(message)s" if journald else "%(asctime)s %(levelname)s %(message)s")
        self._journald = journald

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        about = (getattr(record, "device_id", ""), getattr(record, "job_id", ""))
        subject = " ".join(printable(one) for one in about if one)
        record.message = printable(f"{subject}: {record.message}" if subject else record.message)
        prefix = f"<{LEVELS.get(record.levelno, 3)}>" if self._journald else ""
        return prefix + super().formatMessage(record)


def to_stderr(level: int = logging.INFO) -> None:
    """Send all log lines to standard error, in journald's form if that is where it leads."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(journald=_leads_to_journald(sys.stderr)))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("barcode", "urllib3"):  # they tell of Pillow, and of answers that we tell of
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _leads_to_journald(stream: TextIO) -> bool:
    """Whether JOURNAL_STREAM names this stream; a terminal's shell may have inherited it."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
