"""`driveprep jobs`: every job that was made at the service, for people, spreadsheets and programs.

Reads the journal only; works beside a running daemon and without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from daemon.config.loading import Config
from daemon.documents import spreadsheet
from daemon.jobs import reader
from daemon.jobs.deadlines import expires_at
from daemon.jobs.job import Job, Progress, Shipment, Signed, Submitted, Submitting, ended_as
from daemon.jobs.reader import made_at
from daemon.preparation import papers
from daemon.system.printable import printable, timestamp

VERSION = 1  # of the JSON; it changes when a field goes or changes its meaning
SPANS = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}  # seconds
_SPAN = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[hdw])")
DRIVE = ("label", "serial", "uuid", "partuuid", "wwn", "model", "size", "bay")
COLUMNS = (
    "station", "jobId", "deviceId", "state", "submittedAt", "signedAt", "expiresAt", "closed",
    "progressCode", "progressMessage", "locationCode", "locationMessage", "carrier",
    "trackingNumber", "logBucket", "logKey", "errorCount", "manifest", "sha256", "fileSystem",
    *(f"drive.{name}" for name in DRIVE), "shipment.at", "shipment.carrier", "shipment.tracking",
    "papers",
)  # fmt: skip
# For people: what fits a line. The exports have every field.
SHOWN = ("submittedAt", "jobId", "deviceId", "state", "progressCode", "manifest")

Record = dict[str, object]


def records(settings: Config, since: float | None) -> list[Record]:
    """Return the jobs that were made at or after `since` (seconds since the epoch), oldest first.

    Every record has the same keys.
    """
    return [
        _record(job_id, job, settings)
        for job_id, job in reader.made(settings.spool)
        if since is None or made_at(job) >= since
    ]


def report(settings: Config, records: list[Record]) -> Record:
    """Return the jobs as JSON has them."""
    return {"version": VERSION, "station": settings.station, "jobs": records}


def as_csv(records: Iterable[Record]) -> str:
    """Return the jobs as CSV, with the names of the columns in the first line."""
    rows = ([_cell(record, name) for name in COLUMNS] for record in records)
    return spreadsheet.text([COLUMNS, *rows])


def as_lines(records: Iterable[Record], shown: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the headings, then what a person wants to see of each job."""
    yield shown
    for record in records:
        called = record | {"state": ended_as(record["progressCode"]) or record["state"]}
        yield tuple(printable(str(called[key] or "-")) for key in shown)


def moment(text: str, now: float) -> float | None:
    """Return the moment that a text means, in seconds since the epoch; None if it is unknown.

    A date is its beginning in UTC; a span, such as 30d, ends now.
    """
    if found := _SPAN.fullmatch(text.strip()):
        return now - int(found["number"]) * SPANS[found["unit"]]
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


def _record(job_id: str, job: Job, settings: Config) -> Record:
    state, progress = job.state, job.progress
    made = state if isinstance(state, Submitted | Signed) else None
    signed = state if isinstance(state, Signed) else None
    drive = state.drive if isinstance(state, Submitting | Submitted | Signed) else {}
    return {
        "station": settings.station,
        "jobId": job_id or None,
        "deviceId": job.device_id,
        "state": type(state).__name__,
        "submittedAt": timestamp(made_at(job)) if made or isinstance(state, Submitting) else None,
        "signedAt": timestamp(signed.signed_at) if signed else None,
        "expiresAt": timestamp(expires_at(made)) if made else None,
        "closed": job.is_closed,
        **_reported(progress),
        "manifest": job.name,
        "sha256": job.sha256,
        "fileSystem": job.file_system,
        "drive": {name: drive.get(name) for name in DRIVE},
        "shipment": _shipment(job.shipment),
        "papers": _papers(settings.spool, job),
    }


def _reported(progress: Progress | None) -> Record:
    """Return what the service last reported."""
    return {
        "progressCode": progress and progress.progress_code,
        "progressMessage": progress and progress.progress_message,
        "locationCode": progress and progress.location_code,
        "locationMessage": progress and progress.location_message,
        "carrier": progress and progress.carrier,
        "trackingNumber": progress and progress.tracking_number,
        "logBucket": progress and progress.log_bucket,
        "logKey": progress and progress.log_key,
        "errorCount": progress and progress.error_count,
    }


def _shipment(shipment: Shipment | None) -> Record:
    if shipment is None:
        return {"at": None, "carrier": None, "tracking": None}
    carrier, tracking = shipment.carrier or None, shipment.tracking or None
    return {"at": timestamp(shipment.at), "carrier": carrier, "tracking": tracking}


def _papers(spool: Path, job: Job) -> str | None:
    folder = spool / "prepared" / papers.folder(job.job_id, job.device_id)
    return str(folder) if job.job_id and job.filed else None


def _cell(record: Record, name: str) -> object:
    group, _, key = name.partition(".")
    value = record[group]
    return value.get(key) if isinstance(value, dict) else value
