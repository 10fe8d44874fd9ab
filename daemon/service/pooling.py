"""When journal and pool are brought into agreement: after news of either, and once a minute."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from daemon.config.loading import Config
from daemon.drives.recognition import resemblance
from daemon.errors import PoolError
from daemon.jobs.job import Identities
from daemon.jobs.journal import Journal
from daemon.pool import membership
from daemon.pool.alone import Alone, Unjoined
from daemon.pool.membership import Membership
from daemon.pool.values import Pool
from daemon.service.bell import Bell, Ring
from daemon.service.workers import Workers
from daemon.spool.spool import Spool

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

    from daemon.pool.connection import Connections
    from daemon.pool.lock import StationLock
    from daemon.preparation.sharing import Sharing

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.pool")

# Is told why the pool allows no claim (None: it does), and which manifests it does not know of.
Report = Callable[[PoolError | None, list[str]], None]

KEY = "/pool"  # of the worker; it is no deviceId
SCAN_SECONDS = 60.0  # news can be lost; behind pgbouncer there is none
LATER_SECONDS = 0.2  # a drive that is being signed has the cores, and the pool, for itself
AGAIN_SECONDS = 2.0  # after a turn that could not finish
AWAY_SECONDS = 5.0  # between two attempts to reach a database that does not answer


class Pooling:
    """Starts the worker that brings both into agreement. For the main loop's thread only."""

    def __init__(
        self,
        sharing: Sharing,
        connections: Connections,
        lock: StationLock,
        workers: Workers,
        bell: Bell,
        steady: Callable[[], float],
        report: Report,
    ) -> None:
        self._sharing = sharing
        self._listener = Listener(connections, sharing.station.member.station, lock, self.news)
        self._workers = workers
        self._bell = bell
        self._steady = steady
        self._report = report
        self._is_due = True
        self._next_at = steady()
        self._was_away = False
        self._changes: int | None = None

    def start(self) -> None:
        """Begin to listen for news of the pool. Only once."""
        self._listener.start()

    def stop(self) -> None:
        """End the listening. Safe to repeat."""
        self._listener.stop()

    def news(self) -> None:
        """Ring: the pool, or the journal, has changed. From any thread."""
        self._is_due = True
        self._bell.ring(Ring.WORK)

    def run(self, seen: Mapping[str, Identities], changes: int) -> None:
        """Start the worker if it is time and none is at work.

        `seen` are the drives that are here, by each deviceId that they answer to; `changes` tells
        whether the jobs are as they were. Both wait a moment while a worker has a drive.
        """
        busy, told = self._workers.busy(), self._sharing.exchange.seen
        # A drive that is being signed is here until that is recorded.
        seen = {one: told[one] for one in busy & told.keys()} | dict(seen)
        is_changed = seen != told or changes != self._changes
        self._changes = changes
        if is_changed and busy and KEY not in busy:
            self._next_at = min(self._next_at, self._steady() + LATER_SECONDS)
        elif is_changed:
            self._is_due = True
        if (self._is_due or self._steady() >= self._next_at) and KEY not in busy:
            self._is_due = False
            self._sharing.exchange.seen = seen
            self._next_at = self._steady() + SCAN_SECONDS
            self._workers.start(KEY, self._agree)

    def pause(self) -> float:
        """Return the seconds until it is time."""
        return max(0.0, self._next_at - self._steady())

    def _agree(self) -> None:
        before = self._sharing.station.member.facts
        try:
            is_again = self._sharing.agree()
        except PoolError as error:
            self._report(error, self._sharing.exchange.unpublished())
            self._next_at = self._steady() + AWAY_SECONDS
            self._was_away = True
            return
        self._report(None, [])
        is_back, self._was_away = self._was_away, False
        if is_again:
            self._next_at = self._steady() + AGAIN_SECONDS
        if is_again or is_back or self._sharing.station.member.facts != before:
            self._bell.ring(Ring.POOL)


class Listener:
    """Waits for NOTIFY on a connection of its own, in a thread. Only a bell: news can be lost.

    This connection also holds the station's lock.
    """

    def __init__(
        self, connections: Connections, own: str, lock: StationLock, news: Callable[[], None]
    ) -> None:
        """`own` is this station's id: what it has written itself is no news."""
        self._own = own.encode()
        self._lock = lock
        self._connections = connections
        self._news = news
        self._is_over = threading.Event()
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name=KEY, daemon=True)

    def start(self) -> None:
        """Begin to listen. Only once."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; the thread may outlive the call. Safe to repeat."""
        self._is_over.set()
        os.eventfd_write(self._over, 1)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with suppress(OSError):  # the lock's check finds that the connection has ended
                    self._listen()
            except PoolError as error:
                self._lock.lose(error)
            self._is_over.wait(AWAY_SECONDS)

    def _listen(self) -> None:
        from daemon.pool.connection import CHANNEL, translated  # noqa: PLC0415

        with closing(self._connections.open()) as connection, translated():
            connection.execute(f"LISTEN {CHANNEL}")
            self._lock.take(connection)
            self._news()  # of the time when nobody listened
            while not self._is_over.is_set():
                select.select([connection.fileno(), self._over], [], [])
                connection.pgconn.consume_input()
                if self._has_news(connection.pgconn):
                    self._news()

    def _has_news(self, line: PGconn) -> bool:
        told = list(iter(line.notifies, None))
        return any(one.extra != self._own for one in told)


def _differs(one: Identities, other: Identities) -> bool:
    return bool(resemblance.compare(one, other)[1])


def shared(
    settings: Config,
    journal: Journal,
    spool: Spool,
    workers: Workers,
    bell: Bell,
    steady: Callable[[], float],
    report: Report,
) -> tuple[Pool, Pooling | None]:
    """Return the pool, and what keeps the journal in agreement with it, if there is one.

    `report` is told how the pool is.
    """
    text = journal.membership()
    if not settings.pool.address or text is None:
        is_alone = not settings.pool.address and text is None
        return Alone() if is_alone else Unjoined(is_configured=text is None), None
    from daemon.pool.connection import Connections  # noqa: PLC0415 - a station alone needs neither
    from daemon.pool.lock import StationLock  # noqa: PLC0415
    from daemon.pool.station import Station  # noqa: PLC0415
    from daemon.preparation.exchange import Exchange  # noqa: PLC0415
    from daemon.preparation.sharing import Sharing  # noqa: PLC0415

    def remember(member: Membership) -> None:
        journal.record_membership(member.dump())

    connections = Connections(settings.pool.address, settings.pool.password_file)
    member = membership.load(text)
    lock = StationLock(member.station, member.name)
    station = Station(connections, member, remember, differs=_differs, lock=lock)
    sharing = Sharing(journal, station, spool, Exchange(journal, station, spool))
    pooling = Pooling(sharing, connections, lock, workers, bell, steady, report)
    station.has_changed = pooling.news
    return station, pooling
