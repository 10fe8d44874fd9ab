"""Jobs of the service that the pool has lost together with a journal: they are claimed again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from daemon.errors import PoolError
from daemon.pool import claims, lock, members, reopening, schema, waiting
from daemon.pool.connection import Cursor
from daemon.pool.membership import Membership
from daemon.pool.values import Claim

_KNOWN = """
SELECT job_id FROM driveprep.claim WHERE job_id = ANY(%s)
UNION SELECT job_id FROM driveprep.said WHERE job_id = ANY(%s)
"""
_MISSING = """
SELECT name FROM driveprep.station s, driveprep.pool p
WHERE s.successor IS NULL AND s.epoch <> p.epoch AND s.id <> %s ORDER BY name
"""
_WAITING = """
SELECT m.sha256, m.device_id, m.name, m.text, m.station::text, s.name FROM driveprep.manifest m
JOIN driveprep.station s ON s.id = m.station WHERE NOT m.is_over
"""
_IN_DOUBT = """
SELECT device_id FROM driveprep.claim WHERE job_id IS NULL AND NOT is_closed
UNION SELECT device_id FROM driveprep.said WHERE job_id IS NULL AND NOT is_closed
"""
# As new as what any member has said of the deviceId: then the claim with a JobId is kept.
_GENERATION = """
SELECT coalesce(max(generation), 1) FROM driveprep.said WHERE device_id = %s
"""
_CLAIM = f"""
INSERT INTO driveprep.claim ({claims.FIELDS}, station, generation, job_id, made, is_closed)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_SETTLE = "UPDATE driveprep.claim SET job_id = %s, made = %s, manifest = %s WHERE id = %s"
# The station where it waits removes its file; one that is gone has no successor's files.
_WITHDRAW = """
UPDATE driveprep.manifest m SET is_over = true, previous = station, station = %s
WHERE sha256 = ANY(%s) AND NOT is_over AND station <> %s
    AND EXISTS (SELECT FROM driveprep.station s WHERE s.id = m.station AND s.successor IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Waits:
    """A manifest that waits, as the pool has it."""

    sha256: str
    device_id: str
    name: str
    text: bytes
    station: str  # the id of the station where it waits
    station_name: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A job of the service that the pool does not know."""

    claim: Claim  # without an id, and without a text if nothing is left to do but to follow it
    job_id: str
    made: Mapping[str, Any]  # as in Held
    is_closed: bool = False
    station: str = ""  # the id of the station that has its manifest; "": the one that found it


def check(cursor: Cursor, member: Membership, gone: Collection[str]) -> None:
    """Close the pool if it has lost commits. Safe to repeat.

    Raises PoolError while another station, but for those that are `gone` with their journals, has
    not said what its journal holds: what that one knows is not lost. Also if this station runs.
    """
    facts, is_open = schema.facts(cursor, lock=True)
    lock.check_free(
        cursor, member.station, member.name
    )  # on another machine, of which this is a copy
    if reopening.close_if_lost(cursor, member, facts, is_open=is_open) != facts.epoch:
        schema.leave(cursor, facts, member)
    missing = {name for (name,) in cursor.execute(_MISSING, [member.station])} - {*gone}
    if missing:
        raise PoolError(
            f"these stations have not said what their journals hold: {', '.join(sorted(missing))}",
            "Start driveprep there, then try again; of one whose journal is lost: --lost NAME.",
            code="pool-waited-for",
        )


def unknown(cursor: Cursor, job_ids: Collection[str]) -> set[str]:
    """Return those of the JobIds that the pool does not know."""
    asked = list(job_ids)
    return {*asked} - {job_id for (job_id,) in cursor.execute(_KNOWN, [asked, asked]).fetchall()}


def in_doubt(cursor: Cursor) -> set[str]:
    """Return the deviceIds of the claims in doubt: their stations look for the jobs themselves."""
    return {device_id for (device_id,) in cursor.execute(_IN_DOUBT).fetchall()}


def waits(cursor: Cursor) -> list[Waits]:
    """Return every manifest that waits."""
    return [
        Waits(sha256, device_id, name, bytes(text), station, station_name)
        for sha256, device_id, name, text, station, station_name in cursor.execute(_WAITING)
    ]


def record(
    cursor: Cursor,
    member: Membership,
    found: Iterable[Lost],
    shas: Collection[str],
    gone: Iterable[str] = (),
) -> list[str]:
    """Claim these jobs for the stations that have them, take over those that are `gone`, and end
    the waiting of the manifests with these SHA-256: all or nothing. Safe to repeat.

    Returns the JobIds that are not claimed, since the pool has another job for their deviceIds.
    Raises PoolError.
    """
    facts, _ = schema.facts(cursor, lock=True)
    schema.check_member(cursor, member)
    refused = [one.job_id for one in found if not _claim(cursor, member, one)]
    for name in gone:
        members.take_over(cursor, member, name)
    cursor.execute(_WITHDRAW, [member.station, list(shas), member.station])
    waiting.end(cursor, list(shas))
    schema.leave(cursor, facts, member)
    return refused


def _claim(cursor: Cursor, member: Membership, one: Lost) -> bool:
    """Make the claim of a job, or settle the one in doubt; return whether it is there."""
    if not unknown(cursor, [one.job_id]):
        return True
    made, text, station = json.dumps(dict(one.made)), one.claim.text, one.station or member.station
    held = None if one.is_closed else claims.of_device(cursor, one.claim.device_id)
    if held and held.job_id:
        return False
    if held:
        cursor.execute(_SETTLE, [one.job_id, made, text or None, held.claim.id])
    else:
        (generation,) = cursor.execute(_GENERATION, [one.claim.device_id]).fetchone()
        new = replace(one.claim, id=str(uuid.uuid4()))
        own = [station, generation, one.job_id, made, one.is_closed]
        cursor.execute(_CLAIM, [*claims.values(new), *own])
    if text:
        waiting.end(cursor, [one.claim.sha256])
    return True
