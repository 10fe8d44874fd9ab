"""Everything that the pool holds, row by row, for people who read it without driveprep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from daemon.pool.connection import translated

if TYPE_CHECKING:
    import psycopg

AT_ONCE = 1000  # rows
_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
_QUERIES = (
    """
SELECT json_build_object('kind', 'pool', 'id', id, 'version', version, 'endpoint', endpoint,
    'accessKeyId', access_key_id, 'isOpen', is_open, 'revision', revision, 'epoch', epoch), NULL
FROM driveprep.pool
""",
    f"""
SELECT json_build_object('kind', 'station', 'id', s.id, 'station', s.name,
    'seenAt', {_TIME.format("s.seen_at")}, 'successor', o.name), NULL
FROM driveprep.station s LEFT JOIN driveprep.station o ON o.id = s.successor ORDER BY s.name
""",
    f"""
SELECT json_build_object('kind', 'claim', 'deviceId', c.device_id, 'jobId', c.job_id,
    'station', s.name, 'isOpen', NOT c.is_closed, 'state', coalesce(c.made ->> 'state', 'InDoubt'),
    'signedAt', {_TIME.format("to_timestamp(c.signed_at)")}, 'manifest', c.name,
    'sha256', c.sha256, 'fileSystem', c.file_system, 'drive', c.drive,
    'shippingAddress', c.made -> 'fields' ->> 'shipping_address',
    'signature', c.made -> 'fields' ->> 'signature'), c.manifest
FROM driveprep.claim c JOIN driveprep.station s ON s.id = c.station
ORDER BY c.signed_at, c.id
""",
    """
SELECT json_build_object('kind', 'manifest', 'deviceId', m.device_id, 'station', s.name,
    'manifest', m.name, 'sha256', m.sha256), m.text
FROM driveprep.manifest m JOIN driveprep.station s ON s.id = m.station
WHERE NOT m.is_over ORDER BY m.device_id, m.sha256
""",
)


def rows(connection: psycopg.Connection[Any]) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Yield each row as an object of JSON's types, all of one moment, with its manifest's text.

    The pool may be in use, or closed. Raises PoolError, PoolAwayError.
    """
    with translated(), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for number, query in enumerate(_QUERIES):
            with connection.cursor(name=f"export{number}") as cursor:
                cursor.itersize = AT_ONCE
                cursor.execute(query)
                for row, text in cursor:
                    yield row, bytes(text) if text is not None else None
