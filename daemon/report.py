"""What `status` and `drives` show: the journal's jobs and the machine's drives, for eyes or JSON.

Reads only; works beside a running daemon and without one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from daemon import history, recognition
from daemon.config import Config
from daemon.drive import Drive, Unmounted
from daemon.drives import capacity
from daemon.job import Job, Rejected, Signed, Submitted, expires_at, is_late
from daemon.pairing import Pairing, named
from daemon.printable import printable, timestamp
from daemon.verdicts import Verdicts

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

VERSION = 1  # of the JSON; it changes when a field goes or changes its meaning
SHOWN_SECONDS = 7 * 24 * 3600  # how long a job that is over stays in view

IDENTITIES = (
    *("deviceNode", "mountPoint", "mountType", "fileSystem", "label"),
    *("uuid", "partuuid", "serial", "wwn", "model"),
)  # None where a drive has none

STATES = {
    "Pending": "waiting",
    "Submitting": "in doubt",
    "Submitted": "to be signed",
    "Signed": "prepared",
    "Rejected": "rejected",
}

Report = dict[str, object]


def status(settings: Config, mounted: Sequence[Drive]) -> Report:
    """Everything `status` knows, as JSON has it."""
    daemon = history.told(settings.spool)
    recent = history.recent(settings.spool, time.time() - SHOWN_SECONDS)
    return {
        "version": VERSION,
        "daemon": {"running": daemon is not None, **(daemon or {})},
        "jobs": [_job(job, is_running=daemon is not None) for job in recent],
        "drives": [_drive(drive, settings) for drive in mounted],
    }


def drives(settings: Config, mounted: Sequence[Drive], present: Sequence[Unmounted]) -> Report:
    """Every mounted drive, and every device that could be mounted, as JSON has it."""
    jobs = [
        job
        for job in history.recent(settings.spool, time.time())
        if not job.is_closed and job.device_id
    ]
    pairing = Pairing(named(jobs), mounted, present, settings.devices, settings.require_mapping)
    verdicts = Verdicts(jobs, pairing)
    return {
        "version": VERSION,
        "drives": [
            _drive(drive, settings) | {"verdict": verdicts.of(drive)} | _capacity(drive, settings)
            for drive in mounted
        ],
        "present": [
            {
                **dict.fromkeys(IDENTITIES),
                **one.identities(),
                "deviceIds": _device_ids(one, settings),
                "verdict": verdicts.of_unmounted(one),
            }
            for one in present
        ],
    }


def _capacity(drive: Drive, settings: Config) -> Report:
    """Asked only of drives that are ours: a drive of somebody else may hang."""
    if not _device_ids(drive, settings):
        return {"freeBytes": None, "sizeBytes": None}
    free, size = capacity(drive)
    return {"freeBytes": free, "sizeBytes": size}


def _job(job: Job, *, is_running: bool) -> Report:
    entry: Report = {
        "deviceId": job.device_id,
        "state": type(job.state).__name__,
        "jobId": job.job_id or None,
        "manifest": job.name,
        "since": timestamp(job.since),
        "obstacle": None,
        "hint": None,
        "retryAt": None,
        "safeToRemove": isinstance(job.state, Signed),
        "closed": job.is_closed,
        "progress": asdict(job.progress) if job.progress else None,
    }
    if isinstance(job.state, Submitted | Signed):
        entry["shippingAddress"] = job.state.shipping_address
        entry["drive"] = dict(job.state.drive)
        entry["expiresAt"] = timestamp(expires_at(job.state))
        entry["late"] = is_late(job)
    if isinstance(job.state, Rejected):
        entry["obstacle"] = job.state.reason
    elif not job.filed and not is_running:
        entry["obstacle"] = "the driveprep daemon is not running"
        entry["hint"] = "Start it: systemctl start driveprep"
    elif job.obstacle:
        entry["obstacle"], entry["hint"] = job.obstacle.reason, job.obstacle.hint
        entry["retryAt"] = timestamp(job.obstacle.retry_at) if job.obstacle.retry_at else None
    return entry


def _drive(drive: Drive, settings: Config) -> Report:
    return {
        **dict.fromkeys(IDENTITIES),
        **drive.identities(),
        "readOnly": drive.mount.is_read_only or drive.mount.is_super_read_only,
        "deviceIds": _device_ids(drive, settings),
        "trouble": drive.identity.trouble or None,
    }


def _device_ids(drive: Drive | Unmounted, settings: Config) -> list[str]:
    return sorted(recognition.device_ids(drive, settings.devices, settings.require_mapping))


def shown(report: Mapping[str, Any]) -> Group:
    """A report for eyes: what strangers wrote is escaped, and nothing is cut off."""
    from rich.console import Group  # noqa: PLC0415 - `--json` must not wait for it

    parts: list[RenderableType] = []
    if "daemon" in report:
        parts += [_daemon_line(report["daemon"]), ""]
    if "jobs" in report:
        rows = [
            (
                job["deviceId"] or job["manifest"],
                job["jobId"],
                STATES[job["state"]],
                _going_on(job),
                job["since"],
            )
            for job in report["jobs"]
        ]
        parts += [_table("deviceId|JobId|state|what is going on|since", rows), ""]
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
    parts.append(_table(f"drive|mounted at|holds|identities|{last}", rows))
    return Group(*parts)


def _daemon_line(daemon: Mapping[str, Any]) -> str:
    if not daemon["running"]:
        return "daemon: NOT RUNNING (systemctl start driveprep)"
    pid, folder, scan = (daemon.get(key, "?") for key in ("pid", "folder", "lastScan"))
    return f"daemon: running, process {pid}; pending/ is {folder}, last looked at {scan}"


def _going_on(job: Mapping[str, Any]) -> str:
    """One job in one sentence: the obstacle and what to do, or what comes next."""
    if job["state"] == "Rejected":
        reason = job["obstacle"].splitlines()[0]
        return f"{reason} (all of it: rejected/{job['manifest']}.reason.txt)"
    if job["obstacle"]:
        retry = f" Next try at {job['retryAt']}." if job["retryAt"] else ""
        return f"{job['obstacle']}. {job['hint'] or ''}{retry}"
    progress = job["progress"] or {}
    if progress.get("progress_code") not in {None, "Pending"} or job["closed"]:
        return f"{progress['progress_code']}: {progress['progress_message'] or ''}"
    if job["state"] == "Signed":
        if job["late"]:
            return f"SHIP IT NOW: it must arrive before {job['expiresAt']}"
        return f"safe to remove; ship it, it must arrive before {job['expiresAt']}"
    return "in work"


def _table(headings: str, rows: Sequence[Sequence[object]]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    table = Table(show_edge=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings.split("|"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in row))
    return table
