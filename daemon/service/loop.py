"""The main loop: wait for the bell, scan what may have changed, let the scheduler choose.

Start-up, a missed event, a storm of events and recovery after a crash are all the same turn: one
refresh, then one choice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection

from daemon.errors import ConfigError, JournalFullError
from daemon.jobs.journal import Journal
from daemon.service.answering import Answering
from daemon.service.bell import Bell, Ring
from daemon.service.pending_folder import REST_SECONDS, PendingFolder
from daemon.service.pooling import Pooling
from daemon.service.reload import Reloadable
from daemon.service.reporting.printing import Printing
from daemon.service.scheduler import Scheduler
from daemon.service.survey import Survey
from daemon.service.workers import Workers
from daemon.spool.spool import Spool
from daemon.system import systemd
from daemon.system.clocks import Clocks
from daemon.system.printable import timestamp

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.service")

TIMER_SECONDS = 30.0  # how long a lost event may stay unnoticed
IDLE_SECONDS = 60.0  # the same while no job has a step to take
FULL_SECONDS = 5.0  # the pause between two attempts to write to a full disk
STOP_SECONDS = 10.0  # how long a worker may finish its step at shutdown; systemd waits 90


class Loop:
    """The daemon's main loop. `run` is called in one thread, the only one that scans and starts."""

    def __init__(
        self,
        bell: Bell,
        journal: Journal,
        spool: Spool,
        pending: PendingFolder,
        survey: Survey,
        scheduler: Scheduler,
        workers: Workers,
        answering: Answering,
        printing: Printing,
        pooling: Pooling | None,
        load: Callable[[], Reloadable],
        on_timer: Callable[[], None],
        clocks: Clocks,
    ) -> None:
        self._bell = bell
        self._journal = journal
        self._spool = spool
        self._pending = pending
        self._survey = survey
        self._scheduler = scheduler
        self._workers = workers
        self._answering = answering
        self._printing = printing
        self._pooling = pooling  # None: this station is alone
        self._load = load
        self._on_timer = on_timer
        self._clocks = clocks
        self._timer_at = clocks.steady() + TIMER_SECONDS
        self._scanned_at = 0.0  # seconds since the epoch
        self._full_until = -math.inf  # steady
        self._is_behind = False  # some jobs have not had their turn
        self._config_fault = ""  # of a change that was not applied
        self._status = ""

    def run(self) -> None:
        """Work until STOP is rung. Raises JournalError, or an unexpected exception of a worker."""
        if self._pooling:
            self._pooling.start()
        systemd.notify("READY=1")
        due = Ring.ALL & ~Ring.CONFIG
        while Ring.STOP not in due:
            due = self._turn(due)
            due |= self._bell.wait(self._pause(due))
            systemd.notify("WATCHDOG=1")
            due |= self._failures() | self._timer()
        systemd.notify("STOPPING=1")
        self._printing.stop()
        if self._pooling:
            self._pooling.stop()
        self._workers.join(STOP_SECONDS)

    def _turn(self, due: Ring) -> Ring:
        """Refresh once, choose once; return what is left for the next turn."""
        if self._clocks.steady() < self._full_until:
            return due
        later = self._postponed(due)
        self._scanned_at = self._clocks.wall()
        try:
            ring = self._refresh(due & ~later)
            self._is_behind = not self._scheduler.run(ring, self._scanned_at)
            parts = self._scheduler.parts
            self._answering.run(parts.preparation.client, parts.papers)
            self._printing.run(parts.papers)
            if self._pooling:
                seen = self._survey.seen(parts.recognition)
                self._pooling.run(seen, self._journal.worklist.changes)
        except JournalFullError as error:
            return due | self._wait_for_room(error)
        self._notify_systemd()
        return later

    def _postponed(self, due: Ring) -> Ring:
        """A drive does not wait until a full folder is read: that is the next turn's work."""
        return due & (Ring.SPOOL | Ring.TIMER) if Ring.MOUNTS in due else Ring.NOTHING

    def _refresh(self, ring: Ring) -> Ring:
        """Refresh what may have changed; return what that was."""
        if Ring.CONFIG in ring:
            self._reload()
        requested = Ring.NOTHING
        is_time = self._pending.pause() <= 0 and Ring.MOUNTS not in ring
        if ring & (Ring.SPOOL | Ring.TIMER) or is_time:
            requested = self._read_pending(ring)
            ring |= Ring.SPOOL
        if Ring.MOUNTS in ring and self._journal.worklist.names:
            self._scheduler.parts.preparation.client.expect_request()
        self._survey.refresh(ring | requested, self._journal.worklist)
        if Ring.TIMER in ring:
            self._scheduler.report_hung()
            self._scheduler.parts.outcomes.remind()
            self._on_timer()
        return ring

    def _read_pending(self, ring: Ring) -> Ring:
        is_preparing = self._scheduler.preparing() > 0
        names = self._pending.refresh(ring, is_preparing=is_preparing)
        self._answering.notice(names)
        self._journal.publish(
            lastScan=timestamp(self._scanned_at), unreadable=self._pending.unreadable()
        )
        return self._take_requests(names)

    def _take_requests(self, names: Collection[str]) -> Ring:
        """Take what operators ask for. Whoever asks may have unplugged a drive: scan them all."""
        retries, confirmations = self._spool.retries(names), self._spool.confirmations(names)
        self._scheduler.retry(retries)
        self._scheduler.confirm(confirmations)
        return Ring.TIMER if retries or confirmations else Ring.NOTHING

    def _reload(self) -> None:
        self._status = ""  # of systemd: reading the configuration reports another one
        try:
            self._scheduler.parts = self._load()
        except ConfigError as error:
            for fault in error.faults or (error,):
                log.error("configuration unchanged: %s", fault)  # noqa: TRY400 - it says it all
            self._config_fault = f"; configuration unchanged: {error}"
            return
        self._config_fault = ""
        log.info("configuration read")
        self._scheduler.reconsider()

    def _failures(self) -> Ring:
        """Raise what no worker should raise. A full disk is waited for."""
        ring = Ring.NOTHING
        for failure in self._workers.failures():
            if not isinstance(failure, JournalFullError):
                raise failure
            ring |= self._wait_for_room(failure)
        return ring

    def _wait_for_room(self, error: JournalFullError) -> Ring:
        """Pause: a step that cannot be recorded is not taken. Then scan everything again."""
        if self._clocks.steady() > self._full_until + TIMER_SECONDS:
            log.error("%s. %s", error, error.hint)
        self._full_until = self._clocks.steady() + FULL_SECONDS
        return Ring.TIMER

    def _timer(self) -> Ring:
        if self._clocks.steady() < self._timer_at:
            return Ring.NOTHING
        is_idle = not self._journal.worklist
        self._timer_at = self._clocks.steady() + (IDLE_SECONDS if is_idle else TIMER_SECONDS)
        return Ring.TIMER

    def _pause(self, due: Ring) -> float:
        """Return the seconds until something is due by itself."""
        now = self._clocks.steady()
        pauses = [self._timer_at - now, systemd.watchdog_seconds() or IDLE_SECONDS]
        if self._full_until > now:
            return min(*pauses, self._full_until - now)
        if due:
            return 0.0
        pauses += [self._pending.pause(), self._printing.pause()]
        if self._pooling:
            pauses.append(self._pooling.pause())
        if self._is_behind:
            pauses.append(REST_SECONDS if self._scheduler.preparing() else 0.0)
        timed = self._journal.worklist.timed()
        moments = [job.obstacle.retry_at for job in timed if job.obstacle]
        # A moment that was past at the last scan waits for a worker, and its end rings.
        ahead = [moment for moment in moments if moment and moment > self._scanned_at]
        return min(pauses + [moment - self._clocks.wall() for moment in ahead])

    def _notify_systemd(self) -> None:
        jobs = self._journal.worklist
        counts = f"{len(jobs)} jobs: {self._scheduler.preparing()} in progress"
        counts += f", {jobs.blocked()} waiting"
        status = f"STATUS={counts}{self._config_fault}"
        if status != self._status:
            systemd.notify(status)
            self._status = status
