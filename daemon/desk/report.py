"""What `status` and `drives` report, as JSON: the journal's jobs and the machine's drives.

Reads only; works beside a running daemon and without one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from daemon import spool
from daemon.config.loading import Config
from daemon.desk import elsewhere, quota
from daemon.desk.elsewhere import Bench
from daemon.drives.drive import Drive, Unmounted, Volume
from daemon.errors import DriveError
from daemon.jobs import reader
from daemon.jobs.deadlines import expires_at, is_late, is_unshipped
from daemon.jobs.job import (
    Caution,
    Ceded,
    Job,
    Paper,
    Pending,
    Rejected,
    Signed,
    Submitted,
    drive_of,
)
from daemon.preparation.pairing import Pairing, named
from daemon.spool import filing
from daemon.system.printable import timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.desk.drive_report import DriveReport

VERSION = 1  # of the JSON; it changes when a field goes or changes its meaning
MAX_IGNORED = 20  # files in pending/ that are reported
SHOWN_SECONDS = 7 * 24 * 3600  # how long a finished job stays visible

# None where a drive has none.
IDENTITIES = (
    "deviceNode", "mountPoint", "mountType", "fileSystem", "label",
    "uuid", "partuuid", "serial", "wwn", "model", "path",
)  # fmt: skip

Report = dict[str, object]


def status(settings: Config, mounted: Sequence[Drive]) -> Report:
    """Return everything that `status` reports."""
    daemon = reader.daemon_info(settings.spool)
    now = time.time()
    recent = reader.recent(settings.spool, now - SHOWN_SECONDS)
    bays, bench = _bays(settings, mounted), elsewhere.bench(settings)
    wanted = {job.device_id for job in recent} | settings.devices.keys()
    return {
        "version": VERSION,
        "daemon": {"running": daemon is not None, **(daemon or {})},
        "station": bench.station,
        "stations": [_station(one, now) for one in bench.stations] if bench.is_member else None,
        "today": _today(settings, bench, now),
        "ignored": ignored(settings.spool / "pending"),
        "jobs": [
            _job(job, settings.spool, is_running=daemon is not None)
            | {"warnings": _warnings(job, settings, daemon or {})}
            | {"unshipped": is_unshipped(job, now - settings.ship_within)}
            | {"bay": bays.get(job.device_id) or drive_of(job).get("bay")}
            | {"printing": [_paper(one) for one in job.papers]}
            for job in recent
            if not job.is_off_the_list
        ],
        "drives": [
            _drive(drive, settings)
            for drive in mounted
            if not drive.mount.is_system or wanted.intersection(_device_ids(drive, settings))
        ],
    }


def drives(settings: Config, mounted: Sequence[Drive], present: Sequence[Unmounted]) -> Report:
    """Return every mounted drive and every device that could be mounted."""
    # `status` needs neither, and should not pay for loading them.
    from daemon.desk.drive_report import DriveReport  # noqa: PLC0415
    from daemon.drives import holders  # noqa: PLC0415

    jobs = [
        job
        for job in reader.recent(settings.spool, time.time())
        if not job.is_closed and job.device_id
    ]
    pairing = Pairing(named(jobs), mounted, present, settings.recognition)
    ours = [drive.mount_point for drive in mounted if _device_ids(drive, settings)]
    verdicts = DriveReport(jobs, pairing, holders.find(ours), elsewhere.bench(settings))
    return {
        "version": VERSION,
        "drives": [
            _drive(drive, settings) | _asked(drive, verdicts, settings) for drive in mounted
        ],
        "present": [
            {
                **dict.fromkeys(IDENTITIES),
                **one.identities(),
                **_place(one, settings),
                "deviceIds": _device_ids(one, settings),
                "verdict": verdicts.of_unmounted(one),
            }
            for one in present
        ],
    }


def _station(one: Report, now: float) -> Report:
    """Return what is known of another station of the pool."""
    seen_at = float(str(one["seenAt"]))
    return one | {"seenAt": timestamp(seen_at), "silent": now - seen_at > elsewhere.SILENT_SECONDS}


def _today(settings: Config, bench: Bench, now: float) -> Report:
    """Return how many jobs were made on the service's day, and how many it makes."""
    began = quota.day_began(now)
    made = bench.made_on(began, reader.count_made(settings.spool, began))
    return {"jobs": made, "limit": settings.daily_limit, "endsAt": timestamp(began + quota.DAY)}


