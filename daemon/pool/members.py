"""The stations of a pool: how they come, go, are seen, and are taken over by a person's word."""

from __future__ import annotations

from dataclasses import dataclass, replace

from daemon.errors import PoolError
from daemon.pool import reopening, schema
from daemon.pool.connection import Cursor
from daemon.pool.membership import Membership

_ALL = """
SELECT s.id::text, s.name, extract(epoch FROM now() - s.seen_at)::float,
    extract(epoch FROM s.seen_at)::float, o.name, s.epoch,
    (SELECT count(*) FROM driveprep.claim c WHERE c.station = s.id AND NOT c.is_closed),
    (SELECT count(*) FROM driveprep.claim c
        WHERE c.station = s.id AND NOT c.is_closed AND c.job_id IS NULL)
FROM driveprep.station s LEFT JOIN driveprep.station o ON o.id = s.successor ORDER BY s.name
"""
_OPEN_CLAIMS = """
SELECT device_id, job_id FROM driveprep.claim
WHERE station = %s AND NOT is_closed ORDER BY device_id
"""
_TAKE_STATION = """
UPDATE driveprep.station SET generation = generation + 1, successor = %s
WHERE id = %s AND successor IS NULL
"""
_TAKE_MANIFESTS = """
UPDATE driveprep.manifest SET station = %s, previous = NULL, is_delivered = false
WHERE station = %s
"""
_TAKE_CLAIMS = """
UPDATE driveprep.{table} SET station = %s, generation = generation + 1
WHERE station = %s AND NOT is_closed AND (%s::text IS NULL OR device_id = %s)
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A station, as the pool has it."""

    id: str
    name: str
    seen: float  # seconds ago, by the database's clock
    seen_at: float  # by the same, seconds since the epoch
    successor: str  # the name of the station that took it over; "" if none did
    epoch: int
    claims: int  # that are open
    in_doubt: int  # of these


def found(cursor: Cursor, pool: str, endpoint: str, access_key_id: str, role: str = "") -> int:
    """Make the pool's tables, for one account, or bring those of an older version up to date.

    Returns which version they had, 0 if there were none. Raises PoolError if they are up to date.
    """
    before = 0
    if cursor.execute("SELECT to_regclass('driveprep.pool')").fetchone()[0]:
        before = schema.migrate(cursor)
        if before >= schema.VERSION:
            raise PoolError("there is already a pool in this database", "Use another database.")
    else:
        cursor.execute(schema.TABLES)
        cursor.execute(
            "INSERT INTO driveprep.pool (id, version, endpoint, access_key_id, written_by)"
            " VALUES (%s, %s, %s, %s, pg_current_xact_id()::text::bigint)",
            [pool, schema.VERSION, endpoint, access_key_id],
        )
    if role:
        quoted = '"' + role.replace('"', '""') + '"'
        cursor.execute(schema.GRANTS.format(role=quoted))
    return before


def join(cursor: Cursor, station: str, name: str, endpoint: str, access_key_id: str) -> Membership:
    """Make a new member. Raises PoolError for another account, or a name that is taken."""
    facts, _ = schema.facts(cursor, lock=True)
    if (
        not facts.is_original
    ):  # a restore that no member has noticed, and that this write would hide
        facts = replace(facts, epoch=reopening.close(cursor, facts.epoch + 1))
    schema.check_account(cursor, endpoint, access_key_id)
    if any(one.name == name for one in every(cursor)):
        raise PoolError(f"there is already a station {name} in the pool", "Choose another name.")
    cursor.execute(
        "INSERT INTO driveprep.station (id, name, epoch) VALUES (%s, %s, %s)",
        [station, name, facts.epoch],
    )
    return Membership(station, name, 1, schema.leave(cursor, facts))


def part(cursor: Cursor, member: Membership) -> None:
    """End a membership. Raises PoolError while the station has open claims."""
    schema.facts(cursor, lock=True)
    (claims,) = cursor.execute(
        "SELECT count(*) FROM driveprep.claim WHERE station = %s AND NOT is_closed",
        [member.station],
    ).fetchone()
    if claims:
        raise PoolError(
            f"this station has {claims} open jobs in the pool",
            "Wait until the service has finished them, or have another station take them over:"
            f" driveprep pool take-over {member.name}",
            code="pool-open-claims",
        )
    cursor.execute(_TAKE_STATION, [member.station, member.station])


def take_over(
    cursor: Cursor, member: Membership, name: str, device_id: str | None = None
) -> tuple[Membership, int]:
    """Give a station's open claims, or that of one deviceId, to `member`; return their number.

    The claims that are in doubt stay so. Without `device_id` the station is out of the pool: what
    it still does finds itself without a claim. Raises PoolError.
    """
    facts, is_open = schema.facts(cursor, lock=True)
    epoch = reopening.close_if_lost(cursor, member, facts, is_open=is_open)
    is_open, facts = is_open and epoch == facts.epoch, replace(facts, epoch=epoch)
    schema.check_member(cursor, member)
    others = {one.name: one for one in every(cursor)}
    other = others.get(name)
    if other is None or other.id == member.station:
        names = ", ".join(one for one in others if others[one].id != member.station)
        raise PoolError(f"there is no other station {name}", f"The others are: {names or 'none'}.")
    if device_id is None:
        cursor.execute(_TAKE_STATION, [member.station, other.id])
        if not cursor.rowcount:
            raise PoolError(f"{name} was already taken over by {other.successor}")
        cursor.execute(_TAKE_MANIFESTS, [member.station, other.id])
    taken = 0
    for table in ("claim", "said"):
        query = _TAKE_CLAIMS.format(table=table)
        cursor.execute(query, [member.station, other.id, device_id, device_id])
        taken = max(taken, cursor.rowcount)
    if not is_open:
        reopening.reopen_if_all_have_said(cursor, facts.epoch)
    return member.seeing(schema.leave(cursor, facts)), taken


def every(cursor: Cursor) -> list[Member]:
    """Return all stations, by name."""
    rows = cursor.execute(_ALL).fetchall()
    return [
        Member(station, name, seen, seen_at, successor or "", epoch, claims, doubt)
        for station, name, seen, seen_at, successor, epoch, claims, doubt in rows
    ]


def open_claims(cursor: Cursor, station: str) -> list[tuple[str, str]]:
    """Return the deviceId and the JobId ("": in doubt) of each open job of a station."""
    rows = cursor.execute(_OPEN_CLAIMS, [station]).fetchall()
    return [(device_id, job_id or "") for device_id, job_id in rows]
