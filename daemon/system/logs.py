"""Lines for the person on duty: deviceId and JobId first, then one sentence."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from daemon.system import systemd
from daemon.system.printable import printable

# syslog(3), as sd-daemon(3) and systemd.journal-fields(7) number them.
LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
FIELDS = {
    "device_id": "DRIVEPREP_DEVICE_ID",
    "job_id": "DRIVEPREP_JOB_ID",
    "state": "DRIVEPREP_STATE",
}  # what a record knows -> the name by which `journalctl NAME=...` finds it


class Lines(logging.Formatter):
    """One line a record, whatever a label or a name holds; tracebacks below it as they are."""

    def __init__(self, form: str = "%(message)s", *, prefixed: bool = False) -> None:
        super().__init__(form)
        self._prefixed = prefixed  # as sd-daemon(3) has it, for a stream that leads to journald

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback."""
        about = (getattr(record, "device_id", ""), getattr(record, "job_id", ""))
        subject = " ".join(printable(one) for one in about if one)
        record.message = printable(f"{subject}: {record.message}" if subject else record.message)
        prefix = f"<{_level(record)}>" if self._prefixed else ""
        return prefix + super().formatMessage(record)


class Entries(logging.Handler):
    """Entries with fields, straight to journald; one that it does not take becomes a line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.setFormatter(Lines())
        self._lines = logging.StreamHandler(stream)
        self._lines.setFormatter(Lines(prefixed=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; never raises, as logging wants it."""
        try:
            known = {name: getattr(record, key, "") for key, name in FIELDS.items()}
            systemd.log(
                MESSAGE=self.format(record),
                PRIORITY=str(_level(record)),
                SYSLOG_IDENTIFIER="driveprep",
                **{name: printable(text) for name, text in known.items() if text},
            )
        except OSError:  # it is being restarted, or the entry is too long for a datagram
            self._lines.emit(record)
        except Exception:  # noqa: BLE001 - a fault of the caller's words, for logging to tell
            self.handleError(record)


def to_stderr(level: int = logging.INFO) -> None:
    """Send all log lines to standard error; to journald itself if that is where it leads."""
    handler: logging.Handler
    if _leads_to_journald(sys.stderr):
        handler = Entries(sys.stderr)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They tell of answers that we tell of, and of the very log file that is written.
    for chatty in ("urllib3", "watchdog"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _level(record: logging.LogRecord) -> int:
    return LEVELS.get(record.levelno, 3)


def _leads_to_journald(stream: TextIO) -> bool:
    """Whether JOURNAL_STREAM names this stream; a terminal's shell may have inherited it."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