def _bays(settings: Config, mounted: Sequence[Drive]) -> dict[str, str]:
    """Return the bays of the drives that are mounted, by deviceId."""
    rules = settings.recognition
    found = [(rules.bays.of(drive), drive) for drive in mounted if rules.bays.by_path]
    return {name: bay for bay, drive in found if bay for name in rules.device_ids(drive)}


def ignored(pending: Path) -> list[dict[str, str]]:
    """Return the names in pending/ that no manifest has, each with the reason."""
    with suppress(OSError):  # it is missing before the first start, or the daemon reports it
        found = sorted(spool.ignored(pending, MAX_IGNORED))
        return [{"name": name, "reason": reason} for name, reason in found]
    return []


def _asked(drive: Drive, verdicts: DriveReport, settings: Config) -> Report:
    """Return what only the drive itself can tell, if it is recognised; others are left alone."""
    from daemon.drives.inventory import capacity  # noqa: PLC0415

    free = size = None
    try:
        if _device_ids(drive, settings):
            free, size = capacity(drive)
        verdict = verdicts.of(drive)
    except DriveError as error:  # it hides no other drive
        verdict = f"{error}. {error.hint}"
    return {"verdict": verdict, "freeBytes": free, "sizeBytes": size}


def _job(job: Job, spool: Path, *, is_running: bool) -> Report:
    entry: Report = {
        "deviceId": job.device_id,
        "state": type(job.state).__name__,
        "jobId": job.job_id or None,
        "manifest": job.name,
        "since": timestamp(job.since),
        "obstacle": None,
        "code": None,
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
        entry["eject"] = job.eject
    if isinstance(job.state, Rejected):
        entry["obstacle"], entry["code"] = job.state.reason, "rejected"
        entry["reasonFile"] = filing.reason_of(spool / "rejected", job.name, job.mark) or None
    elif isinstance(job.state, Ceded):
        entry["obstacle"], entry["code"] = f"station {job.state.station} has this job now", "ceded"
        entry["hint"] = "It is signed, filed and followed there."
    elif not job.filed and not is_running:
        entry["obstacle"] = "the driveprep daemon is not running"
        entry["code"] = "daemon-not-running"
        entry["hint"] = "Start it: systemctl start driveprep"
    elif job.obstacle:
        entry["obstacle"], entry["hint"] = job.obstacle.reason, job.obstacle.hint
        entry["code"] = job.obstacle.code or None
        entry["retryAt"] = timestamp(job.obstacle.retry_at) if job.obstacle.retry_at else None
    return entry


def _paper(paper: Paper) -> Report:
    """Return where a paper is on its way to a printer."""
    obstacle = paper.obstacle
    return {
        "paper": paper.kind,
        "askedAt": timestamp(paper.asked_at),
        "printedAt": timestamp(paper.printed_at) if paper.printed_at else None,
        "obstacle": obstacle.reason if obstacle else None,
        "code": (obstacle.code or None) if obstacle else None,
        "hint": obstacle.hint if obstacle else None,
        "retryAt": timestamp(obstacle.retry_at) if obstacle and obstacle.retry_at else None,
    }


def _warnings(job: Job, settings: Config, daemon: Mapping[str, object]) -> list[dict[str, str]]:
    """Return what may go wrong: for a job that the service has not validated, too."""
    cautions = [*job.cautions]
    waits = settings.validate_on_drop and isinstance(job.state, Pending) and not job.state.validated
    is_told = not all(one.is_own for one in cautions)
    if waits and not is_told and (trouble := daemon.get("service")):
        cautions.append(Caution("service", str(trouble)))
    cautions.sort(key=lambda one: one.is_own)  # the service's own come first
    return [asdict(one) for one in cautions]


def _drive(drive: Drive, settings: Config) -> Report:
    return {
        **dict.fromkeys(IDENTITIES),
        **drive.identities(),
        **_place(drive, settings),
        "readOnly": drive.mount.is_read_only or drive.mount.is_super_read_only,
        "deviceIds": _device_ids(drive, settings),
        "trouble": drive.identity.trouble or None,
    }


def _place(volume: Volume, settings: Config) -> Report:
    bays = settings.recognition.bays
    return {"bay": bays.of(volume) or None, "outsideBays": bays.is_outside(volume)}


def _device_ids(drive: Drive | Unmounted, settings: Config) -> list[str]:
    return sorted(settings.recognition.device_ids(drive))
