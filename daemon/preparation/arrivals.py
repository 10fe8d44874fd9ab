"""Which files in pending/ are new or changed, and complete; and which names are gone.

An event names the files that it concerns, and only these are examined. A scan of the whole folder
makes up for lost events, bit by bit: a restart, a burst of drops and a timer are the same case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import heappop, heappush

from daemon.jobs.job import Job, Pending
from daemon.jobs.worklist import Worklist
from daemon.spool.spool import Found, Spool

EVENT, SCAN = 0, 1  # why a file is looked at; those of events come first
Until = Callable[[int], bool]  # whether there is no more time for files of EVENT or SCAN


class Arrivals:
    """Compares pending/ with its jobs; opens no file. For the main loop's thread only."""

    def __init__(
        self,
        spool: Spool,
        worklist: Worklist,
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._worklist = worklist
        self._clock = clock
        self._steady = steady
        self._named: deque[str] = deque()  # names of events
        self._to_scan: deque[str] = deque()  # names
        self._is_first_scan = True
        self._incomplete: dict[str, float] = {}  # name -> when to examine it again, steady
        self._complete: dict[str, Found] = {}  # name -> a file that was not taken yet
        self._order: list[tuple[int, int, str]] = []  # a heap: events first, then small files
        self._compared: dict[str, str] = {}  # name -> the stamp of the file its job was made from

    def scan(self, names: Iterable[str]) -> None:
        """Begin a scan of the whole folder, which holds `names`; `examine` does it."""
        known = [*self._worklist.file_names(), *self._incomplete]
        self._to_scan = deque(dict.fromkeys([*names, *known]))

    @property
    def is_scanning(self) -> bool:
        """Whether names of the last scan are still to be examined."""
        return bool(self._to_scan)

    def examine(self, names: Iterable[str], until: Until) -> list[str]:
        """Examine these names, then scan on, until `until`; return the names that are gone."""
        now = self._steady()
        again = [name for name, moment in self._incomplete.items() if moment <= now]
        self._named.extend(dict.fromkeys([*names, *again]))
        gone = [*self._gone(self._named, EVENT, until), *self._gone(self._to_scan, SCAN, until)]
        self._is_first_scan = self._is_first_scan and self.is_scanning
        return gone

    def take(self, until: Until) -> Found | None:
        """Return the next complete file that is to be read, if there is one, until `until`."""
        while self._order and not until(self._order[0][0]):
            *_, name = heappop(self._order)
            if found := self._complete.pop(name, None):  # else it changed since
                return found
        return None

    def pause(self) -> float | None:
        """Return the seconds until there is something to do; None if an event decides."""
        if self._named or self._to_scan or self._complete:
            return 0.0
        moments = self._incomplete.values()
        return max(0.0, min(moments) - self._steady()) if moments else None

    def is_known(self, found: Found, jobs: Collection[Job]) -> bool:
        """Return whether the file is the one that was read for one of its jobs."""
        stamps = [job.state.stamp for job in jobs if isinstance(job.state, Pending)]
        if stamps:
            return found.stamp in stamps
        return bool(jobs) and self._compared.get(found.name) == found.stamp

    def compared(self, found: Found) -> None:
        """The file has the bytes of its job, which is no longer pending."""
        self._compared[found.name] = found.stamp

    def _gone(self, names: deque[str], order: int, until: Until) -> Iterator[str]:
        while names and not until(order):
            name = names.popleft()
            if not self._is_here(name, order):
                yield name

    def _is_here(self, name: str, order: int) -> bool:
        """Return whether a manifest has that name; note whether and when it is to be read."""
        self._incomplete.pop(name, None)
        self._complete.pop(name, None)
        found, jobs = self._spool.examine(name), self._worklist.of_name(name)
        if found is None or not jobs:
            self._compared.pop(name, None)
        if found and not self.is_known(found, jobs):
            is_old = order == SCAN and self._is_first_scan
            if wait := self._spool.wait(found, self._clock() - found.changed if is_old else 0.0):
                self._incomplete[name] = self._steady() + wait
            else:
                self._complete[name] = found
                heappush(self._order, (order, found.size, name))
        return found is not None
