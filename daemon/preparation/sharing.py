"""Brings the journal and the pool into agreement: what each knows that the other does not.

The table in docs/pool.md is `_settle` and `_take_in`; there is no other code for what a crash, a
lost answer, a take-over or a failover has left. Nothing here makes a job.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import PoolError, StaleJobError
from daemon.importexport.client import Client
from daemon.jobs import schema
from daemon.jobs.job import (
    Ceded,
    Identities,
    Job,
    NewJob,
    Pending,
    Rejected,
    Signed,
    State,
    Submitted,
    Submitting,
    about,
    drive_of,
)
from daemon.jobs.journal import Journal
from daemon.pool import claims
from daemon.pool.benches import Benches
from daemon.pool.membership import Membership
from daemon.pool.values import Claim, Held
from daemon.preparation import exchange
from daemon.preparation.exchange import Exchange
from daemon.preparation.reconciliation import CLOCK_SKEW_SECONDS
from daemon.spool.filing import digest
from daemon.spool.spool import Spool

if TYPE_CHECKING:
    from daemon.pool.station import Station

log = logging.getLogger("daemon.pool")

MARGIN_SECONDS = 2.0  # a Timestamp has whole seconds, and so has the service's Date


def claim_for(job: Job, dropped: bytes, drive: Identities, client: Client) -> Claim:
    """Return the claim for the one request that is signed now."""
    return Claim(
        "",
        job.device_id,
        job.name,
        job.sha256,
        job.file_system,
        dropped,
        client.now(),
        client.endpoint,
        client.access_key_id,
        drive,
    )


@dataclass(slots=True)
class Sharing:
    """Keeps a station's journal and its pool in agreement. For one thread only."""

    journal: Journal
    station: Station
    spool: Spool
    exchange: Exchange
    _shown: Benches | None = None

    def agree(self) -> bool:
        """Do what can be done now; return whether another turn is needed soon. Safe to repeat.

        Raises PoolAwayError if the database does not answer, PoolError if it is closed, or if this
        station was taken over: its jobs are then left to the other one.
        """
        jobs = self.journal.claimed()  # before the claims: a job that moves on is stale then
        held = {one.claim.device_id: one for one in self._look()}
        for job in self.journal.unclaimed():  # found at the service; the next turn publishes it
            if job.device_id not in held:
                self.journal.record_claim(job, str(uuid.uuid4()), 1)
        for job in jobs:
            with suppress(StaleJobError):  # a worker is faster: the next turn sees it as it is
                self._settle(job, held.pop(job.device_id, None))
        is_again = sum(self._take_in(one) for one in held.values()) > 0
        is_again = self.exchange.agree() or is_again
        self._show_benches()
        return is_again

    def _show_benches(self) -> None:
        """Keep what is at the other stations for people: they read the journal, not the pool."""
        found = self.station.benches()
        if found != self._shown:
            self.journal.record_benches(json.dumps(found))
            self._shown = found

    def _look(self) -> list[Held]:
        try:
            return self._look_or_say()
        except PoolError as error:
            if error.code == "pool-taken-over":
                for job in [*self.journal.claimed(), *self.journal.unclaimed()]:
                    # While the pool is closed, it may not be known who has it.
                    if held := self.station.holder(job.device_id):
                        with suppress(StaleJobError):
                            self._give_up(job, held)
            raise

    def _look_or_say(self) -> list[Held]:
        try:
            return self.station.look()
        except PoolError as error:
            if error.code == "pool-closed":
                self.station.say(self._all())
            raise

    # A job of the journal, and the open claim that this station has for its deviceId, if any.

    def _settle(self, job: Job, held: Held | None) -> None:
        if held and self.station.is_unsent(held.claim.id):
            self._give_back(held)
            return
        if held is None or held.claim.id != job.claim:
            self._settle_other(job, held or self.station.holder(job.device_id))
        elif isinstance(job.state, Pending | Rejected) and not held.job_id:
            # The journal proves that nothing was made under it.
            self.station.write(claims.release, job.claim)
        elif isinstance(job.state, Submitted | Signed | Rejected):
            self._publish(job, held)

    def _give_back(self, held: Held) -> None:
        """A worker has just claimed it, and sends nothing before that is journaled."""
        if self.station.is_given_back(held.claim.id):
            self.station.write(claims.release, held.claim.id)

    def _settle_other(self, job: Job, held: Held | None) -> None:
        """The claim that the journal has is no more: what has come in its place?"""
        if held and held.station != self.station.member.station:
            self._give_up(job, held)
        elif held and isinstance(job.state, Submitting | Pending):
            self._doubt(job, held)
        elif held:
            self._publish(self.journal.record_claim(job, held.claim.id, held.generation), held)
        elif job.is_closed or not isinstance(job.state, Submitting | Submitted | Signed):
            self.journal.record_claim(job, "")
        else:
            log.warning("the pool has no claim of this job: it is made again", extra=about(job))
            self.station.write(claims.restate, self._said(job))

    def _give_up(self, job: Job, held: Held | None) -> None:
        """Another station holds the claim: it signs, files and follows the job."""
        is_made = isinstance(job.state, Submitting | Submitted | Signed)
        if held and is_made and not (job.filed and job.is_closed):
            cede = self.journal.cede if job.filed else self.journal.record
            job = cede(job, Ceded(held.station_name))
            log.warning("station %s has this job now", held.station_name, extra=about(job))
        self.journal.record_claim(job, "")

    def _doubt(self, job: Job, held: Held) -> None:
        """A request for this job may arrive until its Timestamp is too old for the service."""
        claim = held.claim
        until = claim.signed_at + CLOCK_SKEW_SECONDS + MARGIN_SECONDS
        state = Submitting(claim.signed_at, claim.endpoint, claim.access_key_id, claim.drive, until)
        job = self.journal.record(job, state, claim.text or None, claim=claim.id)
        self.journal.record_claim(job, claim.id, held.generation)
        log.warning("job is in doubt: a request of another time may arrive", extra=about(job))

    def _publish(self, job: Job, held: Held) -> None:
        made = published(job.state)
        text = None if job.filed else self.journal.manifest(job)
        is_known = held.job_id == job.job_id and held.made == made and not job.is_closed
        if is_known and bool(text) == bool(held.claim.text):
            return
        job_id = job.job_id or held.job_id
        is_closed = job.is_closed or isinstance(job.state, Rejected)
        values = job.claim, job_id, made, text, is_closed
        is_ours = self.station.write(claims.publish, *values)
        if is_ours and is_closed:
            self.journal.record_claim(job, "")

    # A claim of this station that its journal does not know: taken over, or from before a restore.

    def _take_in(self, held: Held) -> bool:
        """Make it a job of the journal; return whether another turn is needed for that."""
        if self.station.is_unsent(held.claim.id):
            self._give_back(held)
            return False
        if known := self._known(held):
            self.journal.record_claim(known, held.claim.id, held.generation)
            return known.claim != held.claim.id
        if held.job_id and not held.claim.text:
            return self._follow(held)
        return self._take_manifest(held)

    def _take_manifest(self, held: Held) -> bool:
        sha256 = digest(held.claim.text)
        if exchange.is_put_away(self.journal, held.claim.device_id, sha256):
            return True
        for job in self.journal.worklist.of_device(held.claim.device_id):
            if job.claim == held.claim.id:
                return False  # a worker has claimed it just now
            if job.sha256 == sha256 and not job.job_id:
                with suppress(StaleJobError):
                    self._doubt(job, held)
                    self._adopt(job.number, held)
                return True
        self._drop(held)
        return True

    def _known(self, held: Held) -> Job | None:
        """Return the job that was made under a claim, also one found before the claim was."""
        if held.job_id:
            return self.journal.job_with(held.job_id)
        job = self.journal.open_job(held.claim.device_id)
        is_same = job and job.job_id and not job.claim and job.sha256 == digest(held.claim.text)
        return job if is_same else None

    def _adopt(self, number: int, held: Held) -> None:
        """Record the job that the station before has made, if it is known."""
        job = self.journal.worklist.get(number)
        state = _state(held) if held.job_id else None
        if job and isinstance(state, Submitted | Signed):
            same = {name: getattr(state, name) for name in Submitted.__slots__}
            self.journal.record(job, Submitted(**same))

    def _follow(self, held: Held) -> bool:
        """A job that is signed and filed elsewhere: only followed from here."""
        state = _state(held)
        if isinstance(state, Signed):
            claim = held.claim
            new = NewJob(
                device_id=claim.device_id,
                file_system=claim.file_system,
                name=claim.name,
                sha256=claim.sha256,
                state=state,
                since=state.signed_at,
            )
            self.journal.add_prepared(new, state, None)
            for job in self.journal.worklist.of_device(claim.device_id):
                if isinstance(job.state, Pending) and job.sha256 == claim.sha256:
                    reason = f"already prepared as {state.job_id}; no new job was made"
                    with suppress(StaleJobError):
                        self.journal.record(job, Rejected(reason))
        return True

    def _drop(self, held: Held) -> None:
        """Drop its manifest here; the job that is made of it is then the one in doubt."""
        if held.claim.text:
            exchange.drop(self.spool, held.station_name, held.claim.name, held.claim.text)
            log.warning("manifest %s taken over from the pool", held.claim.name)

    # What this station says when the database has lost commits.

    def _all(self) -> Iterator[Held]:
        for job in self.journal.claimed():
            if isinstance(job.state, Submitting | Submitted | Signed) and not job.is_closed:
                yield self._said(job)

    def _said(self, job: Job) -> Held:
        return held(job, job.claim, self.station.member, self.journal)


def held(job: Job, claim_id: str, member: Membership, journal: Journal) -> Held:
    """Return the claim of an open job, as the pool is to have it."""
    sent_at, endpoint, access_key_id = job.since, "", ""  # of no use once there is a JobId
    if isinstance(job.state, Submitting):
        sent_at, endpoint = job.state.sent_at, job.state.endpoint
        access_key_id = job.state.access_key_id
    claim = Claim(
        claim_id,
        job.device_id,
        job.name,
        job.sha256,
        job.file_system,
        b"" if job.filed else journal.manifest(job) or b"",
        sent_at,
        endpoint,
        access_key_id,
        drive_of(job),
    )
    made = published(job.state) if job.job_id else None
    generation = max(1, job.generation)
    return Held(claim, member.station, member.name, generation, job.job_id, made)


def published(state: State) -> dict[str, object]:
    """Return what the service answered, as the pool keeps it."""
    name, fields = schema.columns(state)
    return {"state": name, "fields": json.loads(fields)}


def _state(held: Held) -> State:
    made = held.made or {}
    return schema.state(str(made["state"]), dict(made["fields"]))
