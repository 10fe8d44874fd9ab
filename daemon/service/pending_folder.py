"""When pending/ is read: what events name at once, all of it on a timer, bit by bit.

A lost event stays unnoticed until the next scan of the whole folder, and a scan delays nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from daemon.preparation.arrivals import EVENT, SCAN, Until
from daemon.preparation.intake import Intake
from daemon.service.bell import Bell, Ring
from daemon.spool.spool import Spool

FIRST_SECONDS = 0.5  # of a start: rivals for one drive should be known before it is signed
SLICE_SECONDS = 0.25  # of a scan; it ends as soon as the bell rings
LEAST_SECONDS = 0.001  # of a scan in any case
REST_SECONDS = 0.02  # between slices while drives are prepared: the interpreter is theirs
SCAN_SHARE = 0.015  # of a core, for scans: a large folder is scanned less often
FLOOD = 4096  # as many names at once: the kernel's queue may have run over, see inotify(7)


class PendingFolder:
    """Has the intake read pending/. For the main loop's thread only."""

    def __init__(
        self, spool: Spool, intake: Intake, bell: Bell, steady: Callable[[], float]
    ) -> None:
        self._spool = spool
        self._intake = intake
        self._bell = bell
        self._steady = steady
        self._next = math.inf  # steady: when to go on
        self._scan_after = -math.inf  # steady: the next scan begins no sooner
        self._spent = 0.0  # seconds, for the scan that is going on
        self._is_first = True

    def pause(self) -> float:
        """Return the seconds until `refresh` is to be called again."""
        return self._next - self._steady()

    def unreadable(self) -> str:
        """Return what cannot be read, in a few words; "" if all can."""
        return self._intake.unreadable()

    def refresh(self, ring: Ring, *, is_preparing: bool) -> list[str]:
        """Take in what was noticed, then go on with the scan.

        Returns the names that were noticed or listed: some may be requests.
        """
        noticed, listed = self._spool.take_noticed(), []
        began = self._steady()
        if (Ring.TIMER in ring and began >= self._scan_after) or len(noticed) >= FLOOD:
            listed = self._spool.names()
            self._intake.arrivals.scan(listed)
            self._spent = 0.0
        pause = self._intake.take_in(noticed, self._slice(is_preparing=is_preparing))
        now = self._steady()
        if self._intake.arrivals.is_scanning or listed:
            self._spent += now - began
            self._scan_after = now + self._spent / SCAN_SHARE
        if pause == 0.0 and is_preparing:
            pause = REST_SECONDS
        self._next = math.inf if pause is None else now + pause
        return noticed + listed

    def _slice(self, *, is_preparing: bool) -> Until:
        """Return what is true when it is time for something else. Files of events go first."""
        began = self._steady()
        most = {EVENT: began + SLICE_SECONDS, SCAN: began + SLICE_SECONDS}
        least = began + LEAST_SECONDS
        if self._is_first:
            most[SCAN] = least = began + FIRST_SECONDS
        elif is_preparing:
            most[SCAN] = least
        self._is_first = False

        def is_over(order: int) -> bool:
            now = self._steady()
            return now >= most[order] or (order == SCAN and now >= least and self._bell.is_rung())

        return is_over
