"""What `status` and `drives` show: the journal's jobs and the machine's drives, for eyes or JSON.

Reads only; works beside a running daemon and without one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from daemon import journal, recognition
from daemon.config import Config
from daemon.drive import Drive, Unmounted
from daemon.job import Job, Pending, Rejected, Signed, Submitted
from daemon.printable import printable, timestamp

if TYPE_CHECKING:
    from rich.table import Table

VERSION = 1  # of the JSON; it changes when a field goes or changes its meaning
SHOWN_SECONDS = 7 * 24 * 3600  # how long a job that is over stays in view

IDENTITIES = (
    *("deviceNode", "mountPoint", "mountType", "fileSystem", "label"),
    *("uuid", "partuuid", "serial", "wwn", "model"),
)  # None where a drive has none

Report = dict[str, object]


def status(settings: Config, mounted: Sequence[Drive]) -> Report:
    """Everything `status` knows, as JSON has it."""
    daemon = journal.told(settings.spool)
    history = journal.history(settings.spool, time.time() - SHOWN_SECONDS)
    return {
        "version": VERSION,
        "daemon": {"running": daemon is not None, **(daemon or {})},
        "jobs": [_job(job, is_running=daemon is not None) for job in history],
        "drives": [_drive(drive, settings) for drive in mounted],
    }


def drives(settings: Config, mounted: Sequence[Drive], present: Sequence[Unmounted]) -> Report:
    """Every mounted drive, and every device that could be mounted, as JSON has it."""
    return {
        "version": VERSION,
        "drives": [_drive(drive, settings) for drive in mounted],
        "present": [
            {
                "deviceNode": one.device.node,
                "fileSystem": one.identity.file_system,
                "label": one.identity.label,
                "serial": one.identity.serial,
                "uuid": one.identity.uuid,
                "deviceIds": _device_ids(one, settings),
            }
            for one in present
        ],
    }


def _job(job: Job, *, is_running: bool) -> Report:
    entry: Report = {
        "deviceId": job.device_id,
        "state": type(job.state).__name__,
        "jobId": job.job_id or None,
        "manifest": job.name,
        "since": timestamp(job.since),
        "closed": job.is_closed,
        "obstacle": None,
        "hint": None,
        "retryAt": None,
    }
    if isinstance(job.state, Submitted | Signed):
        entry["shippingAddress"] = job.state.shipping_address
        entry["drive"] = dict(job.state.drive)
    if isinstance(job.state, Rejected):
        entry["obstacle"] = job.state.reason
    elif job.obstacle:
        entry["obstacle"], entry["hint"] = job.obstacle.reason, job.obstacle.hint
        entry["retryAt"] = timestamp(job.obstacle.retry_at) if job.obstacle.retry_at else None
    if not job.filed and not is_running and isinstance(job.state, Pending | Submitted):
        entry["obstacle"] = "the driveprep daemon is not running"
        entry["hint"] = "Start it: systemctl start driveprep"
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


def table(report: Mapping[str, object], key: str, columns: Sequence[str]) -> Table:
    """One list of a report as a table for eyes; what strangers wrote is escaped."""
    from rich.table import Table  # noqa: PLC0415 - `--json` must not wait for it
    from rich.text import Text  # noqa: PLC0415

    shown = Table(title=key, title_justify="left", show_edge=False)
    for heading in columns:
        shown.add_column(heading, overflow="fold")
    rows = report[key]
    for row in rows if isinstance(rows, list) else []:
        shown.add_row(*(Text(_cell(row[column])) for column in columns))
    return shown


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    return "" if value is None else printable(str(value))
