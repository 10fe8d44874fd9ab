"""What people ask the daemon to record in the journal. An order and its answer are JSON texts."""

from __future__ import annotations

import json
from typing import Any

from daemon.errors import DriveprepError
from daemon.jobs.journal import Journal

Answer = dict[str, Any]


def perform(journal: Journal, request: bytes) -> bytes | None:
    """Carry out an order and return the answer; None if the request is no order.

    Safe to repeat. Raises JournalError, and then nothing is recorded.
    """
    try:
        answer = _perform(journal, _parsed(request))
    except _RefusedError as error:
        answer = {"problem": str(error), "hint": error.hint}
    return None if answer is None else json.dumps(answer).encode()


class _RefusedError(DriveprepError):
    """It cannot be done; nothing is recorded."""


def _perform(journal: Journal, order: object) -> Answer | None:
    match order:
        case {"order": "dismiss", "words": list(words)}:
            return {"dismissed": {str(word): journal.dismiss(str(word)) for word in words}}
        case {"order": "dismiss all"}:
            return {"dismissed": {"": journal.dismiss_all()}}
    return None


def _parsed(request: bytes) -> object:
    try:
        return json.loads(request)
    except (ValueError, RecursionError):
        return None
