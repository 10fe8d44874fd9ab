"""The drives that stations see, and what follows a drive from one to another.

Two different drives for one deviceId are refused. The same one is where it was seen last.
"""

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
ON CONFLICT (station, device_id) DO UPDATE SET drive = excluded.drive, since = now()
WHERE sighting.drive <> excluded.drive
"""
# A drive is not where it was if it has come here since, and the station before does not look any
# more. All times are the database's.
LOOK_SECONDS = 10  # a station that is there has looked so soon after a NOTIFY
STILL_THERE = f"""
EXISTS (SELECT FROM driveprep.sighting g JOIN driveprep.station s ON s.id = g.station
    WHERE g.station = {{station}} AND g.device_id = mine.device_id
    AND (s.seen_at >= mine.since OR mine.since > now() - interval '{LOOK_SECONDS} seconds'))
"""
_COMING = f"""
SELECT 1 FROM driveprep.sighting mine
JOIN driveprep.sighting other USING (device_id) JOIN driveprep.station s ON s.id = other.station
WHERE mine.station = %s AND other.station <> mine.station AND s.seen_at < mine.since
    AND mine.since > now() - interval '{LOOK_SECONDS} seconds'
LIMIT 1
"""
# Jobs that another station has made, but not signed.
_UNSIGNED = f"""
SELECT c.id, c.drive, mine.drive FROM driveprep.claim c
JOIN driveprep.sighting mine ON mine.device_id = c.device_id
WHERE mine.station = %s AND c.station <> mine.station AND NOT c.is_closed
    AND c.made ->> 'state' = 'Submitted' AND c.manifest IS NOT NULL
    AND NOT {STILL_THERE.format(station="c.station")}
"""
_TAKE = "UPDATE driveprep.claim SET station = %s, generation = generation + 1 WHERE id = %s"
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


def of_station(cursor: Cursor, member: Membership) -> dict[str, Identities]:
    """Return which drives a station has published, by deviceId."""
    query = "SELECT device_id, drive FROM driveprep.sighting WHERE station = %s"
    return dict(cursor.execute(query, [member.station]).fetchall())


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


def is_coming(cursor: Cursor, member: Membership) -> bool:
    """Return whether a drive has come here that may still be at another station."""
    return cursor.execute(_COMING, [member.station]).fetchone() is not None


def unsigned(cursor: Cursor, member: Membership, differs: Differs) -> list[str]:
    """Return the claims of jobs that another station has made for drives that are here now.

    That station has not signed them, and does not see their drives any more.
    """
    rows = cursor.execute(_UNSIGNED, [member.station]).fetchall()
    return [str(claim) for claim, drive, mine in rows if not differs(drive, mine)]


def take(cursor: Cursor, member: Membership, differs: Differs) -> int:
    """Take the jobs of drives that have come here, to sign them; return their number.

    The service has made them, so that nothing is sent again. Safe to repeat.
    """
    found = unsigned(cursor, member, differs)
    for claim in found:
        cursor.execute(_TAKE, [member.station, claim])
    return len(found)
