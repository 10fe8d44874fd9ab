"""What `status` says in words: its header, what is wrong beside the jobs, and what a job does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from daemon.cli.output.moments import ago, clock_time, day
from daemon.desk import quota
from daemon.system.printable import printable

Report = Mapping[str, Any]

UNPUBLISHED = "another station may still use what was there before"
BY_PRINTER = (None, "printer", "print-command")  # codes of papers that wait for their printer


def header(report: Report, now: float) -> str:
    """Return one line about a running daemon: whether the service is reachable, and its scans."""
    daemon = report["daemon"]
    scan = daemon.get("lastScan")
    service = {None: "not asked yet", "": "reachable"}.get(daemon.get("service"), "AWAY")
    scanned = f"last scan {ago(scan, now)}" if scan else "not scanned yet"
    printer = {None: "", "": "printer: reachable; "}.get(daemon.get("printer"), "printer: AWAY; ")
    folder = f"pending/: {daemon.get('folder', '?')}, {scanned}"
    station = "" if report["stations"] is None else f"station: {printable(report['station'])}; "
    return f"{station}daemon: running; service: {service}; {printer}{folder}"


def problems(report: Report) -> Iterator[str]:
    """Yield a line for each thing that is wrong and belongs to no job."""
    daemon = report["daemon"]
    if not daemon["running"]:
        yield "daemon: NOT RUNNING (systemctl start driveprep)"
    if service := daemon.get("service"):
        yield f"SERVICE: {printable(service)}"
    if pool := daemon.get("pool"):
        yield f"POOL: {printable(pool)}"
    if unpublished := daemon.get("unpublished"):
        yield f"NOT IN THE POOL YET: changes of {printable(unpublished)}; {UNPUBLISHED}"
    if printer := daemon.get("printer"):
        yield f"PRINTER: {printable(printer)}"
    if limit := daemon.get("limit"):
        yield f"POLLED: {printable(limit)}"
    if unreadable := daemon.get("unreadable"):
        yield f"CANNOT READ {printable(unreadable)}: correct owner and mode of the file"
    if few := quota.warning(report["today"]["jobs"], report["today"]["limit"]):
        yield f"DAILY LIMIT: {few}"
    for one in report["ignored"]:
        yield f"IGNORED in pending/: {printable(one['name'])} ({one['reason']})"


def happening(job: Report, *, is_complete: bool = False) -> str:
    """Return one job in one sentence: the obstacle and what to do, or what comes next.

    If it `is_complete`, as in a pipe, what is usual is not shortened, and times are UTC.
    """
    if job["state"] == "Rejected":
        reason = job["obstacle"].splitlines()[0]
        place = job.get("reasonFile")
        return f"{reason} (complete: rejected/{place})" if place else reason
    if job["obstacle"]:
        return _waiting(job, is_complete=is_complete) + _warning(job)
    progress = job["progress"] or {}
    if progress.get("progress_code") not in {None, "Pending"} or job["closed"]:
        return f"{progress['progress_code']}: {progress['progress_message'] or ''}"
    if job["state"] != "Signed":
        return "in progress"
    end = job["expiresAt"] if is_complete else day(job["expiresAt"])
    return _prepared(job, end) + _contents(job)


def _waiting(job: Report, *, is_complete: bool) -> str:
    absent = f"no mounted drive matches {printable(job['deviceId'])}"
    if (job["code"], job["obstacle"]) == ("drive-absent", absent) and not is_complete:
        return "plug in and mount its drive"
    retry = ""
    if at := job["retryAt"]:
        retry = f" Next try at {at if is_complete else clock_time(at)}."
    return f"{job['obstacle']}. {job['hint'] or ''}{retry}"


def _warning(job: Report) -> str:
    """Return the first of what may go wrong once the drive is there."""
    if not job["warnings"]:
        return ""
    more = len(job["warnings"]) - 1
    others = f" (and {more} more: driveprep show {job['deviceId']})" if more else ""
    first = job["warnings"][0]
    hint = f". {first['hint']}" if first["hint"] else ""
    return f". WARNING: {first['text']}{hint}{others}"


def _contents(job: Report) -> str:
    found = job["drive"].get("contents")
    return f". NOT EMPTY: {found}; the service may erase it" if found else ""


def _prepared(job: Report, end: str) -> str:
    """Return what is to be done with the drive of a prepared job, which expires at `end`."""
    if job["late"]:
        return f"SHIP IT NOW: it must arrive before {end}"
    if job["unshipped"]:
        left = f"If it has left: driveprep shipped {job['jobId']}"
        return f"SHIP IT: it must arrive before {end}. {left}"
    ejected = f" ({job['eject']})" if job.get("eject") else ""
    return f"safe to remove{ejected}; must arrive before {end}{_unprinted(job)}"


def _unprinted(job: Report) -> str:
    """Return which papers are not printed; why, where that is not the printer's own line."""
    waiting = [one for one in job.get("printing", ()) if not one["printedAt"]]
    said = [f"{one['obstacle']}. {one['hint']}" for one in waiting if one["code"] not in BY_PRINTER]
    plain = [one["paper"] for one in waiting if one["code"] in BY_PRINTER]
    sentences = [f"{' and '.join(plain)} not printed yet", *said] if plain else said
    return "".join(f"; {one}" for one in sentences)
