"""The charts, drawn as SVG without scripts or inline styles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.board.view import Day, Duration

SVG = '<svg xmlns="http://www.w3.org/2000/svg"'


def draw(days: Sequence[Day], durations: Sequence[Duration], limit: int) -> dict[str, str]:
    """Return the charts as SVG texts, by name: jobs_per_day and to_signature."""
    peak = max([limit, *(day.jobs for day in days)], default=1) or 1
    bars = "".join(
        f'<rect x="{10 * number}" y="{100 - 100 * day.jobs / peak:.1f}" width="8"'
        f' height="{100 * day.jobs / peak:.1f}"/>'
        for number, day in enumerate(days)
    )
    slowest = max((one.seconds for one in durations), default=1) or 1
    dots = "".join(
        f'<circle cx="{10 * number + 5}" cy="{100 - 95 * one.seconds / slowest:.1f}" r="2"/>'
        for number, one in enumerate(durations)
    )
    return {
        "jobs_per_day": f'{SVG} viewBox="0 0 140 100">{bars}</svg>',
        "to_signature": f'{SVG} viewBox="0 0 500 100">{dots}</svg>',
    }
