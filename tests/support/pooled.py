"""Two worlds that share a pool: one service, one clock, one PostgreSQL, and a drive at one of them.

A pool's effect is its COMMIT, and the answer to it: both are heard. There is no NOTIFY, and no lock
of a station, as behind pgbouncer: a thread that listens would make no two lives the same.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from unittest.mock import patch

import crash
import everywhere
import psycopg
from outside import ENDPOINT
from postgres import Postgres
from world import Photo, World

from daemon.config.pool import Pool
from daemon.desk import joining
from daemon.importexport.emulator import EXAMPLE
from daemon.jobs.job import Pending
from daemon.jobs.journal import Journal
from daemon.pool import connection, members
from daemon.service import pooling
from daemon.spool.spool import Spool

UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TABLES = ("station", "claim", "manifest", "sighting", "said")
PASSING = ("seen_at", "since", "revision", "written_by")  # columns that decide nothing here
REST_SECONDS = 65.0  # of the world's clock: a station looks once a minute
LATE_SECONDS = 905.0  # no request arrives any more


class HeardConnections(connection.Connections):
    """Connections whose commits are heard, before the server gets them and after its answer."""

    def run(self, work: Callable[[connection.Cursor], Any]) -> Any:
        """As Connections has it. A transaction that has written nothing is no effect."""
        is_written = False

        def heard(cursor: connection.Cursor) -> Any:
            nonlocal is_written
            result = work(cursor)
            query = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"
            is_written = cursor.execute(query).fetchone()[0]
            if is_written:
                crash.announce("pool COMMIT")
            return result

        result = super().run(heard)
        if is_written:
            crash.announce("pool COMMIT, its answer")
        return result


class Unheard(pooling.Listener):
    """Listens to nothing."""

    def start(self) -> None:
        """There is no lock, either."""
        self._lock._set(None)


class Station(World):
    """A world whose daemon is a member of the pool."""

    is_out = False  # of the pool: it was taken over

    def is_at_rest(self, ledger: Journal, started_at: float) -> bool:
        """Also nothing in pending/, if it can go on, and the pool was looked at."""
        has_looked = self.clock.now >= started_at + REST_SECONDS
        if self.is_out:
            return has_looked and all(isinstance(one.state, Pending) for one in ledger.unfiled())
        return has_looked and not ledger.unfiled() and not any(self.spool.glob("pending/*.yml"))


@dataclass(frozen=True)
class Moment:
    """All that is left of the pool when the daemon that was running is gone."""

    photos: tuple[Photo, Photo]
    rows: dict[str, Any]
    is_moved: bool  # the drive is at the second station
    is_out: bool  # the first station was taken over
    has_filed: bool  # before that


class Pooled:
    """The stations and their pool. `acts` are the names of its methods."""

    def __init__(self, server: Postgres) -> None:
        self.stations = (Station(), Station())
        self._line = psycopg.connect(server.url, autocommit=True)
        self._url = f"{server.url}&options=-csynchronous_commit%3Doff"  # no test kills the server
        self.is_moved = self.has_filed = False
        first, second = self.stations
        second.clock, second.wire = first.clock, first.wire
        self._members = [
            self._join(one, name) for one, name in zip(self.stations, "AB", strict=True)
        ]
        self.drive = first.new_drive("HD001", "WX11")
        self._place()

    def close(self) -> None:
        """Remove everything."""
        self._line.close()
        for one in self.stations:
            one.__exit__()

    def key(self, moment: Moment) -> str:
        """The same for moments that no daemon can tell apart."""
        now = moment.photos[0].now
        rows = [_shown(row, now) for name in TABLES for row in moment.rows[name]]
        files = [everywhere.key(photo) for photo in moment.photos]
        text = repr((files, rows, moment.is_moved, moment.is_out, moment.has_filed))
        numbers, seen = count(), dict[str, str]()
        return UUIDS.sub(lambda one: seen.setdefault(one[0], f"U{next(numbers)}"), text)

    def moment(self) -> Moment:
        """What a SIGKILL would leave now."""
        parts = [
            f"'{one}', (SELECT json_agg(t) FROM driveprep.{one} t)" for one in (*TABLES, "pool")
        ]
        query = f"SELECT json_build_object({','.join(parts)})"
        ((found,),) = self._line.execute(query).fetchall()
        rows = {name: found[name] or [] for name in found}
        first, second = self.stations
        photos = first.photo(), second.photo()
        return Moment(photos, rows, self.is_moved, first.is_out, self.has_filed)

    def restore(self, moment: Moment) -> None:
        """Go back to that moment, with no daemon running."""
        for one, photo in zip(self.stations, moment.photos, strict=True):
            one.restore(photo)
        with self._line.transaction():
            for name in reversed(TABLES):
                self._line.execute(f"DELETE FROM driveprep.{name}")
            for name in TABLES:
                self._line.execute(
                    f"INSERT INTO driveprep.{name}"
                    f" SELECT * FROM json_populate_recordset(NULL::driveprep.{name}, %s)",
                    [json.dumps(moment.rows[name])],
                )
            (pool,) = moment.rows["pool"]
            self._line.execute(
                "UPDATE driveprep.pool SET revision = %s, epoch = %s, is_open = %s,"
                " written_by = pg_current_xact_id()::text::bigint",
                [pool["revision"], pool["epoch"], pool["is_open"]],
            )
        self.is_moved, self.has_filed = moment.is_moved, moment.has_filed
        self.stations[0].is_out = moment.is_out
        self._place()

    # Acts

    def first(self, before: crash.Before | None = None) -> None:
        """The first station's daemon lives."""
        self._live(self.stations[0], before)

    def second(self, before: crash.Before | None = None) -> None:
        """The second station's daemon lives."""
        self._live(self.stations[1], before)

    def take_over(self, before: crash.Before | None = None) -> None:
        """The second station takes the first one over, and has the drive from now on."""
        del before  # it is one transaction, or none
        self.has_filed = any(self.stations[0].spool.glob("prepared/*"))
        with closing(connection.Connections(self._url)) as connections:
            connections.run(lambda cursor: members.take_over(cursor, self._members[1], "A"))
        self.stations[0].unmount(self.drive)
        self.is_moved = self.stations[0].is_out = True
        self._place()

    def rejoin(self, before: crash.Before | None = None) -> None:
        """The first station leaves the pool, and becomes a new member."""
        del before  # what a person repeats
        first = self.stations[0]
        with closing(connection.Connections(self._url)) as connections:
            joining.leave(first._settings(), connections)
            joining.join(first._settings(), connections, "A2")
        first.is_out = False

    def look(self, before: crash.Before | None = None) -> None:
        """The first station's daemon lives for two minutes."""
        self._live(self.stations[0], before, 130.0)

    def _live(
        self, station: Station, before: crash.Before | None, patience: float = 3600.0
    ) -> None:
        with self._heard():
            station.live(before, patience=patience)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        opened: list[HeardConnections] = []

        def connections(*values: str) -> HeardConnections:
            opened.append(HeardConnections(*values))
            return opened[-1]

        with ExitStack() as stack:
            stack.enter_context(patch.object(connection, "Connections", connections))
            stack.enter_context(patch.object(pooling, "Listener", Unheard))
            try:
                yield
            finally:
                for one in opened:
                    one.close()

    def _join(self, station: Station, name: str) -> Any:
        station.pool = Pool(self._url)
        with closing(connection.Connections(self._url)) as connections:
            member = connections.run(
                lambda cursor: members.join(
                    cursor, str(uuid.uuid4()), name, ENDPOINT, EXAMPLE.access_key_id
                )
            )
        is_new = Spool(station.spool, 1.0, station.clock).is_new()
        with closing(Journal(station.spool, station.clock, is_new=is_new)) as journal:
            journal.record_membership(member.dump())
        return member

    def _place(self) -> None:
        """Have the drive come to the station that has it as soon as its daemon is idle."""
        for number, one in enumerate(self.stations):
            is_here = number == self.is_moved
            one.events = [lambda one=one: one.mount(self.drive)] if is_here else []


def _shown(row: dict[str, Any], now: float) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in PASSING}
    if "signed_at" in shown:
        shown["signed_at"] = min(now - shown["signed_at"], LATE_SECONDS)
    if shown.get("made"):
        shown["made"] = shown["made"]["state"]
    return shown
