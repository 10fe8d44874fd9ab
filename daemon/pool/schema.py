"""The pool's tables, and how a transaction begins and ends in them."""

from __future__ import annotations

from daemon.errors import PoolAwayError, PoolError
from daemon.pool.connection import CHANNEL, Cursor
from daemon.pool.membership import Facts, Membership

VERSION = 1
TABLES = """
CREATE SCHEMA driveprep;
CREATE TABLE driveprep.pool (
    only_one        boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    id              uuid NOT NULL,
    version         integer NOT NULL,           -- of these tables
    endpoint        text NOT NULL,
    access_key_id   text NOT NULL,              -- of the one account
    revision        bigint NOT NULL DEFAULT 0,  -- raised by every write
    written_by      bigint NOT NULL,            -- the transaction that wrote this row: a restore
                                                -- writes it in another one
    epoch           integer NOT NULL DEFAULT 0, -- raised when the members must publish again
    is_open         boolean NOT NULL DEFAULT true
);
CREATE TABLE driveprep.station (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    generation      integer NOT NULL DEFAULT 1, -- raised when another station takes it over
    successor       uuid REFERENCES driveprep.station,
    epoch           integer NOT NULL DEFAULT 0, -- for which it has published what it holds
    seen_at         timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE driveprep.claim (
    id              uuid PRIMARY KEY,           -- another one for each CreateJob
    device_id       text NOT NULL,
    station         uuid NOT NULL REFERENCES driveprep.station,
    generation      integer NOT NULL DEFAULT 1, -- raised when another station holds it
    name            text NOT NULL,
    sha256          text NOT NULL,
    file_system     text NOT NULL,
    manifest        bytea,                      -- as dropped; NULL once the job is filed
    signed_at       double precision NOT NULL,  -- the Timestamp of the CreateJob
    endpoint        text NOT NULL,
    access_key_id   text NOT NULL,
    drive           jsonb NOT NULL,
    job_id          text UNIQUE,
    made            jsonb,                      -- what the service answered
    is_closed       boolean NOT NULL DEFAULT false
);
-- A device carries one SIGNATURE, so at most one of its jobs is open at the service.
CREATE UNIQUE INDEX one_open_claim ON driveprep.claim (device_id) WHERE NOT is_closed;
CREATE INDEX claims_of_station ON driveprep.claim (station) WHERE NOT is_closed;
CREATE INDEX claims_by_name ON driveprep.claim (name) WHERE NOT is_closed;
CREATE INDEX claims_by_day ON driveprep.claim (signed_at) WHERE job_id IS NOT NULL;
-- Manifests that wait, each at one station: where it was dropped, or where its drive is.
CREATE TABLE driveprep.manifest (
    sha256          text PRIMARY KEY,           -- as dropped
    device_id       text NOT NULL,
    name            text NOT NULL,
    text            bytea NOT NULL,
    station         uuid NOT NULL REFERENCES driveprep.station,
    previous        uuid REFERENCES driveprep.station, -- which still has its file
    is_delivered    boolean NOT NULL DEFAULT true,     -- its file is in pending/ of the station
    is_over         boolean NOT NULL DEFAULT false     -- it waits no more; for `previous`
);
CREATE INDEX manifests_of_device ON driveprep.manifest (device_id);
CREATE INDEX manifests_by_name ON driveprep.manifest (name);
CREATE INDEX manifests_of_station ON driveprep.manifest (station) WHERE NOT is_over;
CREATE INDEX manifests_coming ON driveprep.manifest (station) WHERE NOT is_delivered;
CREATE INDEX manifests_moved ON driveprep.manifest (previous) WHERE previous IS NOT NULL;
-- The drives that stations see, by each deviceId that they answer to there.
CREATE TABLE driveprep.sighting (
    station         uuid NOT NULL REFERENCES driveprep.station,
    device_id       text NOT NULL,
    drive           jsonb NOT NULL,
    since           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (station, device_id)
);
CREATE INDEX sightings_of_device ON driveprep.sighting (device_id);
-- What members say that they hold, while the pool is closed after commits were lost.
CREATE TABLE driveprep.said (LIKE driveprep.claim INCLUDING DEFAULTS);
ALTER TABLE driveprep.said ADD PRIMARY KEY (station, id);
"""
# What makes a pool of the next version of one of the version that is the key. No pool of another
# version than this one was ever released.
MIGRATIONS: dict[int, str] = {}
# A pool that was restored stays recognisable: see `Facts.is_original`.
_MIGRATED = """
UPDATE driveprep.pool SET version = %s, revision = revision + 1, written_by = CASE
    WHEN mod(written_by, 4294967296)::text = xmin::text THEN pg_current_xact_id()::text::bigint
    ELSE written_by END
"""
GRANTS = """
GRANT USAGE ON SCHEMA driveprep TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA driveprep TO {role};
"""
_FACTS = """
SELECT version, endpoint, access_key_id, is_open,
    (SELECT system_identifier::text FROM pg_control_system()),
    CASE WHEN pg_is_in_recovery() THEN ''
        ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END,
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
    id::text, (written_by % 4294967296)::text = xmin::text, revision, epoch
FROM driveprep.pool
"""
_WRITTEN = (
    "UPDATE driveprep.pool SET revision = revision + 1,"
    " written_by = pg_current_xact_id()::text::bigint RETURNING revision"
)
WAIT_FOR_OTHERS = "5 minutes"
# Members that were seen shortly before the server's last start, and not since.
_NOT_BACK = """
SELECT name FROM driveprep.station, (
    SELECT max(seen_at) AS last FROM driveprep.station WHERE seen_at < pg_postmaster_start_time()
) AS before
WHERE successor IS NULL AND seen_at < pg_postmaster_start_time()
    AND seen_at > last - interval '10 minutes'
    AND now() < pg_postmaster_start_time() + %s::interval
ORDER BY name
"""
# Also when each other station was seen, so that this needs no query of its own.
_SEEN = """
UPDATE driveprep.station SET seen_at = now() WHERE id = %s RETURNING generation, successor, (
    SELECT json_object_agg(name, extract(epoch FROM seen_at)::float)
    FROM driveprep.station WHERE successor IS NULL
)
"""


