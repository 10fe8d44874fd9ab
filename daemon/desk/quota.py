"""How many jobs the service still makes today: its day is UTC's, and so begins at 00:00 UTC."""

from __future__ import annotations

DAY = 24 * 3600  # seconds
FEW = 5  # jobs left, from which on a person is told


def day_began(now: float) -> float:
    """Return when the service's day began, in seconds since the epoch."""
    return now - now % DAY


def warning(made: int, limit: int) -> str:
    """Return one sentence if few jobs are left of today's; else ""."""
    left = limit - made
    if left > FEW:
        return ""
    if left <= 0:
        return f"all {limit} jobs of today are made; the service makes more from 00:00 UTC"
    verb = "is" if left == 1 else "are"
    return f"{left} of today's {limit} jobs {verb} left, until 00:00 UTC"
