"""What a command asks the daemon, as JSON."""

from __future__ import annotations

import json


def parsed(question: bytes) -> object:
    """Return what a question holds; None if it is no JSON. Never raises."""
    try:
        return json.loads(question)
    except (ValueError, RecursionError):
        return None
