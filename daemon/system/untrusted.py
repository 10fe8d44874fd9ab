"""Data that anyone may have written."""

from __future__ import annotations

import json


def json_value(data: bytes) -> object:
    """Return the value of a JSON text; None if it is none. Never raises."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
