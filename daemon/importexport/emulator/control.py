"""The emulator's control: show jobs, move them on, set faults. JSON in, JSON out.

GET    /_emulator/jobs         every job, oldest first, without manifest and signature
POST   /_emulator/jobs/JOBID   {"LocationCode": "AtAWS", "ProgressCode": "InProgress", ...}
                               also Carrier, TrackingNumber, ErrorCount, LogBucket, LogKey,
                               IsCanceled, CreationDate (ISO 8601)
GET    /_emulator/faults       the faults still to come
POST   /_emulator/faults       [{"kind": "cut-after", "operation": "CreateJob", "times": 1}, ...]
                               kinds and further details: `faults`
DELETE /_emulator/faults       no more faults
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeAlias

from daemon.importexport.response import read_time

if TYPE_CHECKING:
    from daemon.importexport.emulator.faults import Faults
    from daemon.importexport.emulator.operations import Service
    from daemon.importexport.emulator.store import Job

PREFIX = "/_emulator/"

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_FIELDS = {  # AWS's name -> ours, and the type that JSON has it in
    "LocationCode": ("location_code", str),
    "ProgressCode": ("progress_code", str),
    "Carrier": ("carrier", str),
    "TrackingNumber": ("tracking_number", str),
    "ErrorCount": ("error_count", int),
    "LogBucket": ("log_bucket", str),
    "LogKey": ("log_key", str),
    "IsCanceled": ("is_canceled", bool),
    "CreationDate": ("creation_date", str),
}


def control(
    service: Service, faults: Faults, method: str, path: str, body: bytes
) -> tuple[int, bytes]:
    """Carry out a request and return HTTP status and JSON; a failed request changes nothing."""
    try:
        return 200, json.dumps(_done(service, faults, f"{method} {path}", body)).encode()
    except LookupError:
        return 404, b'{"error": "there is no such job, field or address"}'
    except (ValueError, TypeError, AttributeError) as error:
        return 400, json.dumps({"error": str(error)}).encode()


def _done(service: Service, faults: Faults, what: str, body: bytes) -> Json:
    match what:
        case "GET /_emulator/jobs":
            return [_shown(job) for job in service.jobs()]
        case "GET /_emulator/faults":
            return [asdict(fault) for fault in faults.pending()]
        case "POST /_emulator/faults":
            for details in json.loads(body):
                faults.add(**details)
            return None
        case "DELETE /_emulator/faults":
            faults.clear()
            return None
    method, _, job_id = what.partition(f" {PREFIX}jobs/")
    if method != "POST":
        raise LookupError(what)
    return _shown(service.move(job_id, **_changes(json.loads(body))))


def _changes(fields: dict[str, Json]) -> dict[str, Json]:
    changes: dict[str, Json] = {}
    for name, value in fields.items():
        field, kind = _FIELDS[name]
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}")
        changes[field] = read_time(str(value)) if field == "creation_date" else value
    return changes


def _shown(job: Job) -> Json:
    hidden = {"manifest", "signature"}
    return {name: value for name, value in asdict(job).items() if name not in hidden}
