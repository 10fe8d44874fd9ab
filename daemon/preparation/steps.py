"""The one path of a job: check, submit, reconcile, sign, file.

The `match` in `_step` and the functions below it are the recovery table of docs/architecture.md;
there is no other recovery code. Each step is recorded in the journal before it changes anything
outside, so the start after a crash takes the same steps as the first attempt.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from daemon.drives.drive import Drive
from daemon.drives.recognition.bays import Bays
from daemon.errors import (
    ClockRefusedError,
    InDoubtError,
    ManifestError,
    ManifestRefusedError,
    RefusedError,
    StaleJobError,
    UnreachableError,
)
from daemon.importexport.client import Client
from daemon.importexport.results import CreatedJob, JobStatus
from daemon.jobs.job import (
    Ceded,
    Job,
    Pending,
    Rejected,
    Signed,
    Submitted,
    Submitting,
    about,
)
from daemon.jobs.journal import Journal
from daemon.manifest.complaints import locate
from daemon.pool.alone import Alone
from daemon.pool.values import Claim, Pool
from daemon.preparation import answers, papers, reconciliation, sharing
from daemon.preparation.polling import StatusPoller
from daemon.preparation.signing import Signer
from daemon.preparation.texts import Texts
from daemon.preparation.under_way import UnderWay
from daemon.preparation.witnesses import Witnesses
from daemon.spool.spool import Spool
from daemon.system.printable import printable, printable_lines

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.preparation")


@dataclass(frozen=True, slots=True)
class Preparation:
    """Takes jobs along the path. Safe to use from several threads, one at a time for each job."""

    journal: Journal
    spool: Spool
    client: Client
    poller: StatusPoller
    signer: Signer
    under_way: UnderWay
    witnesses: Witnesses
    clock: Callable[[], float]  # seconds since the epoch
    station: str  # the name of this machine in receipts
    bays: Bays = field(default_factory=Bays)
    prints: Collection[str] = ()  # kinds of papers that are printed for a prepared job
    pool: Pool = field(default_factory=Alone)

    def advance(self, job: Job, drive: Drive | None) -> Job:
        """Take steps until a step changes nothing; return the job as it then is.

        Safe to repeat at any time. Raises DriveError or ServiceError for what blocks the job,
        SpoolError, StaleJobError if the manifest was withdrawn meanwhile.
        """
        try:
            while (after := self._step(job, drive)) != job:
                job = after
        finally:
            self.pool.has_changed()
        return job

    @property
    def texts(self) -> Texts:
        """The texts of manifests, for the configured account and service."""
        return Texts(self.journal, self.spool, self.under_way, self.client)

    def validate(self, job: Job) -> Job:
        """Have the service check a pending manifest; no job is made. Safe to repeat.

        Raises ServiceError when the service did not answer.
        """
        if not isinstance(job.state, Pending):
            return job
        self.witnesses.hear(self.client)  # so that a drive need not wait for it
        data = self.texts.dropped(job)
        try:
            self.client.create_job(self.texts.to_send(job, data), validate_only=True)
        except ManifestRefusedError as error:
            return self._reject(job, error, data)
        log.info("manifest %s found valid by the service", job.name, extra=about(job))
        return self._answered(self.journal.record(job, Pending(job.state.stamp, validated=True)))

    def recheck(self, job: Job, drive: Drive) -> Job:
        """Check a prepared drive that was mounted again; without its SIGNATURE it is not prepared.

        The job is then reopened, to be signed again. Safe to repeat. Raises DriveError,
        ServiceError, StaleJobError.
        """
        match job:
            case Job(filed=True, state=Signed() as state):
                if self.signer.has_signature(job, state, drive):
                    return job
                return self.poller.reopen(job, state)
        return job

    def _step(self, job: Job, drive: Drive | None) -> Job:
        """Take the next step of a job; return the same job when there is none now."""
        if job.filed:
            return job
        match job.state:
            case Pending():
                return self._submit(job, drive) if drive else job
            case Submitting():
                return self._reconcile(job, job.state)
            case Submitted():
                return self._sign(job, job.state, drive) if drive else job
            case Signed():
                return self._file_prepared(job, job.state)
            case Rejected() | Ceded():
                return self._put_away(job, job.state)

    # Pending: check the drive, record the intention, ask the service.

    def _submit(self, job: Job, drive: Drive) -> Job:
        self.witnesses.hear(self.client)
        if (now := self.journal.worklist.get(job.number)) and now.state != job.state:
            return now  # it was adopted
        self.witnesses.check(job, self.client)
        if open_job := self.journal.open_job(job.device_id):
            self._check_closed(open_job)
        dropped = self.texts.dropped(job)
        self.texts.check(job, dropped)
        text = self.texts.to_send(job, dropped)
        drive, contents = self.signer.prove(job, drive)
        facts = self.bays.identities(drive) | contents.facts()
        claim = sharing.claim_for(job, dropped, facts, self.client)
        claim = replace(claim, id=self.pool.claim(claim, previous=job.claim))
        job, sent = self._record_intention(job, drive, claim)
        try:
            created = self.client.create_job(text, signed_at=claim.signed_at)
        except ManifestRefusedError as error:
            return self._reject(job, error, dropped)
        except ClockRefusedError as error:
            return self._correct_clock(job, sent, error)
        except (RefusedError, UnreachableError):
            self.journal.record(job, _pending_again())
            raise
        return self._adopt(job, sent, created, created.warning_message or "")

    def _record_intention(self, job: Job, drive: Drive, claim: Claim) -> tuple[Job, Submitting]:
        sent = Submitting(claim.signed_at, claim.endpoint, claim.access_key_id, claim.drive)
        try:
            job = self.journal.record(job, sent, manifest=claim.text, claim=claim.id)
        except StaleJobError:
            self.pool.give_back(claim.id)
            raise
        self.pool.sent(claim.id)
        self.under_way.sent(job, self.client.timeout)
        level = logging.DEBUG if job.obstacle and job.obstacle.attempts else logging.INFO
        log.log(level, "job being submitted for %s", drive.describe(), extra=about(job))
        return job, sent

    def _correct_clock(self, job: Job, sent: Submitting, error: ClockRefusedError) -> Job:
        """Nothing was made: try once more if the client has learned the service's time."""
        job = self.journal.record(job, _pending_again())
        if abs(self.client.now() - sent.sent_at) < reconciliation.CLOCK_SKEW_SECONDS / 2:
            raise error
        log.warning("local clock is wrong; retrying with the service's time", extra=about(job))
        return job

    # Submitting: in doubt until the service's own list shows what it has.

    def _reconcile(self, job: Job, state: Submitting) -> Job:
        client = self.client
        if (state.endpoint, state.access_key_id) != (client.endpoint, client.access_key_id):
            raise InDoubtError(
                f"{job.device_id} was submitted to {state.endpoint} as {state.access_key_id},"
                " but the configuration names another endpoint or key",
                "Restore both in config.yml until this job is settled.",
                code="in-doubt-other-endpoint",
            )
        has_landed = self._has_landed(job, state)  # before the list: what lands later is not in it
        text = self.texts.to_send(job, self.texts.journaled(job))
        if made := reconciliation.job_made(state, text, self.journal, client):
            log.info("job found at the service, adopted", extra=about(job))
            return self._adopt(job, state, made)
        if has_landed:
            log.warning("job is not at the service; it will be sent again", extra=about(job))
            return self.journal.record(job, _pending_again())
        raise InDoubtError(
            "no usable response to CreateJob arrived; the service does not list the job so far",
            "No action is needed: the list is checked again, and the job is sent again once that"
            " is safe.",
            code="in-doubt-not-listed",
        )

    def _has_landed(self, job: Job, state: Submitting) -> bool:
        """Return whether a request in flight must have landed, by both clocks."""
        if (until := state.arrives_until) is not None:  # the service refuses it from then on
            date = self.client.probe().date
            return date is not None and date > until
        timeout = self.client.timeout
        has_landed = self.under_way.has_landed(job, timeout)
        return has_landed and self.client.now() >= state.sent_at + 2 * timeout

    def _adopt(
        self, job: Job, sent: Submitting, answer: CreatedJob | JobStatus, warning: str = ""
    ) -> Job:
        """Record the service's response before anything else is done with it."""
        if self.journal.job_with(answer.job_id):
            raise InDoubtError(
                f"the service answered with {answer.job_id}, which is the JobId of another job",
                f"Compare `driveprep show {answer.job_id}` with the service's own records.",
                code="in-doubt-known-job-id",
            )
        job = self.journal.record(job, answers.submitted(sent, answer, warning))
        self.under_way.settled(job)
        log.info("job created at the service", extra=about(job))
        return self._answered(job)

    # Submitted: SIGNATURE is written to the drive that the job was made for.

    def _sign(self, job: Job, state: Submitted, drive: Drive) -> Job:
        if not self.poller.is_fresh(job):
            job = self.poller.ask(job)
            if job.is_closed:
                return self.journal.record(job, Rejected(_ended(job)))
            if job.state != state:
                return job  # with another SIGNATURE, by UpdateJob
        self.pool.check(job.device_id, job.claim)
        drive = self.signer.sign(job, state, drive)
        job = self.journal.record(job, self.signer.signed(state, drive, self.clock(), self.bays))
        log.info("SIGNATURE written to %s: safe to remove", drive.describe(), extra=about(job))
        return job

    def _check_closed(self, other: Job) -> None:
        """Raise ManifestError while the other job of this deviceId is open at the service."""
        if not isinstance(other.state, Submitting) and self.poller.ask(other).is_closed:
            return
        raise ManifestError(
            f"{other.device_id} already has an open job, {other.job_id or other.name}",
            hint="Wait until the service has finished it, or"
            f" `driveprep cancel {shlex.quote(printable(other.device_id))}`.",
            code="open-job",
        )

    # Signed and Rejected: the papers are filed.

    def _file_prepared(self, job: Job, state: Signed) -> Job:
        self.pool.check(job.device_id, job.claim)
        manifest = self.under_way.manifest(self.texts.journaled(job), job.name)
        files = papers.files(job, state, manifest, self.station)
        folder = papers.folder(state.job_id, job.device_id)
        place = self.spool.file(folder, job.name, job.sha256, files)
        log.info("papers filed in %s", place, extra=about(job))
        return self._finish(job, self.prints)

    def _put_away(self, job: Job, state: Rejected | Ceded) -> Job:
        if isinstance(state, Ceded):
            self.spool.remove(job.name, job.sha256)
            log.warning("job is left to station %s", printable(state.station), extra=about(job))
            return self._finish(job)
        reason = f"{state.reason}\n\n({job.mark})\n"
        place = self.spool.reject(job.name, job.sha256, self.journal.manifest(job), reason)
        log.warning("manifest rejected, see rejected/%s.reason.txt", place, extra=about(job))
        return self._finish(job)

    def _finish(self, job: Job, prints: Collection[str] = ()) -> Job:
        self.under_way.finished(job)
        return self.journal.mark_filed(job, prints)

    def _reject(self, job: Job, error: ManifestRefusedError, dropped: bytes) -> Job:
        reason = printable_lines(locate(dropped, printable(job.name), error).excerpt())
        return self._answered(self.journal.record(job, Rejected(reason), manifest=dropped))

    def _answered(self, job: Job) -> Job:
        """The service has answered for this job: what it had against it before is past."""
        is_told = not all(one.is_own for one in job.cautions)
        return self.journal.record_cautions(job, []) if is_told else job


def _pending_again() -> Pending:
    """Proved not accepted. The empty stamp makes the spool check the manifest's file again."""
    return Pending(stamp="", validated=True)


def _ended(job: Job) -> str:
    return (
        f"{printable(job.name)}: the service ended job {job.job_id} before its drive was signed;"
        " drop it again"
    )
