"""Lets the manifests that wait follow their drives: from the station of the drop to the drive's.

A manifest waits at one station. Its text is in the pool; its file is in that station's pending/, so
that all else is as without a pool. Nothing here makes a job.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.errors import StaleJobError
from daemon.jobs.job import Job, Pending, Rejected
from daemon.jobs.journal import Journal
from daemon.pool import waiting
from daemon.pool.membership import Facts
from daemon.pool.waiting import Waiting
from daemon.spool import dropping
from daemon.spool.spool import Spool
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.pool.station import Station

log = logging.getLogger("daemon.pool")


def drop(spool: Spool, station: str, name: str, text: bytes) -> None:
    """Drop a manifest that comes from another station. Safe to repeat."""
    with suppress(FileExistsError):  # by a turn that was interrupted, or it has one of that name
        dropping.drop(spool.pending, name, text)
        return
    with suppress(FileExistsError):
        dropping.drop(spool.pending, f"{dropping.safe_name(station)}-{name}", text)


@dataclass(slots=True)
class Exchange:
    """Keeps the manifests that wait here and in the pool in agreement. For one thread only."""

    journal: Journal
    station: Station
    spool: Spool
    # The deviceIds of drives that are here and for which no manifest waits here.
    unasked: frozenset[str] = frozenset()
    _published: dict[str, bool] = field(default_factory=dict)  # by SHA-256: is its drive here?
    _seen: Facts | None = None

    def agree(self) -> bool:
        """Do what can be done now; return whether a file was dropped. Safe to repeat.

        Raises PoolAwayError, PoolError.
        """
        facts = self.station.member.facts
        if self._seen is None or self._seen.epoch != facts.epoch:
            self._published = self.station.ask(waiting.of_station)
        has_news = facts != self._seen
        if has_news:
            self._let_go()
        self._publish()
        if self._is_wanted():
            self.station.change(waiting.fetch, self.unasked)
            has_news = True
        is_dropped = has_news and self._take_in()
        self._seen = self.station.member.facts
        return is_dropped

    def _is_wanted(self) -> bool:
        """Return whether a drive that is here has its manifest at another station."""
        return bool(self.unasked) and self.station.ask(waiting.is_elsewhere, self.unasked)

    def _publish(self) -> None:
        """Tell the pool what waits here now, and what does not any more."""
        here = {job.sha256: job for job in self.journal.worklist.jobs() if _waits(job)}
        new = {
            sha256: job
            for sha256, job in here.items()
            if self._published.get(sha256) is not _has_drive(job)
        }
        if gone := self._published.keys() - here.keys():
            self.station.change(waiting.withdraw, gone)
            self._published = {key: self._published[key] for key in self._published.keys() - gone}
        if new:
            found = [one for one in map(self._waiting, new.values()) if one]
            twice = self.station.change(waiting.offer, found)
            self._published |= {one.sha256: one.is_here for one in found}
            for sha256, name in twice.items():
                self._reject(new[sha256], name)

    def _waiting(self, job: Job) -> Waiting | None:
        try:
            text = self.spool.read(job.name)
        except OSError:  # it is being withdrawn
            return None
        return Waiting(job.sha256, job.device_id, job.name, text, _has_drive(job))

    def _reject(self, job: Job, name: str) -> None:
        reason = (
            f"{printable(job.name)}: the same manifest was dropped at station {printable(name)}"
        )
        with suppress(StaleJobError):
            self.journal.record(job, Rejected(reason))
        self._published.pop(job.sha256, None)

    def _let_go(self) -> None:
        """Remove the files of manifests that another station has taken."""
        for sha256, name in self.station.ask(waiting.moved).items():
            for job in self.journal.jobs_of(sha256):
                if isinstance(job.state, Pending):
                    self.spool.remove(job.name, sha256)
                    log.info("manifest %s has moved to station %s", job.name, printable(name))
            self._published.pop(sha256, None)
            self.station.change(waiting.let_go, sha256)

    def _take_in(self) -> bool:
        """Drop the manifests that have moved here; return whether there were any."""
        found = self.station.ask(waiting.undelivered)
        for one in found:
            if not self.journal.jobs_of(one.sha256) and not self.journal.has_made(one.sha256):
                drop(self.spool, self.station.member.name, one.name, one.text)
                log.info("manifest %s has come from the pool: its drive is here", one.name)
            self.station.change(waiting.delivered, one.sha256)
            self._published[one.sha256] = True
        return bool(found)


def _waits(job: Job) -> bool:
    is_whole = bool(job.device_id and job.sha256)
    return is_whole and isinstance(job.state, Pending) and not job.filed


def _has_drive(job: Job) -> bool:
    """Return whether its drive is here, but something else is in the way."""
    return job.obstacle is not None and not job.obstacle.is_absence
