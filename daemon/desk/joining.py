"""How a station with its history becomes a member of a pool, and how it leaves."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from daemon.config.loading import Config
from daemon.errors import PoolError
from daemon.jobs.journal import Journal
from daemon.pool import claims, lock, members, membership
from daemon.pool.membership import Membership
from daemon.preparation import sharing
from daemon.spool.spool import Spool

if TYPE_CHECKING:
    from daemon.pool.connection import Connections, Cursor


def account(config: Config) -> tuple[str, str]:
    """Return the endpoint and the access key id of the configuration. Raises PoolError."""
    if not config.credentials.access_key_id:
        raise PoolError(
            "the access key id is not in config.yml, and a pool is for one account",
            "Write credentials.access_key_id; it is no secret.",
            code="pool-account",
        )
    return config.endpoint, config.credentials.access_key_id


def join(config: Config, connections: Connections, name: str) -> int:
    """Make this station a member; return how many open jobs it has brought.

    Raises PoolError, also if another station has a job for the same deviceId: nothing is changed
    then. Raises JournalError if the daemon runs.
    """
    station = str(uuid.uuid4())
    with stopped(config) as journal:
        if journal.membership():
            raise PoolError("this station is already in a pool", "driveprep pool leave")
        jobs = [(job, str(uuid.uuid4())) for job in journal.open_jobs()]

        def work(cursor: Cursor) -> Membership:
            member = members.join(cursor, station, name, *account(config))
            for job, claim in jobs:
                held = sharing.held(job, claim, member, journal)
                if other := claims.of_device(cursor, job.device_id):
                    raise PoolError(
                        f"station {other.station_name} has an open job for {job.device_id}, and so"
                        f" has this one: {job.job_id or job.name}",
                        "Cancel one of them, or wait until the service has finished it.",
                        code="pool-conflict",
                    )
                claims.restate(cursor, member, held)
            return member

        member = connections.run(work)
        journal.record_membership(member.dump())
        for job, claim in jobs:
            journal.record_claim(job, claim, 1)
    return len(jobs)


def leave(config: Config, connections: Connections) -> None:
    """End the membership. Raises PoolError while jobs are open, JournalError if the daemon runs.

    Raises PoolError also on a copy of the station's machine.
    """
    with stopped(config) as journal:
        text = journal.membership()
        if text is None:
            raise PoolError("this station is in no pool", "Nothing is to be done.")
        member = membership.load(text)

        def work(cursor: Cursor) -> None:
            lock.check_free(cursor, member.station, member.name)
            members.part(cursor, member)

        connections.run(work)
        journal.record_membership(None)


@contextmanager
def stopped(config: Config) -> Iterator[Journal]:
    """Open the journal like the daemon, which therefore must not run. Raises JournalError."""
    spool = Spool(config.spool, 1.0, time.monotonic)
    with closing(Journal(config.spool, time.time, is_new=spool.is_new())) as journal:
        yield journal
