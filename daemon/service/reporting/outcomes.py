"""What came of a job's steps: obstacles are recorded, and each change is reported once.

It is reported to the log, to the hooks, and to udisks2 where drives are to be ejected.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from daemon.errors import DriveAbsentError, DriveError, DriveprepError, PoolError, ServiceError
from daemon.jobs.job import Caution, Identities, Job, Obstacle, Pending, Signed, about
from daemon.jobs.journal import Journal
from daemon.service.reporting.presence import BACK, Presence
from daemon.service.retry import Retry
from daemon.system.printable import printable

MAX_SHOWN = 300  # characters of an error in `status`
MAX_NAMES = 5  # of manifests, in one sentence
# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.aftermath")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Records and reports outcomes. Safe to use from several threads."""

    journal: Journal
    clock: Callable[[], float]  # seconds since the epoch
    retry: Retry
    hook: Callable[[str, Job], None]  # runs the command that is configured for an event, if any
    # Ejects the drive with these identities and returns how; None: drives are not ejected.
    eject: Callable[[Identities], str] | None = None
    ship_within: float = math.inf  # seconds after a drive is signed
    presence: Presence = field(default_factory=Presence)
    # Runs the command for the event `service` or `pool` with AWAY or BACK, and why.
    change_hook: Callable[[str, str, str], None] = lambda _event, _change, _reason: None
    pool_presence: Presence = field(default_factory=Presence)

    def blocked(self, job: Job, error: DriveprepError) -> None:
        """Record what keeps a job from its next step."""
        self.journal.record_obstacles(self.obstacle(job, error))

    def obstacle(self, job: Job, error: DriveprepError) -> list[tuple[Job, Obstacle | None]]:
        """Report the obstacle if it is new; return what is to be recorded, if anything changed."""
        job = self.journal.worklist.get(job.number) or job
        after = self.retry.obstacle(job.obstacle, error, self.clock())
        if after == job.obstacle:
            return []
        if not after.is_like(job.obstacle):
            is_usual = isinstance(error, DriveAbsentError)
            level = logging.INFO if is_usual else logging.WARNING
            log.log(level, "%s. %s", after.reason, after.hint, extra=about(job))
            if not is_usual:
                self.hook("obstacle", replace(job, obstacle=after))
        return [(job, after)]

    def service(self, error: DriveprepError | None) -> None:
        """Publish for `status` what the service refused or did not answer; None: it answered."""
        text = f"{error}. {error.hint}" if isinstance(error, ServiceError) else ""
        self.journal.publish(service=printable(text)[:MAX_SHOWN])
        if change := self.presence.change(error):
            log.log(logging.INFO if change == BACK else logging.WARNING, "service is %s", change)
            self.change_hook("service", change, text)

    def pool(self, error: PoolError | None, unpublished: list[str]) -> None:
        """Publish for `status` why the pool allows no claim (None: it does).

        And which manifests were dropped, edited or withdrawn, unknown to the pool so far.
        """
        text = f"{error}. {error.hint}" if error else ""
        shown, more = ", ".join(unpublished[:MAX_NAMES]), len(unpublished) - MAX_NAMES
        self.journal.publish(
            pool=printable(text)[:MAX_SHOWN],
            unpublished=printable(shown + (f" and {more} more" if more > 0 else ""))[:MAX_SHOWN],
        )
        if change := self.pool_presence.turn(is_away=error is not None):
            log.log(
                logging.INFO if change == BACK else logging.WARNING, "pool is %s %s", change, text
            )
            self.change_hook("pool", change, text)

    def unprinted(self, job: Job, obstacle: Obstacle) -> None:
        """Report why a paper of a job is not printed."""
        self.hook("warning", replace(job, obstacle=obstacle))

    def taken_in(self, job: Job) -> None:
        """Report a manifest that has become a job, and what its text warns of."""
        if isinstance(job.state, Pending):
            self.hook("accepted", job)
            self._warn(job, job.cautions)

    def warn(self, job: Job, error: DriveprepError) -> None:
        """Record and report, once, what the service has against a job whose drive is not here.

        What it said last counts; a service that could not be reached then is not away for ever.
        """
        job = self.journal.worklist.get(job.number) or job
        caution = Caution(error.code, str(error), error.hint)
        if all(one.code != caution.code for one in job.cautions):
            job = self.journal.record_cautions(job, [caution])
            self._warn(job, [caution])

    def _warn(self, job: Job, cautions: Sequence[Caution]) -> None:
        if cautions:
            reason = "\n".join(one.text for one in cautions)
            hint = " ".join(filter(None, (one.hint for one in cautions)))
            shown = Obstacle(reason, hint, self.clock(), 0, None)
            self.hook("warning", replace(job, obstacle=shown))

    def filed(self, job: Job) -> None:
        """Report that a job is finished here. It is already recorded, whatever fails now."""
        if not isinstance(job.state, Signed):
            self.hook("rejected", job)
            return
        self.hook("prepared", job)
        if self.eject:
            try:
                ended = self.eject(job.state.drive)
                log.info("drive %s", ended, extra=about(job))
            except DriveError as error:
                ended = f"{error}. {error.hint}"
                log.warning("%s", ended, extra=about(job))
            self.journal.record_eject(job, ended)

    def remind(self) -> None:
        """Report each drive, once, that should have left by now and is not known to have."""
        for job in self.journal.unshipped(self.clock() - self.ship_within):
            self.journal.record_reminder(job)
            log.warning(
                "drive is not shipped; once it is: driveprep shipped %s",
                job.job_id,
                extra=about(job),
            )
            self.hook("unshipped", job)

    def closed(self, job: Job) -> None:
        """Report that the service has finished with a job."""
        self.hook("terminal", job)