def facts(cursor: Cursor, *, lock: bool) -> tuple[Facts, bool]:
    """Return which database this is, and whether the pool is open.

    With `lock`, all that write wait until the transaction ends. Raises PoolError, PoolAwayError.
    """
    row = cursor.execute(_FACTS + (" FOR UPDATE" if lock else "")).fetchone()
    if row is None:
        raise PoolError("there is no pool in this database", "Run `driveprep pool init`.")
    version, _endpoint, _key, is_open, system, timeline, database, pool, original, *rest = row
    if version != VERSION:
        raise PoolError(
            f"the pool has version {version}; this driveprep knows {VERSION}",
            "Install the newer driveprep here, too: nothing is claimed until then."
            if version > VERSION
            else "Run `driveprep pool init` again, as the owner of its tables: it brings them up to"
            " date. Stations with an older driveprep cannot use them any more.",
            code="pool-version",
        )
    if not timeline:
        raise PoolAwayError(
            "the pool's database is a standby",
            "Point `pool` in config.yml to the primary.",
            code="pool-standby",
        )
    found = Facts(system, timeline, database, pool, bool(original), *rest)
    return found, bool(is_open)


def migrate(cursor: Cursor) -> int:
    """Bring the pool's tables up to date; return the version that they had."""
    (found,) = cursor.execute("SELECT version FROM driveprep.pool FOR UPDATE").fetchone()
    for version in range(found, VERSION):
        cursor.execute(MIGRATIONS[version])
    if found < VERSION:
        cursor.execute(_MIGRATED, [VERSION])
    return int(found)


