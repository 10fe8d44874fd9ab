"""What `driveprep pool status` reports: the stations of the pool, and what no one follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.desk.elsewhere import SILENT_SECONDS
from daemon.pool import members, schema
from daemon.pool.members import Member
from daemon.system.printable import timestamp

if TYPE_CHECKING:
    from daemon.pool.connection import Cursor

VERSION = 1  # of the JSON; it changes when a field goes or changes its meaning

Report = dict[str, object]


def status(cursor: Cursor) -> Report:
    """Return everything that `pool status` reports. Raises PoolError."""
    facts, is_open = schema.facts(cursor, lock=False)
    stations = members.every(cursor)
    return {
        "version": VERSION,
        "open": is_open,
        "revision": facts.revision,
        "epoch": facts.epoch,
        "stations": [
            _station(one, is_awaited=not is_open and one.epoch != facts.epoch) for one in stations
        ],
        "unattended": [
            {
                "station": one.name,
                "deviceId": device_id,
                "jobId": job_id or None,
                "seenAt": timestamp(one.seen_at),
            }
            for one in stations
            if _is_silent(one)
            for device_id, job_id in members.open_claims(cursor, one.id)
        ],
        "warnings": schema.dangers(cursor),
    }


def _station(one: Member, *, is_awaited: bool) -> Report:
    return {
        "station": one.name,
        "seenAt": timestamp(one.seen_at),
        "secondsAgo": round(one.seen),
        "silent": _is_silent(one),
        "awaited": is_awaited and not one.successor,
        "successor": one.successor or None,
        "open": one.claims,
        "inDoubt": one.in_doubt,
    }


def _is_silent(one: Member) -> bool:
    return not one.successor and one.seen > SILENT_SECONDS
