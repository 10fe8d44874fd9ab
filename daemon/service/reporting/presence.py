"""Whether the service, or the pool, answers: what is reported once when that changes."""

from __future__ import annotations

import threading

from daemon.errors import DriveprepError, InDoubtError, UnreachableError

AWAY, BACK = "away", "back"


class Presence:
    """What the last requests say. Safe to use from several threads; outlives a reload."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_away = False

    def change(self, error: DriveprepError | None) -> str:
        """Return AWAY or BACK if a request (None: it went well) has changed that; else "".

        A refusal is an answer. An error that is not the service's own says nothing.
        """
        is_away = isinstance(error, UnreachableError | InDoubtError)
        return "" if error and not is_away else self.turn(is_away=is_away)

    def turn(self, *, is_away: bool) -> str:
        """Return AWAY or BACK if that has changed; else ""."""
        with self._lock:
            was_away, self._is_away = self._is_away, is_away
        if was_away == is_away:
            return ""
        return AWAY if is_away else BACK
