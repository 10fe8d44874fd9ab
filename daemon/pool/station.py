"""A station as a member of its pool: the calls, each one transaction. Keeps no jobs."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from daemon.errors import PoolAwayError, PoolError
from daemon.pool import benches, claims, reopening, schema
from daemon.pool.benches import Benches
from daemon.pool.connection import Connections, Cursor
from daemon.pool.lock import StationLock
from daemon.pool.membership import Facts, Membership
from daemon.pool.sightings import Differs
from daemon.pool.values import Claim, Elsewhere, Held

T = TypeVar("T")

FRESH_SECONDS = 10.0  # so long a claim that was seen as ours is not looked up again


class Station:
    """A `Pool` in a database. Safe to use from several threads.

    `remember` makes durable what the station knows of the database; it is called before a claim is
    used. `has_changed` is told that the journal has news for the pool. All calls raise
    PoolAwayError or PoolError.
    """

    is_shared = True

    def __init__(
        self,
        connections: Connections,
        member: Membership,
        remember: Callable[[Membership], None],
        has_changed: Callable[[], None] = lambda: None,
        differs: Differs = lambda _one, _other: False,
        lock: StationLock | None = None,
    ) -> None:
        """Without a lock, the caller knows that no other process is this station."""
        self.name = member.name
        self._sole = lock
        self.differs = differs  # whether identities are those of two drives
        self.member = member
        self.has_changed = has_changed  # the journal has news for the pool
        self._connections = connections
        self._remember = remember
        self._lock = threading.Lock()
        self._confirmed: dict[str, float] = {}  # claims that were ours at that time, steady
        self._given_back: set[str] = set()  # under which nothing will be sent
        self._seen_at: dict[str, float] = {}  # when each station was seen, at the last look
        self._benches: tuple[Facts, Benches] | None = None  # what was seen last
        self._looked: tuple[Facts, list[Held]] | None = None  # what was seen last
        self._unsent: set[str] = set()  # claims under which this process has sent nothing yet
        self._ready: dict[str, Claim] = {}  # of these, those whose request may leave at any time

    def claim(self, claim: Claim, previous: str) -> str:
        """Commit a claim and return its id, or raise: then nothing may be sent.

        `previous` is the id of this station's last claim for the job, if the journal proves that
        nothing was made under it; "" if there is none.
        """
        claim = claim if claim.id else replace(claim, id=str(uuid.uuid4()))
        with self._lock:
            self._unsent.add(claim.id)  # whatever comes of it: nothing was sent before we return
            unsent = self._unsent | {previous}

        def work(cursor: Cursor) -> Facts:
            facts = schema.enter(cursor, self.member)
            schema.check_account(cursor, claim.endpoint, claim.access_key_id)
            if self._sole:
                self._sole.check(cursor)
            claims.claim(cursor, self.member, claim, unsent, self.differs)
            return schema.leave(cursor, facts, self.member)

        self._wait_for_lock()
        begun = time.monotonic()
        self._see(self._connections.run(work))
        self._confirm([claim.id], begun)
        self._ready[claim.id] = claim
        return claim.id

    def _wait_for_lock(self) -> None:
        if self._sole:
            self._sole.wait()

    def sent(self, claim_id: str) -> None:
        """The journal has recorded that the CreateJob of a claim leaves now."""
        with self._lock:
            self._unsent.discard(claim_id)
            self._ready.pop(claim_id, None)

    def give_back(self, claim_id: str) -> None:
        """Nothing is sent under this claim: it may be released. Returns at once."""
        with self._lock:
            self._ready.pop(claim_id, None)
            self._given_back.add(claim_id)
        self.has_changed()

    def is_given_back(self, claim_id: str) -> bool:
        """Return whether nothing will be sent under a claim that this process has made."""
        return claim_id in self._given_back

    def check(self, device_id: str, claim_id: str) -> None:
        """Raise PoolError if another station holds the claim now. Silent if that is not known.

        What was confirmed some seconds ago is not asked again.
        """
        confirmed_at = self._confirmed.get(claim_id)
        if not claim_id or (
            confirmed_at is not None and time.monotonic() < confirmed_at + FRESH_SECONDS
        ):
            return
        begun = time.monotonic()
        with suppress(PoolAwayError):
            held = self.holder(device_id)
            if held and held.station != self.member.station:
                raise PoolError(
                    f"station {held.station_name} has the job for {device_id} now",
                    "Its drive was moved there, or this station was taken over: nothing is to be"
                    " done here.",
                    code="pool-lost",
                )
            self._confirm([claim_id], begun)

    def _confirm(self, claim_ids: Iterable[str], now: float) -> None:
        """Remember, by a clock that goes on while this process is stopped, that they are ours."""
        fresh = {one: at for one, at in self._confirmed.items() if now < at + FRESH_SECONDS}
        self._confirmed = fresh | dict.fromkeys(claim_ids, now)

    def is_unsent(self, claim_id: str) -> bool:
        """Return whether this process has made the claim, and sent nothing under it."""
        return claim_id in self._unsent

    def is_of_others(self, job_id: str, device_id: str) -> bool:
        """Return whether a job of the service is, or may be, one of another station."""
        station = self.member.station
        return self._connections.run(
            lambda cursor: claims.is_of_others(cursor, station, job_id, device_id)
        )

    def station_of(self, job_id: str) -> str:
        """Return the name of another station that has made a job; "" if that is not known."""
        station = self.member.station
        with suppress(PoolError):
            return self._connections.run(lambda cursor: claims.station_of(cursor, station, job_id))
        return ""

    def elsewhere(self, word: str) -> Elsewhere | None:
        """Return what another station has for a JobId, a deviceId or the name of a manifest."""
        return self.ask(claims.elsewhere, word)

    def look(self) -> list[Held]:
        """Be seen, and return this station's open claims, read again only after a change.

        Raises PoolError if the database has lost commits (code pool-closed), the station was taken
        over, or another daemon is this station.
        """

        def work(cursor: Cursor) -> tuple[Facts, list[Held]]:
            found, is_open = schema.facts(cursor, lock=False)
            if found.lost_since(self.member.facts) or not is_open:
                raise PoolError("the pool is closed", code="pool-closed")
            self._seen_at = schema.check_member(cursor, self.member)
            if (seen := self._looked) and seen[0] == found:
                return seen
            return found, claims.of_station(cursor, self.member.station)

        self._wait_for_lock()
        begun = time.monotonic()
        self._looked = found, held = self._connections.run(work)
        self._see(found)
        self._confirm([one.claim.id for one in held], begun)
        return held

    def benches(self) -> Benches:
        """Return what is at the other stations, read again only after a change; after `look`.

        Is the same object while nothing is new.
        """
        facts, kept = self.member.facts, self._benches
        found = kept[1] if kept and kept[0] == facts else self.ask(benches.read)
        self._benches = facts, benches.seen(found, self._seen_at)
        return self._benches[1]

    def ask(self, work: Callable[..., T], *values: object) -> T:
        """Return what `work` reads, for this member and these values, in one transaction."""
        return self._connections.run(lambda cursor: work(cursor, self.member, *values))

    def change(self, work: Callable[..., T], *values: object) -> T:
        """Return what `work` returns, in one transaction that changes rows. Safe to repeat.

        Only while the pool is open.
        """

        def run(cursor: Cursor) -> tuple[Facts, T]:
            facts = schema.enter(cursor, self.member)
            result = work(cursor, self.member, *values)
            return schema.leave(cursor, facts, self.member), result

        facts, result = self._connections.run(run)
        self._see(facts)
        return result

    def write(self, work: Callable[..., bool], *values: object) -> bool:
        """Return whether `work` changed rows that are this station's own. Safe to repeat.

        That is safe while the pool is closed, too.
        """

        def run(cursor: Cursor) -> bool:
            facts, _ = schema.facts(cursor, lock=True)
            if not facts.lost_since(self.member.facts) and work(cursor, self.member, *values):
                schema.leave(cursor, facts, self.member)
                return True
            return False

        return self._connections.run(run)

    def holder(self, device_id: str) -> Held | None:
        """Return the open claim of a deviceId, whoever holds it."""
        return self._connections.run(lambda cursor: claims.of_device(cursor, device_id))

    def say(self, held: Iterable[Held]) -> None:
        """Say what this station holds, after the database has lost commits. Safe to repeat.

        A worker may have its claim, and be about to record and send: that is said, too.
        """
        member, said = self.member, {one.claim.id: one for one in held}
        for claim_id, claim in self._ready.copy().items():
            said.setdefault(claim_id, Held(claim, member.station, member.name, 1))
        member = self._connections.run(lambda cursor: reopening.say(cursor, member, said.values()))
        self._see(member.facts)

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._connections.close()

    def _see(self, facts: Facts) -> None:
        """Remember a newer state of the database; an answer can come late."""
        with self._lock:
            before = self.member.facts
            is_newer = (facts.epoch, facts.revision) > (before.epoch, before.revision)
            if is_newer or facts.lost_since(before):
                self.member = self.member.seeing(facts)
                self._remember(self.member)
