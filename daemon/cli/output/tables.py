"""A report for people: tables that fit a terminal, and tab-separated lines for a pipe.

Untrusted text is escaped, and nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.cli.output import sentences
from daemon.cli.output.moments import ago
from daemon.jobs.job import ended_as
from daemon.system.printable import printable

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

Report = Mapping[str, Any]

NAMES = ("label", "serial", "uuid", "path")
STATES = {
    "Pending": "waiting",
    "Submitting": "in doubt",
    "Submitted": "to be signed",
    "Signed": "prepared",
    "Rejected": "rejected",
    "Ceded": "elsewhere",
}


OPEN_STATES = ("Submitting", "Submitted", "Signed")  # of jobs that the service has, or may have


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows of cells below their headings. A column without any cell is left out."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]

    def shown(self) -> list[list[str]]:
        """Return headings and rows as they are printed."""
        rows = [["" if cell is None else printable(str(cell)) for cell in row] for row in self.rows]
        kept = [
            number for number, _ in enumerate(self.headings) if any(row[number] for row in rows)
        ]
        return [[row[number] for number in kept] for row in [list(self.headings), *rows]]


def lines(report: Report) -> Iterator[str]:
    """Yield a line for each job of `status`, or drive of `drives`; docs/json.md has the fields."""
    rows = map(_job_line, report["jobs"]) if "jobs" in report else map(_drive_line, _all(report))
    for row in rows:
        yield "\t".join(printable(str(cell)) if cell else "-" for cell in row)


def problems(report: Report) -> Iterator[str]:
    """Yield what is wrong and belongs to no job or drive."""
    if "daemon" in report:
        yield from sentences.problems(report)


def tables(report: Report, now: float) -> Group:
    """Return a report for a terminal of any width. `now` is in seconds since the epoch."""
    # Loaded only for a terminal: it takes half as long as everything else.
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown: list[RenderableType] = []
    for part in _parts(report, now):
        if isinstance(part, str):
            shown.append(Text(part))
            continue
        table = Table(show_edge=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
        headings, *rows = part.shown()
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        shown.append(table)
    return Group(*shown)


def _parts(report: Report, now: float) -> Iterator[str | _Table]:
    """Yield the report's lines and tables, in the order in which they are shown."""
    if "jobs" not in report:
        yield _drives(_all(report))
        return
    if report["daemon"]["running"]:
        yield sentences.header(report, now)
    yield from sentences.problems(report)
    yield ""
    yield _jobs(report["jobs"], now)
    yield ""
    yield _mounted(report["drives"])
    if report["stations"]:
        yield ""
        yield _stations(report["stations"], now)
        yield ""
        yield _elsewhere(report["stations"])


def _jobs(jobs: Sequence[Report], now: float) -> _Table | str:
    if not jobs:
        return "no job: drop a manifest into pending/"
    rows = [
        (
            job.get("bay"),
            job["deviceId"] or job["manifest"],
            job["jobId"],
            _state(job),
            ago(job["since"], now),
            sentences.happening(job),
        )
        for job in jobs
    ]
    return _Table(("bay", "deviceId", "JobId", "state", "since", "what is happening"), rows)


def _mounted(drives: Sequence[Report]) -> _Table | str:
    """Return the drives of `status`, a line each; `drives` has their identities."""
    if not drives:
        return "no drive is mounted"
    rows = [
        (
            one.get("bay"),
            one["deviceNode"],
            one["mountPoint"],
            one["fileSystem"],
            _recognised(one),
        )
        for one in drives
    ]
    return _Table(("bay", "drive", "mounted at", "contents", "recognised as"), rows)


def _stations(stations: Sequence[Report], now: float) -> _Table:
    """Return the other stations of the pool, a line each."""
    rows = [
        (
            one["station"],
            ago(one["seenAt"], now) + (" (gone?)" if one["silent"] else ""),
            one["waiting"] or "",
            *(one["open"].get(state, "") for state in OPEN_STATES),
        )
        for one in stations
    ]
    states = [STATES[state] for state in OPEN_STATES]
    return _Table(("other station", "seen", "manifests waiting", *states), rows)


def _elsewhere(stations: Sequence[Report]) -> _Table | str:
    """Return what has a drive at another station, or waits for a step there."""
    rows = [
        (
            one["station"],
            job["bay"] or ("" if job["isHere"] else "no drive"),
            job["deviceId"],
            job["jobId"],
            STATES[job["state"]],
        )
        for one in stations
        for job in one["jobs"]
    ]
    if not rows:
        return "the other stations have no drive"
    return _Table(("other station", "bay", "deviceId", "JobId", "state"), rows)


def _recognised(one: Report) -> str:
    names = ", ".join(one["deviceIds"]) or one["trouble"] or one["label"] or "-"
    return f"{names} (not in a named bay)" if one["outsideBays"] else names


def _drives(drives: Sequence[Report]) -> _Table:
    rows = [
        (
            one.get("bay"),
            one["deviceNode"],
            one.get("mountPoint") or "not mounted",
            one["fileSystem"],
            ", ".join(f"{key} {one[key]}" for key in NAMES if one[key]),
            one["verdict"],
        )
        for one in drives
    ]
    return _Table(("bay", "drive", "mounted at", "contents", "identities", "what it is for"), rows)


def _job_line(job: Report) -> tuple[object, ...]:
    name = job["deviceId"] or job["manifest"]
    what = sentences.happening(job, is_complete=True)
    return job.get("bay"), name, job["jobId"], _state(job), job["since"], job["code"], what


def _drive_line(one: Report) -> tuple[object, ...]:
    keys = ("deviceNode", "mountPoint", "fileSystem", "label", "serial", "uuid")
    return one.get("bay"), *map(one.get, keys), ", ".join(one["deviceIds"]), one["verdict"]


def _all(report: Report) -> Sequence[Report]:
    return [*report["drives"], *report["present"]]


def _state(job: Report) -> str:
    return ended_as((job["progress"] or {}).get("progress_code")) or STATES[job["state"]]
