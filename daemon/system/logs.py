"""Log lines for the person on duty: bay, deviceId and JobId first, then one sentence."""

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
    "bay": "DRIVEPREP_BAY",
    "device_id": "DRIVEPREP_DEVICE_ID",
    "job_id": "DRIVEPREP_JOB_ID",
    "state": "DRIVEPREP_STATE",
}  # what a record knows -> the name by which `journalctl NAME=...` finds it
_of_all: dict[str, str] = {}  # the fields of every record


def name_station(name: str) -> None:
    """Have every further record name this station, as the field DRIVEPREP_STATION."""
    _of_all["DRIVEPREP_STATION"] = printable(name)


class LineFormatter(logging.Formatter):
    """Formats a record as one line, whatever a label or name contains; tracebacks follow it."""

    def __init__(self, form: str = "%(message)s", *, prefixed: bool = False) -> None:
        super().__init__(form)
        self._prefixed = prefixed  # with the level, sd-daemon(3), for journald

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without a traceback."""
        about = [getattr(record, key, "") for key in ("bay", "device_id", "job_id")]
        subject = " ".join(printable(one) for one in about if one)
        record.message = printable(f"{subject}: {record.message}" if subject else record.message)
        prefix = f"<{_level(record)}>" if self._prefixed else ""
        return prefix + super().formatMessage(record)


class JournalHandler(logging.Handler):
    """Sends records with fields to journald; one that it does not accept becomes a line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._lines = logging.StreamHandler(stream)
        self._lines.setFormatter(LineFormatter(prefixed=True))

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; never raises, as logging requires."""
        try:
            known = {name: getattr(record, key, "") for key, name in FIELDS.items()}
            systemd.log(
                MESSAGE=self.format(record),
                PRIORITY=str(_level(record)),
                SYSLOG_IDENTIFIER="driveprep",
                **_of_all,
                **{name: printable(text) for name, text in known.items() if text},
            )
        except OSError:  # journald is being restarted, or the entry is too long for a datagram
            self._lines.emit(record)
        except Exception:  # noqa: BLE001 - a mistake in the log call, for logging to report
            self.handleError(record)


def to_stderr(level: int = logging.INFO) -> None:
    """Send all log lines to standard error, or to journald directly if that is where it leads."""
    handler: logging.Handler
    if _leads_to_journald(sys.stderr):
        handler = JournalHandler(sys.stderr)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # urllib3 logs responses we already log; watchdog would log every write to our own log file.
    for chatty in ("urllib3", "watchdog"):
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _level(record: logging.LogRecord) -> int:
    return LEVELS.get(record.levelno, 3)


def _leads_to_journald(stream: TextIO) -> bool:
    """Return whether JOURNAL_STREAM names this stream; a shell may have inherited the variable."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
