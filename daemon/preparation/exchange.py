"""Lets the manifests that wait follow their drives: from the station of the drop to the drive's.

A manifest waits at one station. Its text is in the pool; its file is in that station's pending/, so
that all else is as without a pool. Nothing here makes a job.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.errors import StaleJobError
from daemon.jobs.job import Ceded, Identities, Job, Pending, Rejected
from daemon.jobs.journal import Journal
from daemon.pool import sightings, waiting
from daemon.pool.membership import Facts
from daemon.pool.waiting import Waiting
from daemon.spool import dropping
from daemon.spool.filing import digest
from daemon.spool.spool import Spool
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.pool.station import Station

log = logging.getLogger("daemon.pool")


def drop(spool: Spool, station: str, name: str, text: bytes) -> None:
    """Drop a manifest that comes from another station. Safe to repeat.

    Where another manifest has its name, it gets one that begins with the station's.
    """
    for place in (name, f"{dropping.safe_name(station)}-{name}"):
        with suppress(FileExistsError):
            dropping.drop(spool.pending, place, text)
            return
        with suppress(OSError):  # it is being taken in just now
            if spool.read(place) == text:
                return


@dataclass(slots=True)
class Exchange:
    """Keeps the manifests that wait here and in the pool in agreement. For one thread only."""

    journal: Journal
    station: Station
    spool: Spool
    # The drives that are here, by each deviceId that they answer to.
    seen: Mapping[str, Identities] = field(default_factory=dict)
    _told: Mapping[str, Identities] = field(default_factory=dict)  # what the pool knows of them
    # What the pool knows to wait here: names, by SHA-256. None: not read yet.
    _published: dict[str, str] | None = None
    _seen: Facts | None = None
    _is_behind: bool = False  # something is still to be dropped
    # For which nothing has to follow the drives that are here.
    _asked: tuple[Facts, Mapping[str, Identities], set[str]] | None = None

    def agree(self) -> bool:
        """Do what can be done now; return whether another turn is needed soon. Safe to repeat.

        Raises PoolAwayError, PoolError.
        """
        facts = self.station.member.facts
        published = self._published
        if published is None or (self._seen and self._seen.epoch != facts.epoch):
            self._published = published = self.station.ask(waiting.of_station)
        has_news = facts != self._seen or self._is_behind
        if has_news:
            self._let_go(published)
            self._told = self.station.ask(sightings.of_station)  # a claim tells of its drive, too
        self._publish(published)
        if self.seen != self._told:
            seen = self.seen
            self.station.change(sightings.see, seen)
            self._told = seen
        is_again = bool(self.seen) and self._follow_drives()
        has_news = has_news or self._seen != self.station.member.facts
        is_dropped = has_news and self._take_in(published)
        self._seen = self.station.member.facts
        return is_dropped or is_again

    def _follow_drives(self) -> bool:
        """Have what the drives that are here need moved here; return whether to look again soon."""
        unasked = {*self.seen} - {*self.journal.worklist.names}
        asked = self.station.member.facts, self.seen, unasked
        if asked == self._asked:
            return False
        is_coming = self.station.ask(sightings.is_coming)
        # Only in the first seconds of a drive can the answers change without news.
        self._asked = None if is_coming else asked
        if bool(unasked) and self.station.ask(waiting.is_elsewhere, unasked):
            self.station.change(waiting.fetch, unasked)
        if self.station.ask(sightings.unsigned, self.station.differs):
            count = self.station.change(sightings.take, self.station.differs)
            log.info("%d drives have come from another station with their jobs", count)
            return True
        return is_coming

    def unpublished(self) -> list[str]:
        """Return the names of manifests that were dropped, edited or withdrawn unknown to the pool.

        Until it knows, another station may still take what waited before.
        """
        if self._published is None:
            return []
        here = {job.sha256: job.name for job in self._here().values()}
        names = {**self._published, **here}
        return sorted({names[sha256] for sha256 in self._published.keys() ^ here.keys()})

    def _here(self) -> dict[str, Job]:
        return {job.sha256: job for job in self.journal.worklist.jobs() if _waits(job)}

    def _publish(self, published: dict[str, str]) -> None:
        """Tell the pool what waits here now, and what does not any more."""
        here = self._here()
        if gone := published.keys() - here.keys():
            self.station.change(waiting.withdraw, gone)
            for sha256 in gone:
                published.pop(sha256)
        if new := here.keys() - published.keys():
            found = [one for one in (self._waiting(here[sha256]) for sha256 in new) if one]
            twice = self.station.change(waiting.offer, found) if found else {}
            published |= {one.sha256: one.name for one in found if one.sha256 not in twice}
            for sha256, name in twice.items():
                self._reject(here[sha256], name)

    def _waiting(self, job: Job) -> Waiting | None:
        try:
            text = self.spool.read(job.name)
        except OSError:  # it is being withdrawn
            return None
        if digest(text) != job.sha256:  # it is being edited
            return None
        return Waiting(job.sha256, job.device_id, job.name, text)

    def _reject(self, job: Job, name: str) -> None:
        reason = (
            f"{printable(job.name)}: the same manifest was dropped at station {printable(name)}"
        )
        with suppress(StaleJobError):
            self.journal.record(job, Rejected(reason))

    def _let_go(self, published: dict[str, str]) -> None:
        """Remove the files of manifests that another station has taken."""
        for sha256, name in self.station.ask(waiting.moved).items():
            for job in self.journal.jobs_of([sha256]):
                if isinstance(job.state, Pending):
                    self.spool.remove(job.name, sha256)
                    log.info("manifest %s has moved to station %s", job.name, printable(name))
            published.pop(sha256, None)
            self.station.change(waiting.let_go, sha256)

    def _take_in(self, published: dict[str, str]) -> bool:
        """Drop the manifests that have moved here; return whether there were any."""
        found = self.station.ask(waiting.undelivered)
        self._is_behind = False
        for one in found:
            if is_put_away(self.journal, one.device_id, one.sha256):
                self._is_behind = True
                continue
            if not self.journal.jobs_of([one.sha256]) and not self.journal.has_made(one.sha256):
                drop(self.spool, self.station.member.name, one.name, one.text)
                log.info("manifest %s has come from the pool: its drive is here", one.name)
            self.station.change(waiting.delivered, one.sha256)
            published[one.sha256] = one.name
        return bool(found)


def is_put_away(journal: Journal, device_id: str, sha256: str) -> bool:
    """Return whether a job of the same bytes is about to take its file out of pending/.

    What is dropped before it has done so would go with it.
    """
    jobs = journal.worklist.of_device(device_id)
    return any(job.sha256 == sha256 and isinstance(job.state, Rejected | Ceded) for job in jobs)


def _waits(job: Job) -> bool:
    is_whole = bool(job.device_id and job.sha256)
    return is_whole and isinstance(job.state, Pending) and not job.filed
