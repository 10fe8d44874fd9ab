"""After the database has lost commits: closed, until every member has said what it holds.

Acknowledged claims vanish when an asynchronous standby is promoted or an older state is restored.
The first member that notices closes the pool and raises its epoch. Each member then says what its
journal holds. The last one reopens the pool: of each deviceId the newest generation holds the
claim, with the latest Timestamp that anyone has said. From then on each open claim without a JobId
is in doubt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from daemon.pool import schema
from daemon.pool.claims import FIELDS, values
from daemon.pool.connection import Cursor
from daemon.pool.membership import Facts, Membership
from daemon.pool.values import Held

_CLOSE = "UPDATE driveprep.pool SET is_open = false, epoch = %s"
_MEMBER = """
INSERT INTO driveprep.station (id, name, generation, epoch) VALUES (%s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, seen_at = now()
"""
_SAY = f"""
INSERT INTO driveprep.said ({FIELDS}, station, generation, job_id, made)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
# The claims that are open, and what was said: one of each deviceId, by the rule above. A JobId that
# two stations have learned is that of the holder. What is claimed does not wait again. Each
# station publishes anew what waits there, since its file may have moved after what was lost.
_MERGE = """
CREATE TEMPORARY TABLE merged ON COMMIT DROP AS
SELECT DISTINCT ON (device_id) gen_random_uuid() AS new_id, every.*,
    max(signed_at) OVER (PARTITION BY device_id) AS latest,
    max(generation) OVER (PARTITION BY device_id) + 1 AS next
FROM (
    SELECT * FROM driveprep.claim WHERE NOT is_closed UNION SELECT * FROM driveprep.said
) AS every
ORDER BY device_id, generation DESC, job_id NULLS LAST, id;
DELETE FROM driveprep.claim WHERE NOT is_closed OR job_id IN (SELECT job_id FROM merged);
UPDATE merged SET id = new_id, signed_at = latest, generation = next;
ALTER TABLE merged DROP COLUMN new_id, DROP COLUMN latest, DROP COLUMN next;
INSERT INTO driveprep.claim SELECT * FROM merged;
UPDATE driveprep.manifest SET is_over = true WHERE sha256 IN (SELECT sha256 FROM merged);
DELETE FROM driveprep.manifest WHERE is_delivered OR (is_over AND previous IS NULL);
DELETE FROM driveprep.said;
UPDATE driveprep.pool SET is_open = true;
"""


def say(cursor: Cursor, member: Membership, held: Iterable[Held]) -> Membership:
    """Say what a station holds; return what it then remembers. Safe to repeat.

    The pool is closed if this member is the first to notice that commits were lost, and reopened if
    it is the last one to say what it holds. Raises PoolError if it was taken over.
    """
    facts, is_open = schema.facts(cursor, lock=True)
    epoch = close_if_lost(cursor, member, facts, is_open=is_open)
    if is_open and epoch == facts.epoch:
        return member.seeing(facts)
    if schema.is_known(cursor, member):  # not so if the database is older than its membership
        schema.check_member(cursor, member)
    cursor.execute(_MEMBER, [member.station, member.name, member.generation, epoch])
    cursor.execute("DELETE FROM driveprep.said WHERE station = %s", [member.station])
    for one in held:
        made = json.dumps(dict(one.made)) if one.made else None
        own = [member.station, one.generation, one.job_id or None, made]
        cursor.execute(_SAY, [*values(one.claim), *own])
    reopen_if_all_have_said(cursor, epoch)
    return member.seeing(replace(schema.leave(cursor, facts), epoch=epoch))


def close_if_lost(cursor: Cursor, member: Membership, facts: Facts, *, is_open: bool) -> int:
    """Close the pool if this member is the first to notice that commits were lost.

    Returns the epoch for which each member has to say what it holds.
    """
    is_noticed = not is_open and facts.epoch > member.facts.epoch  # by another member
    if not facts.lost_since(member.facts) or is_noticed:
        return facts.epoch
    return close(cursor, max(facts.epoch, member.facts.epoch) + 1)


def close(cursor: Cursor, epoch: int) -> int:
    """Close the pool until each member has said what it holds, for a new epoch; return that."""
    cursor.execute(_CLOSE, [epoch])
    return epoch


def reopen_if_all_have_said(cursor: Cursor, epoch: int) -> bool:
    """Reopen the pool if no member is missing any more; return whether it is open."""
    (missing,) = cursor.execute(
        "SELECT count(*) FROM driveprep.station WHERE successor IS NULL AND epoch <> %s", [epoch]
    ).fetchone()
    if not missing:
        cursor.execute(_MERGE)
    return not missing
