"""A moment as a person at this machine reads it. JSON and pipes have UTC."""

from __future__ import annotations

from datetime import datetime

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600  # seconds


def ago(timestamp: str, now: float) -> str:
    """Return how long ago a moment was; its local date and time if that is more than a day.

    `timestamp` is in ISO 8601 with its offset, `now` in seconds since the epoch.
    """
    then = datetime.fromisoformat(timestamp)
    passed = now - then.timestamp()
    if not 0 <= passed < DAY:  # the clock of the writer may be ahead
        return _local(then)
    if passed < MINUTE:
        return f"{int(passed)} s ago"
    if passed < HOUR:
        return f"{int(passed // MINUTE)} min ago"
    return f"{int(passed // HOUR)} h ago"


def day(timestamp: str) -> str:
    """Return the local date of a moment, such as 24 Dec."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%-d %b}"


def clock_time(timestamp: str) -> str:
    """Return the local time of a moment, such as 14:05:09."""
    return f"{datetime.fromisoformat(timestamp).astimezone():%H:%M:%S}"


def _local(then: datetime) -> str:
    return f"{then.astimezone():%-d %b %H:%M}"
