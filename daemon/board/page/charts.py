"""The charts, drawn as SVG without scripts or inline styles; the style sheet has the colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemon.board.view import Day, Duration

WIDTH, HEIGHT, FOOT = 280, 96, 14  # units; text below the foot line
LIMIT_ROOM = 10  # above the highest bar


def draw(days: Sequence[Day], durations: Sequence[Duration], limit: int) -> dict[str, str]:
    """Return the charts as SVG texts, by name: jobs_per_day and to_signature."""
    return {
        "jobs_per_day": _svg(_bars(days, limit)),
        "to_signature": _svg(_dots(durations)),
    }


def _svg(parts: Iterator[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + FOOT}">'
    return f"{head}{''.join(parts)}</svg>"


def _bars(days: Sequence[Day], limit: int) -> Iterator[str]:
    if not days:
        return
    peak = max(limit, *(day.jobs for day in days), 1)
    step = WIDTH / len(days)

    def top(jobs: int) -> float:
        return HEIGHT - (HEIGHT - LIMIT_ROOM) * jobs / peak

    for number, day in enumerate(days):
        kind = "bar today" if number == len(days) - 1 else "bar"
        height = max(1.0, HEIGHT - top(day.jobs))
        yield (
            f'<rect class="{kind}" x="{number * step + 2:.1f}" y="{HEIGHT - height:.1f}"'
            f' width="{step - 4:.1f}" height="{height:.1f}" rx="1.5"/>'
        )
    yield f'<path class="limit" d="M0 {top(limit):.1f}H{WIDTH}"/>'
    yield _text(WIDTH, top(limit) - 2, f"limit {limit}", "end")
    yield _text(0, HEIGHT + 10, days[0].date)
    yield _text(WIDTH, HEIGHT + 10, "today", "end")


def _dots(durations: Sequence[Duration]) -> Iterator[str]:
    if not durations:
        yield _text(0, HEIGHT / 2, "no drive was signed yet")
        return
    seconds = [one.seconds for one in durations]
    highest = max(*seconds, 0.001) if len(seconds) > 1 else max(seconds[0], 0.001)
    step = WIDTH / max(len(seconds), 10)
    for number, value in enumerate(seconds):
        y = HEIGHT - 4 - (HEIGHT - LIMIT_ROOM) * value / highest
        yield f'<circle class="dot" cx="{(number + 0.5) * step:.1f}" cy="{y:.1f}" r="2.4"/>'
    yield f'<path class="limit" d="M0 {HEIGHT}H{WIDTH}"/>'
    median = sorted(seconds)[len(seconds) // 2]
    yield _text(0, HEIGHT + 10, f"median {_length(median)}, slowest {_length(max(seconds))}")


def _length(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    """Return a text; it is only ever a number, a date or a word of ours."""
    return f'<text x="{x:.0f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