def dangers(cursor: Cursor) -> list[str]:
    """Return what may make the database lose what it has committed."""
    found = []
    (standbys, names, commit) = cursor.execute(
        "SELECT (SELECT count(*) FROM pg_stat_replication WHERE application_name NOT LIKE"
        " 'pg_basebackup%'), current_setting('synchronous_standby_names'),"
        " current_setting('synchronous_commit')"
    ).fetchone()
    if standbys and not names:
        found.append(
            "a standby is attached without synchronous replication: if it is promoted, it may lack"
            " claims, and the pool is closed until all stations have spoken"
        )
    if commit == "off":
        found.append("synchronous_commit is off: a crash of the server loses claims")
    return found


def check_account(cursor: Cursor, endpoint: str, access_key_id: str) -> None:
    """Raise PoolError for another account than the pool's one."""
    row = cursor.execute("SELECT endpoint, access_key_id FROM driveprep.pool").fetchone()
    if tuple(row) != (endpoint, access_key_id):
        raise PoolError(
            f"the pool is for the access key {row[1]} at {row[0]}; this station has"
            f" {access_key_id} at {endpoint}",
            "A pool has one account: correct config.yml, or use another pool.",
            code="pool-account",
        )


def enter(cursor: Cursor, member: Membership) -> Facts:
    """Begin to write as a member, alone until the end of the transaction.

    Raises PoolError if the database has or may have lost commits, the pool is closed, or the
    station was taken over: then nothing is claimed.
    """
    found, is_open = facts(cursor, lock=True)
    if (lost := found.lost_since(member.facts)) or not is_open:
        raise PoolError(
            "the pool is closed: " + (lost or "its database has lost what was committed"),
            "Each station says again what it holds; `driveprep pool status` shows for whom the pool"
            " waits. If a station is gone: driveprep pool take-over NAME.",
            code="pool-closed",
        )
    _check_restart(cursor)
    check_member(cursor, member)
    return found


def _check_restart(cursor: Cursor) -> None:
    """Raise PoolError right after a start of the server, until those who were there have looked.

    Only they can see that its files are an older copy. Who has not come back by then is not waited
    for: all times are the server's own.
    """
    rows = cursor.execute(_NOT_BACK, [WAIT_FOR_OTHERS]).fetchall()
    if rows:
        raise PoolError(
            f"the pool's database was just started; {', '.join(name for (name,) in rows)} has not"
            " seen it since",
            f"No action is needed: it is waited for, up to {WAIT_FOR_OTHERS} after the start.",
            code="pool-restarted",
        )


def check_member(cursor: Cursor, member: Membership) -> dict[str, float]:
    """Note that the station is there; return when each was seen last, by the database's clock.

    In seconds since the epoch, by their names. Raises PoolError if this one was taken over, or has
    left.
    """
    row = cursor.execute(_SEEN, [member.station]).fetchone()
    if row is None:
        raise PoolError(
            f"this station ({member.name}) is not in the pool any more",
            "driveprep pool join NAME makes it a new one.",
            code="pool-left",
        )
    if row[0] != member.generation:
        raise PoolError(
            f"this station ({member.name}) was taken over by {name_of(cursor, row[1])}",
            "Its jobs are finished there. driveprep pool join NAME makes it a new station.",
            code="pool-taken-over",
        )
    seen: dict[str, float] = row[2] or {}
    return seen


def is_known(cursor: Cursor, member: Membership) -> bool:
    """Return whether the database has the station, taken over or not."""
    query = "SELECT 1 FROM driveprep.station WHERE id = %s"
    return cursor.execute(query, [member.station]).fetchone() is not None


def leave(cursor: Cursor, found: Facts, member: Membership | None = None) -> Facts:
    """End a transaction that has written; return what the database is then.

    All stations are told, by a NOTIFY with the id of the one that has written.
    """
    (revision,) = cursor.execute(_WRITTEN).fetchone()
    cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, member.station if member else ""])
    return Facts(
        found.system, found.timeline, found.database, found.pool, True, revision, found.epoch
    )


def name_of(cursor: Cursor, station: object) -> str:
    """Return the name of a station; "?" if it is not known."""
    row = cursor.execute("SELECT name FROM driveprep.station WHERE id = %s", [station]).fetchone()
    return row[0] if row else "?"
