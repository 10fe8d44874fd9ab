"""Manifests that wait: each belongs to one station, and moves to the one that has its drive."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from daemon.errors import PoolError
from daemon.pool.connection import Cursor
from daemon.pool.membership import Membership
from daemon.pool.sightings import STILL_THERE
from daemon.pool.values import Claim

_OFFER = """
INSERT INTO driveprep.manifest (sha256, device_id, name, text, station)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
# The same manifest at another station, waiting or on its way.
_DUPLICATES = """
SELECT m.sha256, s.name FROM driveprep.manifest m JOIN driveprep.station s ON s.id = m.station
WHERE m.station <> %s AND m.previous IS DISTINCT FROM %s AND m.sha256 = ANY(%s) AND NOT m.is_over
UNION SELECT c.sha256, s.name FROM driveprep.claim c JOIN driveprep.station s ON s.id = c.station
WHERE c.station <> %s AND NOT c.is_closed AND c.sha256 = ANY(%s)
"""
# Not those whose station sees a drive for them, nor those that are being submitted.
_ELSEWHERE = f"""
m.device_id = mine.device_id AND m.device_id = ANY(%s) AND mine.station = %s
AND m.station <> mine.station AND m.previous IS NULL
AND NOT {STILL_THERE.format(station="m.station")} AND NOT EXISTS (
    SELECT FROM driveprep.claim c WHERE c.device_id = m.device_id AND NOT c.is_closed
)
"""
_FETCH = f"""
UPDATE driveprep.manifest m
SET station = mine.station, previous = m.station, is_delivered = false
FROM driveprep.sighting mine WHERE {_ELSEWHERE}
"""
_FIELDS = "SELECT sha256, device_id, name, text FROM driveprep.manifest"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A manifest that waits for its drive."""

    sha256: str  # as dropped
    device_id: str
    name: str  # of its file
    text: bytes


def offer(cursor: Cursor, member: Membership, found: Iterable[Waiting]) -> dict[str, str]:
    """Publish what waits at a station, unless another one has it. Safe to repeat.

    Returns those that another station has, by SHA-256, with its name.
    """
    offered, me = {one.sha256: one for one in found}, member.station
    shas = [*offered]
    twice = dict(cursor.execute(_DUPLICATES, [me, me, shas, me, shas]).fetchall())
    for sha256, one in offered.items():
        if sha256 not in twice:
            cursor.execute(_OFFER, [sha256, one.device_id, one.name, one.text, me])
    return twice


def withdraw(cursor: Cursor, member: Membership, shas: Collection[str]) -> bool:
    """Take back what no longer waits at a station; return whether there was any. Idempotent."""
    query = (
        "SELECT sha256 FROM driveprep.manifest WHERE station = %s AND is_delivered"
        " AND sha256 = ANY(%s)"
    )
    rows = cursor.execute(query, [member.station, list(shas)]).fetchall()
    end(cursor, [sha256 for (sha256,) in rows])
    return bool(rows)


def end(cursor: Cursor, shas: list[str]) -> None:
    """End the waiting of manifests. Safe to repeat.

    One that moved is kept until the station before knows: it removes its file then.
    """
    for query in (
        "UPDATE driveprep.manifest SET is_over = true WHERE sha256 = ANY(%s)",
        "DELETE FROM driveprep.manifest WHERE sha256 = ANY(%s) AND previous IS NULL",
    ):
        cursor.execute(query, [shas])


def of_station(cursor: Cursor, member: Membership) -> dict[str, str]:
    """Return the manifests that wait at a station: their names, by their SHA-256."""
    query = (
        "SELECT sha256, name FROM driveprep.manifest"
        " WHERE station = %s AND is_delivered AND NOT is_over"
    )
    return dict(cursor.execute(query, [member.station]).fetchall())


def is_elsewhere(cursor: Cursor, member: Membership, device_ids: Collection[str]) -> bool:
    """Return whether a manifest for one of these deviceIds could be moved here."""
    tables = "driveprep.manifest m, driveprep.sighting mine"
    query = f"SELECT EXISTS (SELECT FROM {tables} WHERE {_ELSEWHERE})"
    row = cursor.execute(query, [list(device_ids), member.station]).fetchone()
    return bool(row[0])


def fetch(cursor: Cursor, member: Membership, device_ids: Collection[str]) -> bool:
    """Have the manifests of drives that are at this station moved here; return whether any was."""
    cursor.execute(_FETCH, [list(device_ids), member.station])
    return bool(cursor.rowcount)


def undelivered(cursor: Cursor, member: Membership) -> list[Waiting]:
    """Return those that were moved here, and whose files are not in pending/ yet."""
    query = f"{_FIELDS} WHERE station = %s AND NOT is_delivered AND NOT is_over"
    return [_waiting(row) for row in cursor.execute(query, [member.station]).fetchall()]


def delivered(cursor: Cursor, member: Membership, sha256: str) -> bool:
    """Record that a manifest's file is in pending/. Idempotent."""
    cursor.execute(
        "UPDATE driveprep.manifest SET is_delivered = true WHERE station = %s AND sha256 = %s",
        [member.station, sha256],
    )
    return bool(cursor.rowcount)


def moved(cursor: Cursor, member: Membership) -> dict[str, str]:
    """Return those that other stations have by now instead of this one: by SHA-256, their names.

    There is a file of each at any time: the database may still lose what it has committed.
    """
    query = (
        "SELECT m.sha256, s.name FROM driveprep.manifest m JOIN driveprep.station s"
        " ON s.id = m.station WHERE m.previous = %s AND (m.is_delivered OR m.is_over)"
    )
    return dict(cursor.execute(query, [member.station]).fetchall())


def let_go(cursor: Cursor, member: Membership, sha256: str) -> bool:
    """Record that a manifest that was moved is not here any more. Idempotent."""
    cursor.execute(
        "UPDATE driveprep.manifest SET previous = NULL WHERE previous = %s AND sha256 = %s",
        [member.station, sha256],
    )
    is_changed = bool(cursor.rowcount)
    cursor.execute("DELETE FROM driveprep.manifest WHERE sha256 = %s AND is_over", [sha256])
    return is_changed


def take_out(cursor: Cursor, member: Membership, claim: Claim) -> None:
    """End the waiting of a manifest that is being claimed.

    Raises PoolError if it waits at another station, or that one has another for the same deviceId.
    """
    query = (
        "SELECT m.sha256, s.name FROM driveprep.manifest m JOIN driveprep.station s"
        " ON s.id = m.station WHERE m.device_id = %s AND m.station <> %s AND NOT m.is_over"
    )
    for sha256, name in cursor.execute(query, [claim.device_id, member.station]).fetchall():
        is_same = sha256 == claim.sha256
        raise PoolError(
            f"{'this' if is_same else 'another'} manifest for {claim.device_id} waits at station"
            f" {name}",
            "It follows its drive: nothing is to be done."
            if is_same
            else "Leave one of them in pending/; a device carries one SIGNATURE.",
            code="pool-moved" if is_same else "pool-several",
        )
    end(cursor, [claim.sha256])


def _waiting(row: tuple[Any, ...]) -> Waiting:
    sha256, device_id, name, text = row
    return Waiting(sha256, device_id, name, bytes(text))
