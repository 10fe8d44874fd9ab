"""`driveprep submit`: manifests are dropped, and with --wait their verdicts are waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from daemon.cli.exit_codes import (
    EX_DATAERR,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    complain,
    exit_code,
)
from daemon.cli.manifests import files
from daemon.cli.progress import Bar
from daemon.config.loading import Config
from daemon.desk import manifests
from daemon.desk.manifests import Dropped, drop
from daemon.errors import DriveprepError
from daemon.jobs import reader
from daemon.jobs.job import Job, Pending, Rejected
from daemon.manifest.acceptance import Terms
from daemon.system.printable import printable, printable_lines

LOOK_SECONDS = 0.2  # between two looks into the journal
NO_PENDING = "The daemon creates it when it starts: systemctl start driveprep"
NOT_RUNNING = "Start it (systemctl start driveprep), or leave out --wait."


def submit(config: Config, places: tuple[Path, ...], wait_seconds: float | None) -> None:
    """Drop every manifest that has no fault, and report the others; wait for verdicts if asked to.

    Ends the process with the exit code of the worst that happened, unless all went well.
    """
    if wait_seconds is not None and reader.daemon_info(config.spool) is None:
        raise DriveprepError(
            "the driveprep daemon is not running, nothing was dropped", NOT_RUNNING
        )
    pending = config.spool / "pending"
    if not pending.is_dir():
        raise DriveprepError(f"there is no folder {pending}", NO_PENDING)
    before = reader.last_number(config.spool)
    dropped, errors = _drop_all(places, pending, manifests.terms(config))
    codes = {exit_code(error) for error in errors}
    if wait_seconds is not None:
        codes.add(_Waiting(config, before, dropped).run(wait_seconds))
    for code in (EX_UNAVAILABLE, EX_DATAERR, EX_TEMPFAIL):
        if code in codes:
            sys.exit(code)


def _drop_all(
    places: tuple[Path, ...], pending: Path, terms: Terms
) -> tuple[list[Dropped], list[DriveprepError]]:
    named = files.expand(places)
    dropped: list[Dropped] = []
    errors: list[DriveprepError] = []
    with Bar("dropping manifests", len(named)) as bar:
        for file in bar.each(named):
            try:
                dropped.append(drop(pending, file.name, files.load(file, terms)))
            except DriveprepError as error:
                errors.append(error)
    for problem in errors:
        complain(problem)
    for one in dropped:
        done = "was already dropped" if one.was_there else "dropped"
        click.echo(f"{done} as {pending / one.name}; it is for the drive {one.device_id}")
    if errors and dropped:
        click.echo(f"{len(dropped)} dropped, {len(errors)} not", err=True)
    return dropped, errors


class _Waiting:
    """Waits until the daemon has accepted or rejected each manifest."""

    def __init__(self, config: Config, before: int, dropped: list[Dropped]) -> None:
        self._config = config
        self._before = before
        self._dropped = dropped
        self._jobs: Mapping[Dropped, Job] = {}

    def run(self, seconds: float) -> int:
        """Return the exit code, once all verdicts are printed, or the time is over."""
        until, is_running = time.monotonic() + seconds, True
        with Bar("waiting for the verdicts", len(self._dropped)) as bar:
            while (left := self._look()) and is_running and time.monotonic() < until:
                bar.reach(len(self._dropped) - len(left))
                time.sleep(LOOK_SECONDS)
                is_running = reader.daemon_info(self._config.spool) is not None
        rejected = [one for one in self._dropped if one not in left and self._print(one)]
        for one in left:
            click.echo(f"{one.name}: no verdict yet{self._why(one)}", err=True)
        if left:
            reason = f"after {seconds:g} s" if is_running else "the daemon has stopped"
            click.echo(f"error: {len(left)} of {len(self._dropped)} unsettled: {reason}", err=True)
            return EX_UNAVAILABLE if is_running else EX_TEMPFAIL
        return EX_DATAERR if rejected else 0

    def _look(self) -> list[Dropped]:
        """Read the journal; return the manifests that have no verdict yet."""
        jobs = {
            (job.name, job.sha256): job for job in reader.added(self._config.spool, self._before)
        }
        found = ((one, jobs.get((one.name, one.sha256))) for one in self._dropped)
        self._jobs = {one: job for one, job in found if job}
        return [one for one in self._dropped if not self._has_verdict(self._jobs.get(one))]

    def _has_verdict(self, job: Job | None) -> bool:
        is_open = job and isinstance(job.state, Pending) and not job.state.validated
        return job is not None and not (is_open and self._config.validate_on_drop)

    def _print(self, one: Dropped) -> bool:
        """Print a verdict; return whether it is a rejection."""
        job = self._jobs[one]
        if isinstance(job.state, Rejected):
            click.echo(
                f"error: {one.name}: rejected: {printable_lines(job.state.reason)}", err=True
            )
            return True
        remark = "" if job.obstacle and job.obstacle.is_absence else self._why(one)
        click.echo(f"{one.name}: accepted, for {printable(one.device_id)}{remark}")
        return False

    def _why(self, one: Dropped) -> str:
        job = self._jobs.get(one)
        return f"; {printable(job.obstacle.reason)}" if job and job.obstacle else ""
