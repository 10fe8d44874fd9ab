"""One daemon for each station: an advisory lock for the station's id, held by a connection.

The id is in the journal, so a machine that was copied has the same one. Behind a proxy that shares
its connections, such as pgbouncer, no connection can hold a lock: there is none then.
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

from daemon.errors import PoolAwayError, PoolError
from daemon.pool.connection import DEADLINE_SECONDS, Cursor

if TYPE_CHECKING:
    import psycopg

# The server notices a machine that lost its power within 25 s, so that the lock is free again.
_KEEPALIVES = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
_KEY = "(classid::bigint << 32) + objid::bigint = %s AND objsubid = 1 AND locktype = 'advisory'"
_IS_HELD = f"SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND {_KEY})"
_HOLDER = f"""
SELECT host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {_KEY}
"""


class StationLock:
    """The lock of one station, for this process. Safe to use from several threads."""

    def __init__(self, station: str, name: str) -> None:
        self._key = _key(station)
        self._name = name
        # The server's process that holds it; None: no lock is possible, or it was not asked yet.
        self._held: int | PoolError | None = None
        self._is_asked = threading.Event()

    def take(self, connection: psycopg.Connection[Any]) -> None:
        """Take it for as long as this connection lasts. Raises PoolError if another one has it."""
        (process,) = _row(connection, "SELECT pg_backend_pid()")
        if process != connection.info.backend_pid:  # a proxy's own number
            self._set(None)
            return
        connection.execute(_KEEPALIVES)
        if not _row(connection, "SELECT pg_try_advisory_lock(%s)", self._key)[0]:
            raise _taken(self._name, _row(connection, _HOLDER, self._key))
        self._set(process)

    def lose(self, reason: PoolError) -> None:
        """Have `wait` and `check` raise this reason until the lock is taken again."""
        self._set(reason)

    def wait(self) -> None:
        """Wait for the first answer, some seconds at most. Raises PoolError if it has not come."""
        if not self._is_asked.wait(DEADLINE_SECONDS):
            raise _ended()
        if isinstance(self._held, PoolError):
            raise self._held

    def check(self, cursor: Cursor) -> None:
        """Raise PoolError unless this process has the lock now, in a transaction after `wait`."""
        held = self._held
        if isinstance(held, PoolError):
            raise held
        if held and not cursor.execute(_IS_HELD, [held, self._key]).fetchone()[0]:
            raise _ended()

    def _set(self, held: int | PoolError | None) -> None:
        self._held = held
        self._is_asked.set()


def check_free(cursor: Cursor, station: str, name: str) -> None:
    """Raise PoolError if a daemon runs as this station, on whatever machine."""
    key = _key(station)
    if not cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key]).fetchone()[0]:
        raise _taken(name, cursor.execute(_HOLDER, [key]).fetchone())


def _key(station: str) -> int:
    return int.from_bytes(uuid.UUID(station).bytes[:8], signed=True)


def _row(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:  # noqa: ANN401
    return connection.execute(query, values).fetchone()


def _taken(name: str, holder: tuple[str | None] | None) -> PoolError:
    place = f", on {holder[0]}" if holder and holder[0] else ""  # a socket has no address
    return PoolError(
        f"another daemon runs as station {name}{place}",
        "Leave only one. If this machine is a copy of that one: stop driveprep here, empty its"
        " spool, then driveprep pool join NAME. If this machine has lost its power or its network,"
        " nothing is to be done: it goes on by itself within a minute.",
        code="pool-same-station",
    )


def _ended() -> PoolAwayError:
    return PoolAwayError(
        "the pool's database cannot be asked: no connection holds the lock of this station",
        "No new job is made meanwhile. It goes on by itself once the database answers.",
        code="pool-away",
    )
