"""Asks the service about submitted jobs, gently, until it has finished with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from daemon.drives import signature
from daemon.errors import InDoubtError, JobRefusedError, ManifestError
from daemon.importexport.client import Client
from daemon.importexport.results import JobStatus
from daemon.jobs.deadlines import is_late
from daemon.jobs.job import Job, Progress, Signed, Submitted, about, unsigned
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.system.printable import printable

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.following")

POLL_SECONDS = 3600.0  # a job takes days
ENDED = ("ExpiredJobId", "CanceledJobId")  # refusals that say the same as a terminal status


@dataclass(frozen=True, slots=True)
class StatusPoller:
    """Asks the service about jobs it has. Safe to use from several threads."""

    journal: Journal
    client: Client
    clock: Callable[[], float]
    filed: Callable[[Job], bytes | None]  # the manifest in its papers

    def due(self) -> list[Job]:
        """Return the filed jobs that it is time to ask about."""
        now = self.clock()  # it can be set back
        found = self.journal.followed(fresh=(now - POLL_SECONDS, now + POLL_SECONDS))
        return [job for job in found if not self.is_fresh(job)]

    def open_jobs(self, device_ids: Iterable[str]) -> list[Job]:
        """Return the jobs of these deviceIds that the service can be asked about."""
        found = map(self.journal.open_job, device_ids)
        return [job for job in found if job and job.job_id]

    def is_fresh(self, job: Job) -> bool:
        """Return whether the service has reported this job recently."""
        match job:
            case Job(progress=Progress(checked_at=reported_at)):
                pass
            case Job(state=Submitted(submitted_at=reported_at) | Signed(submitted_at=reported_at)):
                pass
            case _:
                return False
        return abs(self.clock() - reported_at) < POLL_SECONDS  # a clock can be set back

    def ask(self, job: Job) -> Job:
        """Record the status that the service reports now; return the job with it. Safe to repeat.

        A job whose SIGNATURE the service has changed is to be signed again. Raises ServiceError
        when the service did not answer, StaleJobError when `job` moved on meanwhile.
        """
        try:
            status = self.client.get_status(job.job_id)
        except JobRefusedError as error:
            return self._record(job, _refused(error, self.clock()))
        job = self._record(job, _progress(status, self.clock()))
        match job:
            case Job(is_closed=False, state=Submitted() as state):
                return self._take_new_signature(job, state, status)
            case Job(is_closed=False, filed=True, state=Signed() as state):
                after = self._take_new_signature(job, state, status)
                return self._take_new_manifest(job, state, status) if after is job else after
        return job

    def reopen(self, job: Job, state: Signed) -> Job:
        """Have a job signed again whose drive has lost its SIGNATURE, unless it has ended.

        Raises ServiceError when the service did not answer, StaleJobError.
        """
        status = self.client.get_status(job.job_id)
        job = self._record(job, _progress(status, self.clock()))
        if job.is_closed or not status.current_manifest:
            return job
        job = self.journal.reopen(job, unsigned(state), status.current_manifest.encode())
        log.warning("SIGNATURE is missing or changed: it is written again", extra=about(job))
        return job

    def _record(self, job: Job, progress: Progress) -> Job:
        progress = replace(progress, changes=_changes(job.progress, progress))
        before, job = job.progress, self.journal.record_progress(job, progress)
        if not before or progress.progress_code != before.progress_code:
            log.info("job is %s", printable(progress.progress_code or "?"), extra=about(job))
        if is_late(job) and not (before and is_late(replace(job, progress=before))):
            log.warning("drive has not arrived, and the job soon expires", extra=about(job))
        return job

    def _take_new_signature(self, job: Job, state: Submitted | Signed, status: JobStatus) -> Job:
        if not status.signature_file_contents or not status.current_manifest:
            return job
        try:
            text = signature.text(status.signature_file_contents, job.job_id)
        except InDoubtError as error:
            log.warning("%s", error, extra=about(job))
            return job
        if text == state.signature:
            return job
        address = status.aws_shipping_address or state.shipping_address
        changed = Submitted(
            state.job_id,
            text,
            address,
            state.warning,
            state.submitted_at,
            state.drive,
            state.artifact_list,
        )
        take = self.journal.reopen if job.filed else self.journal.record
        job = take(job, changed, status.current_manifest.encode())
        log.warning("SIGNATURE changed at the service: plug the drive in", extra=about(job))
        return job

    def _take_new_manifest(self, job: Job, state: Signed, status: JobStatus) -> Job:
        """Have the papers filed again if the service has another manifest than they have."""
        current = status.current_manifest or ""
        filed = self.filed(job) if current else None
        if filed is None or rules.says_the_same(filed, current):
            return job
        try:
            rules.read(current.encode(), job.name)
        except ManifestError as error:
            log.warning("papers keep the manifest before the update: %s", error, extra=about(job))
            return job
        job = self.journal.reopen(job, state, current.encode())
        log.warning("manifest changed at the service: papers are filed again", extra=about(job))
        return job


def _changes(before: Progress | None, now: Progress) -> dict[str, float]:
    """Return when each pair of codes was first reported, with the one that is reported now."""
    pair = f"{now.location_code or ''}/{now.progress_code or ''}"
    return {pair: now.checked_at, **(before.changes if before else {})}


def _progress(status: JobStatus, now: float) -> Progress:
    return Progress(
        checked_at=now,
        progress_code=status.progress_code,
        progress_message=status.progress_message,
        location_code=status.location_code,
        location_message=status.location_message,
        carrier=status.carrier,
        tracking_number=status.tracking_number,
        log_bucket=status.log_bucket,
        log_key=status.log_key,
        error_count=status.error_count,
        is_terminal=status.is_terminal,
    )


def _refused(error: JobRefusedError, now: float) -> Progress:
    """Expired and cancelled jobs are over; any other refusal is for a person to check."""
    code = error.code.removesuffix("Exception").removesuffix("JobId")
    return Progress(now, code, str(error), is_terminal=error.code.startswith(ENDED))
