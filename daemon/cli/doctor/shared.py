"""The pool that this station shares with others, if it is in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from daemon.cli.doctor.finding import Finding, ok, problem
from daemon.errors import JournalError, PoolError
from daemon.jobs import reader

if TYPE_CHECKING:
    from daemon.config.loading import Config


def pool(settings: Config) -> Iterator[Finding]:
    """Check that its database answers, is open, and keeps what it commits."""
    if not settings.pool.address:
        return
    from daemon.pool import schema  # noqa: PLC0415 - a station alone does not need it
    from daemon.pool.connection import Connections  # noqa: PLC0415

    try:
        is_joined = reader.membership(settings.spool) is not None
    except JournalError as error:
        yield problem("pool", str(error), error.hint)
        return
    if not is_joined:
        yield problem("pool", "this station has not joined it", "driveprep pool join NAME")
    address, password = settings.pool.address, settings.pool.password_file
    with closing(Connections(address, password)) as connections:
        try:
            _, is_open = connections.run(lambda cursor: schema.facts(cursor, lock=False))
            dangers = connections.run(schema.dangers)
        except PoolError as error:
            yield problem("pool", str(error), error.hint)
            return
    if not is_open:
        yield problem("pool", "it is closed: commits were lost", "driveprep pool status")
    for danger in dangers:
        yield problem("pool", danger, "See docs/pool.md.")
    if is_joined and is_open and not dangers:
        yield ok("pool", "its database answers, and keeps what it commits")
