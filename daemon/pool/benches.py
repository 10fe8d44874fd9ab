"""What is at the other stations, for people to see. Nothing is decided by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.pool.connection import Cursor
from daemon.pool.membership import Membership

Benches = dict[str, Any]  # of JSON's types: a station keeps it in its journal for its readers

MAX_JOBS = 500  # of all stations; those that are signed and whose drives are away are only counted
# A station is seen every minute. People see it so late at most, so that nothing has to be written
# down each time.
SEEN_SECONDS = 300
# The service's day is UTC's. All times are the database's.
_MADE = """
SELECT count(*), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM driveprep.claim
WHERE job_id IS NOT NULL AND signed_at >= extract(epoch FROM
    date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC')
"""
_STATIONS = """
SELECT s.id::text, s.name, extract(epoch FROM s.seen_at)::float,
    (SELECT count(*) FROM driveprep.manifest m WHERE m.station = s.id AND NOT m.is_over)
FROM driveprep.station s WHERE s.successor IS NULL AND s.id <> %s ORDER BY s.name
"""
_STATE = "coalesce(c.made ->> 'state', 'Submitting')"
_COUNTS = f"""
SELECT c.station::text, {_STATE}, count(*) FROM driveprep.claim c
WHERE NOT c.is_closed GROUP BY 1, 2
"""
# Those that concern a drive here come first: the limit must not hide them.
_JOBS = f"""
SELECT c.station::text, c.device_id, c.job_id, {_STATE}, c.name, g.device_id IS NOT NULL AS there,
    g.drive ->> 'bay', mine.device_id IS NOT NULL AS here
FROM driveprep.claim c
LEFT JOIN driveprep.sighting g ON g.station = c.station AND g.device_id = c.device_id
LEFT JOIN driveprep.sighting mine ON mine.station = %s AND mine.device_id = c.device_id
WHERE NOT c.is_closed AND c.station <> %s
    AND (g.device_id IS NOT NULL OR mine.device_id IS NOT NULL OR {_STATE} <> 'Signed')
UNION ALL
SELECT m.station::text, m.device_id, NULL, 'Pending', m.name, bool_or(g.station = m.station),
    max(g.drive ->> 'bay') FILTER (WHERE g.station = m.station), bool_or(g.station <> m.station)
FROM driveprep.sighting g
JOIN driveprep.manifest m ON m.device_id = g.device_id AND NOT m.is_over
WHERE m.station <> %s AND g.station IN (m.station, %s)
GROUP BY m.sha256
ORDER BY here DESC, there DESC, 1, 2 LIMIT {MAX_JOBS}
"""


def read(cursor: Cursor, member: Membership) -> Benches:
    """Return what is at the stations other than `member`, and what all have made today."""
    made, day = cursor.execute(_MADE).fetchone()
    stations = {
        station: {"station": name, "seenAt": seen_at, "waiting": waiting, "open": {}, "jobs": []}
        for station, name, seen_at, waiting in cursor.execute(_STATIONS, [member.station])
    }
    for station, state, count in cursor.execute(_COUNTS).fetchall():
        if station in stations:
            stations[station]["open"][state] = count
    names = "deviceId", "jobId", "state", "manifest", "isHere", "bay"
    for station, *values, _here in cursor.execute(_JOBS, [member.station] * 4).fetchall():
        if station in stations:
            stations[station]["jobs"].append(dict(zip(names, values, strict=True)))
    return {"day": day, "made": made, "stations": list(stations.values())}


def seen(found: Benches, seen_at: Mapping[str, float]) -> Benches:
    """Return it with when each station was seen last; the same object if that is hardly news."""

    def late(one: Benches) -> float:
        return seen_at.get(one["station"], one["seenAt"]) - float(one["seenAt"])

    if all(late(one) < SEEN_SECONDS for one in found["stations"]):
        return found
    stations = [one | {"seenAt": one["seenAt"] + late(one)} for one in found["stations"]]
    return found | {"stations": stations}
