"""The aftermath of a worker's steps: what is in the way is written down, and each change told once.

Told are the log, the hooks, and udisks2 where drives are to be ejected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from daemon.drives.eject import eject
from daemon.errors import DriveAbsentError, DriveError, DriveprepError
from daemon.jobs.job import Job, Obstacle, Signed, about
from daemon.jobs.journal import Journal
from daemon.service import hooks, retry

log = logging.getLogger("daemon.aftermath")


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Knows whom to tell. Safe to use from several threads."""

    journal: Journal
    clock: Callable[[], float]
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # event -> command, words
    ejects: bool = False

    def met(self, job: Job, error: DriveprepError | OSError) -> None:
        """Write down what keeps a job from its next step."""
        self.journal.hinder(self.hindrance(job, error))

    def hindrance(
        self, job: Job, error: DriveprepError | OSError
    ) -> list[tuple[Job, Obstacle | None]]:
        """The obstacle to write down, if it is news; then it has been told."""
        job = self.journal.current(job) or job
        after = retry.obstacle(job.obstacle, error, self.clock())
        if after == job.obstacle:
            return []
        if not job.obstacle or after.reason != job.obstacle.reason:
            is_usual = isinstance(error, DriveAbsentError)
            level = logging.INFO if is_usual else logging.WARNING
            log.log(level, "%s. %s", after.reason, after.hint, extra=about(job))
            if not is_usual:
                self._tell_hook("obstacle", replace(job, obstacle=after))
        return [(job, after)]

    def filed(self, job: Job) -> None:
        """A job has come to its end here; it is done already, whatever fails now."""
        if not isinstance(job.state, Signed):
            self._tell_hook("rejected", job)
            return
        self._tell_hook("prepared", job)
        if self.ejects:
            try:
                eject(str(job.state.drive["deviceNode"]))
                log.info("drive unmounted and powered off", extra=about(job))
            except DriveError as error:
                log.warning("%s. %s", error, error.hint, extra=about(job))

    def closed(self, job: Job) -> None:
        """The service is done with a job."""
        self._tell_hook("terminal", job)

    def _tell_hook(self, event: str, job: Job) -> None:
        if command := self.hooks.get(event):
            hooks.run(command, event, job)
