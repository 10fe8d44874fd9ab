"""Claims in the database: one for each deviceId, made and changed only by their holder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from daemon.errors import PoolError
from daemon.pool import schema, sightings, waiting
from daemon.pool.connection import Cursor
from daemon.pool.membership import Membership
from daemon.pool.sightings import Differs
from daemon.pool.values import Claim, Elsewhere, Held

FIELDS = (
    "id, device_id, name, sha256, file_system, manifest, signed_at, endpoint, access_key_id, drive"
)
_HELD = f"""
SELECT {", ".join("c." + one for one in FIELDS.split(", "))},
    c.station::text, s.name, c.generation, c.job_id, c.made
FROM driveprep.claim c JOIN driveprep.station s ON s.id = c.station
WHERE NOT c.is_closed AND
"""
# An open job before a closed one, and before a manifest that waits.
_ELSEWHERE = """
SELECT s.name, found.device_id, found.job_id FROM (
    SELECT station, device_id, job_id, is_closed::integer AS rank FROM driveprep.claim
        WHERE job_id = upper(%s) OR ((device_id = %s OR name = %s) AND NOT is_closed)
    UNION ALL SELECT station, device_id, NULL, 2 FROM driveprep.manifest
        WHERE (device_id = %s OR name = %s) AND NOT is_over
) AS found JOIN driveprep.station s ON s.id = found.station
WHERE found.station <> %s ORDER BY found.rank LIMIT 1
"""


def claim(
    cursor: Cursor, member: Membership, wanted: Claim, unsent: Iterable[str], differs: Differs
) -> None:
    """Claim a deviceId for one CreateJob. Safe to repeat with the same claim.

    A claim of this station is replaced only if its id is one of `unsent`: ids under which nothing
    was made. Raises PoolError for any other claim, and if another station has another drive for the
    deviceId or another manifest.
    """
    held = of_device(cursor, wanted.device_id)
    if held is None or held.claim.id != wanted.id:
        waiting.take_out(cursor, member, wanted)
        sightings.check(cursor, member, wanted, differs)
    if held is None:
        cursor.execute(
            f"INSERT INTO driveprep.claim ({FIELDS}, station)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [*values(wanted), member.station],
        )
        return
    if held.claim.id == wanted.id:
        return  # the answer to the COMMIT was lost
    is_own = held.station == member.station
    if is_own and not held.job_id and held.claim.id in unsent:
        cursor.execute(
            f"UPDATE driveprep.claim SET ({FIELDS}) = (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " WHERE id = %s AND station = %s AND job_id IS NULL",
            [*values(wanted), held.claim.id, member.station],
        )
        return
    raise _refusal(held, wanted.name, is_own=is_own)


def release(cursor: Cursor, member: Membership, claim_id: str) -> bool:
    """Delete a claim under which nothing was made; return whether there was one. Idempotent."""
    cursor.execute(
        "DELETE FROM driveprep.claim WHERE id = %s AND station = %s AND job_id IS NULL",
        [claim_id, member.station],
    )
    return bool(cursor.rowcount)


def restate(cursor: Cursor, member: Membership, held: Held) -> bool:
    """Make an open claim again that the database has lost; return whether it had.

    Raises PoolError if the station was taken over: then the claim is another one's.
    """
    schema.check_member(cursor, member)
    made = json.dumps(dict(held.made)) if held.made else None
    cursor.execute(
        f"INSERT INTO driveprep.claim ({FIELDS}, station, generation, job_id, made)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [*values(held.claim), member.station, held.generation, held.job_id or None, made],
    )
    return bool(cursor.rowcount)


def publish(
    cursor: Cursor,
    member: Membership,
    claim_id: str,
    job_id: str,
    made: Mapping[str, Any],
    text: bytes | None,
    is_closed: bool,
) -> bool:
    """Record what became of a claim; return whether this station holds it. Idempotent.

    `text` is what another station needs to sign and file the job; None once it is filed.
    """
    cursor.execute(
        "UPDATE driveprep.claim SET job_id = %s, made = %s, manifest = %s, is_closed = %s"
        " WHERE id = %s AND station = %s",
        [job_id, json.dumps(made), text, is_closed, claim_id, member.station],
    )
    return bool(cursor.rowcount)


def of_device(cursor: Cursor, device_id: str) -> Held | None:
    """Return the open claim of a deviceId."""
    rows = cursor.execute(f"{_HELD} c.device_id = %s", [device_id]).fetchall()
    return _held(rows[0]) if rows else None


def of_station(cursor: Cursor, station: str) -> list[Held]:
    """Return the open claims of a station."""
    rows = cursor.execute(f"{_HELD} c.station = %s ORDER BY c.device_id", [station]).fetchall()
    return [_held(row) for row in rows]


def is_of_others(cursor: Cursor, station: str, job_id: str, device_id: str) -> bool:
    """Return whether a job of the service is, or may be, one of another station."""
    row = cursor.execute(
        "SELECT EXISTS (SELECT FROM driveprep.claim WHERE station <> %s"
        " AND (job_id = %s OR (device_id = %s AND job_id IS NULL AND NOT is_closed)))",
        [station, job_id, device_id],
    ).fetchone()
    return bool(row[0])


def station_of(cursor: Cursor, station: str, job_id: str) -> str:
    """Return the name of the station, other than this one, that has a job; "" if there is none."""
    row = cursor.execute(
        "SELECT s.name FROM driveprep.claim c JOIN driveprep.station s ON s.id = c.station"
        " WHERE c.job_id = %s AND c.station <> %s",
        [job_id, station],
    ).fetchone()
    return row[0] if row else ""


def elsewhere(cursor: Cursor, member: Membership, word: str) -> Elsewhere | None:
    """Return what another station has for a JobId, a deviceId or the name of a manifest."""
    row = cursor.execute(_ELSEWHERE, [*[word] * 5, member.station]).fetchone()
    return Elsewhere(row[0], row[1], row[2] or "") if row else None


def values(one: Claim) -> list[Any]:
    """Return what the columns FIELDS hold of a claim."""
    return [
        one.id,
        one.device_id,
        one.name,
        one.sha256,
        one.file_system,
        one.text,
        one.signed_at,
        one.endpoint,
        one.access_key_id,
        json.dumps(dict(one.drive)),
    ]


def _held(row: tuple[Any, ...]) -> Held:
    *own, station, station_name, generation, job_id, made = row
    own[0], own[5] = str(own[0]), bytes(own[5] or b"")
    return Held(Claim(*own), station, station_name, generation, job_id or "", made)


def _refusal(held: Held, name: str, *, is_own: bool) -> PoolError:
    device_id = held.claim.device_id
    if is_own:
        return PoolError(
            f"the pool has a claim of this station for {device_id} that its journal does not know",
            "It is looked up at the service as soon as no request under it can arrive any more.",
            code="pool-own-claim",
        )
    what = f"has job {held.job_id}" if held.job_id else "is making a job"
    return PoolError(
        f"station {held.station_name} {what} for {device_id}, so {name} is not submitted here",
        "Nothing is to be done here. If that station is gone for good:"
        f" driveprep pool take-over {held.station_name}",
        code="pool-claimed",
    )
