"""Connections to the pool's database. Every call ends within a deadline; errors are PoolErrors.

psycopg is loaded with the first connection only: a station alone does not have it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from daemon.errors import PoolAwayError, PoolError

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
Cursor = Any  # psycopg's, with rows as tuples

DEADLINE_SECONDS = 5.0  # of connecting, and of one transaction
AT_ONCE = 4  # connections of a station, without the one that listens
KEPT = 2  # of these stay open
CHANNEL = "driveprep"
# Milliseconds. A station that is frozen in the middle of a transaction holds up no one for long.
LIMITS = (
    "SET LOCAL statement_timeout = 4500; SET LOCAL lock_timeout = 4500;"
    " SET LOCAL idle_in_transaction_session_timeout = 2000"
)
# A server that is alive but rejects what was asked; others cannot be asked now.
FORBIDDEN = ("28", "3D", "42", "3F")  # SQLSTATE: authentication, no such database, rights, schema
CONNECTED: dict[str, Any] = {
    "connect_timeout": int(DEADLINE_SECONDS),
    "tcp_user_timeout": int(DEADLINE_SECONDS * 1000),
    "keepalives_idle": 30,
    "application_name": "driveprep",
    # Behind pgbouncer a prepared statement could be that of another station.
    "prepare_threshold": None,
}


class Connections:
    """The connections of one station. Safe to use from several threads."""

    def __init__(self, address: str, password_file: str = "") -> None:
        """`address` is a URL or `service=NAME`; it has no password and is never shown."""
        self._address = address
        self._password_file = password_file
        self._room = threading.Semaphore(AT_ONCE)
        self._idle: list[psycopg.Connection[Any]] = []

    def run(self, work: Callable[[Cursor], T]) -> T:
        """Return what `work` returns in one committed transaction.

        If the connection breaks, `work` may run again although the first run was committed, so it
        must be safe to repeat. Raises PoolAwayError, PoolError.
        """
        if not self._room.acquire(timeout=DEADLINE_SECONDS):
            raise _away("too many requests at once")
        try:
            if connection := self._take():
                with suppress(PoolAwayError):  # it may have been cut long ago
                    return self._run(connection, work)
            return self._run(self.open(), work)
        finally:
            self._room.release()

    def open(self) -> psycopg.Connection[Any]:
        """Return a new connection. Raises PoolAwayError, PoolError."""
        with translated() as driver:
            opened: psycopg.Connection[Any] = driver.connect(
                self._address, password=self._password(), autocommit=True, **CONNECTED
            )
            return opened

    def close(self) -> None:
        """Close what is kept open. Safe to repeat."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> psycopg.Connection[Any] | None:
        with suppress(IndexError):
            return self._idle.pop()
        return None

    def _run(self, connection: psycopg.Connection[Any], work: Callable[[Cursor], T]) -> T:
        try:
            with translated(), _deadline(connection), connection.transaction():
                cursor = connection.cursor()
                cursor.execute(LIMITS)
                result = work(cursor)
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < KEPT:
            self._idle.append(connection)
        else:
            connection.close()
        return result

    def _password(self) -> str | None:
        if not self._password_file:
            return None  # PGPASSFILE, ~/.pgpass, or none is needed
        try:
            return Path(self._password_file).read_text("utf-8").rstrip("\n")
        except OSError as error:
            raise PoolError(
                f"the pool's password file cannot be read: {error.strerror}",
                "Correct pool.password_file in config.yml, or the file's owner and mode.",
                code="pool-password",
            ) from error


def _driver() -> Any:  # noqa: ANN401 - a module
    try:
        import psycopg  # noqa: PLC0415 - only a station with a pool has it
    except ImportError as error:
        raise PoolError(
            "`pool` is configured, but psycopg is not installed",
            "Install it: apt install python3-psycopg, or pip install driveprep[pool].",
            code="pool-no-psycopg",
        ) from error
    return psycopg


@contextmanager
def _deadline(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Cut the connection when the block takes too long: a server that hangs keeps no deadline."""
    cut = threading.Timer(DEADLINE_SECONDS, _cut, [connection.fileno()])
    cut.daemon = True
    cut.start()
    try:
        yield
    finally:
        cut.cancel()


def _cut(descriptor: int) -> None:
    with suppress(OSError), closing(socket.socket(fileno=os.dup(descriptor))) as found:
        found.shutdown(socket.SHUT_RDWR)


@contextmanager
def translated() -> Iterator[Any]:
    """Turn psycopg's errors in the block into PoolErrors. Their texts have no connection string."""
    driver = _driver()
    try:
        yield driver
    except driver.Error as error:
        state = getattr(error, "sqlstate", None) or ""
        reason = str(getattr(error.diag, "message_primary", None) or error).partition("\n")[0]
        if state.startswith(FORBIDDEN):
            raise PoolError(
                f"the pool's database refuses this: {reason}",
                "Check `pool` in config.yml, and that `driveprep pool init` was run.",
                code="pool-refused",
            ) from error
        raise _away(reason) from error


def _away(reason: str) -> PoolAwayError:
    return PoolAwayError(
        f"the pool's database cannot be asked: {reason}",
        "No new job is made meanwhile. It goes on by itself once the database answers.",
        code="pool-away",
    )
