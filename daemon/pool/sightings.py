"""The drives that stations see: two different ones for one deviceId are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from daemon.errors import PoolError
from daemon.pool.connection import Cursor
from daemon.pool.membership import Membership
from daemon.pool.values import Claim

Identities = Mapping[str, str | int | None]
Differs = Callable[[Identities, Identities], bool]

_SEE = """
INSERT INTO driveprep.sighting VALUES (%s, %s, %s)
ON CONFLICT (station, device_id) DO UPDATE SET drive = excluded.drive
"""
# Of stations that are there, by the database's clock.
_OTHERS = """
SELECT s.name, g.drive FROM driveprep.sighting g JOIN driveprep.station s ON s.id = g.station
WHERE g.device_id = %s AND g.station <> %s AND s.successor IS NULL
    AND s.seen_at > now() - interval '10 minutes'
"""


def see(cursor: Cursor, member: Membership, seen: Mapping[str, Identities]) -> None:
    """Publish which drives a station sees now, by deviceId. Safe to repeat."""
    cursor.execute(
        "DELETE FROM driveprep.sighting WHERE station = %s AND NOT device_id = ANY(%s)",
        [member.station, list(seen)],
    )
    for device_id, drive in seen.items():
        cursor.execute(_SEE, [member.station, device_id, json.dumps(dict(drive))])


def check(cursor: Cursor, member: Membership, claim: Claim, differs: Differs) -> None:
    """Publish the drive of a claim. Raises PoolError if another station sees a different one."""
    cursor.execute(_SEE, [member.station, claim.device_id, json.dumps(dict(claim.drive))])
    for name, drive in cursor.execute(_OTHERS, [claim.device_id, member.station]).fetchall():
        if differs(claim.drive, drive):
            raise PoolError(
                f"station {name} has another drive for {claim.device_id}:"
                f" {drive.get('deviceNode')}, serial {drive.get('serial')}, UUID"
                f" {drive.get('uuid')}",
                "Unplug the one that is not meant, or give it another label.",
                code="pool-twin",
            )
