"""A report for people: tables on a terminal, plain columns into a pipe, for grep and cut.

Untrusted text is escaped, and nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.jobs.job import ended_as
from daemon.system.printable import printable

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

STATES = {
    "Pending": "waiting",
    "Submitting": "in doubt",
    "Submitted": "to be signed",
    "Signed": "prepared",
    "Rejected": "rejected",
}


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows of cells below their headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a report for a pipe, one row per line."""
    for part in _parts(report):
        if isinstance(part, str):
            yield part
            continue
        table = [part.headings, *part.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = zip(row, widths, strict=True)
            yield "  ".join(cell.ljust(width) for cell, width in cells).rstrip()


def tables(report: Mapping[str, Any]) -> Group:
    """Return a report for a terminal of any width."""
    # Loaded only for a terminal: it takes half as long as everything else.
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown: list[RenderableType] = []
    for part in _parts(report):
        if isinstance(part, str):
            shown.append(Text(part))
            continue
        table = Table(show_edge=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for heading in part.headings:
            table.add_column(heading, overflow="fold")
        for row in part.rows:
            table.add_row(*map(Text, row))
        shown.append(table)
    return Group(*shown)


def _parts(report: Mapping[str, Any]) -> Iterator[str | _Table]:
    """Yield the report's lines and tables, in the order in which they are shown."""
    if "daemon" in report:
        yield _daemon_line(report["daemon"])
        yield ""
    if "jobs" in report:
        rows = [
            (
                job["deviceId"] or job["manifest"],
                job["jobId"],
                ended_as((job["progress"] or {}).get("progress_code")) or STATES[job["state"]],
                _happening(job),
                job["since"],
            )
            for job in report["jobs"]
        ]
        yield _table(("deviceId", "JobId", "state", "what is happening", "since"), rows)
        yield ""
    rows = [
        (
            drive["deviceNode"],
            drive.get("mountPoint") or "not mounted",
            drive["fileSystem"],
            ", ".join(f"{key} {drive[key]}" for key in ("label", "serial", "uuid") if drive[key]),
            drive.get("verdict") or ", ".join(drive["deviceIds"]) or drive["trouble"] or "-",
        )
        for drive in [*report["drives"], *report.get("present", ())]
    ]
    last = "what it is for" if "present" in report else "recognised as"
    yield _table(("drive", "mounted at", "contents", "identities", last), rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> _Table:
    shown = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    return _Table(headings, shown)


def _daemon_line(daemon: Mapping[str, Any]) -> str:
    if not daemon["running"]:
        return "daemon: NOT RUNNING (systemctl start driveprep)"
    pid, folder, scan = (daemon.get(key, "?") for key in ("pid", "folder", "lastScan"))
    line = f"daemon: running, process {pid}; pending/ is {folder}, last scan {scan}"
    if limit := daemon.get("limit"):
        line += f"; polled since {printable(limit)}"
    if service := daemon.get("service"):
        line += f"; SERVICE: {printable(service)}"
    if unreadable := daemon.get("unreadable"):
        line += f"; CANNOT READ {printable(unreadable)}: correct owner and mode of the file"
    return line


def _happening(job: Mapping[str, Any]) -> str:
    """Return one job in one sentence: the obstacle and what to do, or what comes next."""
    if job["state"] == "Rejected":
        reason = job["obstacle"].splitlines()[0]
        place = job.get("reasonFile")
        return f"{reason} (complete: rejected/{place})" if place else reason
    if job["obstacle"]:
        retry = f" Next try at {job['retryAt']}." if job["retryAt"] else ""
        return f"{job['obstacle']}. {job['hint'] or ''}{retry}"
    progress = job["progress"] or {}
    if progress.get("progress_code") not in {None, "Pending"} or job["closed"]:
        return f"{progress['progress_code']}: {progress['progress_message'] or ''}"
    return _prepared(job) if job["state"] == "Signed" else "in progress"


def _prepared(job: Mapping[str, Any]) -> str:
    """Return what is to be done with the drive of a prepared job."""
    until = f"it must arrive before {job['expiresAt']}"
    if job["late"]:
        return f"SHIP IT NOW: {until}"
    if job["unshipped"]:
        return f"SHIP IT: {until}. If it has left: driveprep shipped {job['jobId']}"
    ejected = f" ({job['eject']})" if job.get("eject") else ""
    return f"safe to remove{ejected}; ship it, {until}"
