"""The one path of a job: check, submit, settle doubt, sign, file away.

The only room where journal, service, drive and spool meet, so the order of effects is written
once: every step is in the journal before the world hears of it. `_step` is the recovery table of
the design; start-up after a crash takes the same steps as the first try.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache

from daemon.drives import signature
from daemon.drives.drive import Drive, check_usable
from daemon.drives.inventory import Drives, is_still
from daemon.errors import (
    ClockRefusedError,
    DriveError,
    InDoubtError,
    ManifestError,
    ManifestRefusedError,
    RefusedError,
    UnreachableError,
)
from daemon.importexport.client import Client
from daemon.importexport.results import CreatedJob, JobStatus
from daemon.jobs.job import Job, Pending, Rejected, Signed, Submitted, Submitting, about
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.manifest.complaints import blame
from daemon.preparation import papers, reconciliation
from daemon.preparation.polling import Following
from daemon.spool.filing import digest
from daemon.spool.spool import Spool, safe_name
from daemon.system.printable import printable, printable_lines, timestamp

log = logging.getLogger("daemon.preparation")


@dataclass(frozen=True, slots=True)
class Preparation:
    """Takes jobs along the path. Safe to use from several threads, one at a time for each job."""

    journal: Journal
    spool: Spool
    drives: Drives
    client: Client
    following: Following
    endpoint: str
    access_key_id: str
    timeout: float  # seconds, of one request
    clock: Callable[[], float]
    steady: Callable[[], float] = time.monotonic  # seconds, by a clock that nobody can set
    # Job number -> the steady time when whoever sent its request had given it up at the latest.
    given_up_at: dict[int, float] = field(default_factory=dict)

    # Job number -> the drive that is being used for it, and the steady time since when.
    in_use: dict[int, tuple[Drive, float]] = field(default_factory=dict)

    def advance(self, job: Job, drive: Drive | None) -> Job:
        """Take steps until a step changes nothing; the job as it then stands.

        Safe to repeat at any time. Raises DriveError or ServiceError for what is in the way,
        OSError of the spool, StaleJobError when the manifest was withdrawn meanwhile.
        """
        while (after := self._step(job, drive)) != job:
            job = after
        return job

    def validate(self, job: Job) -> Job:
        """Ask the service what it thinks of a pending manifest; nothing is made. Safe to repeat.

        Raises ServiceError when the service did not say.
        """
        if not isinstance(job.state, Pending):
            return job
        data = self._dropped(job)
        try:
            self.client.create_job(_text(job.name, data, self.access_key_id), validate_only=True)
        except ManifestRefusedError as error:
            return self._reject(job, error, data)
        log.info("manifest %s found valid by the service", job.name, extra=about(job))
        return self.journal.record(job, Pending(job.state.stamp, validated=True))

    def silent(self, seconds: float) -> dict[int, Drive]:
        """The drives that have been used for longer, by the numbers of their jobs: they hang."""
        begun = self.steady() - seconds
        return {
            number: drive for number, (drive, since) in self.in_use.copy().items() if since < begun
        }

    def _step(self, job: Job, drive: Drive | None) -> Job:
        """The next step of a job; the same job when there is none now."""
        if job.filed:
            return job
        match job.state:
            case Pending():
                return self._submit(job, drive) if drive else job
            case Submitting():
                return self._settle(job, job.state)
            case Submitted():
                return self._sign(job, job.state, drive) if drive else job
            case Signed():
                return self._file_prepared(job, job.state)
            case Rejected():
                return self._file_rejected(job, job.state)

    # Pending: check the drive, write the intention down, ask the service.

    def _submit(self, job: Job, drive: Drive) -> Job:
        if open_job := self.journal.open_job(job.device_id):
            self._check_closed(open_job)
        dropped = self._dropped(job)
        text = _text(job.name, dropped, self.access_key_id)
        with self._root(job, drive) as root:
            drive = self.drives.verify(drive, job.file_system)
            self._replaceable(root, drive)
            root.prove_writable()
        identities = drive.identities() | {"size": drive.device.size}
        sent = Submitting(self.client.now(), self.endpoint, self.access_key_id, identities)
        job = self.journal.record(job, sent, manifest=dropped)
        self.given_up_at[job.number] = self.steady() + self.timeout
        level = logging.DEBUG if job.obstacle and job.obstacle.attempts else logging.INFO
        log.log(level, "job being submitted for %s", drive.describe(), extra=about(job))
        try:
            created = self.client.create_job(text)
        except ManifestRefusedError as error:
            return self._reject(job, error, dropped)
        except ClockRefusedError as error:
            return self._correct_clock(job, sent, error)
        except (RefusedError, UnreachableError):
            self.journal.record(job, _pending_again())
            raise
        return self._adopt(job, sent, created, created.warning_message)

    def _correct_clock(self, job: Job, sent: Submitting, error: ClockRefusedError) -> Job:
        """Nothing was made: try once more if the client has learned the service's time."""
        job = self.journal.record(job, _pending_again())
        if abs(self.client.now() - sent.sent_at) < reconciliation.CLOCK_SKEW_SECONDS / 2:
            raise error
        log.warning("clock is wrong; the request is made again by the service's", extra=about(job))
        return job

    # Submitting: in doubt until the service's own list says what it has.

    def _settle(self, job: Job, state: Submitting) -> Job:
        if (state.endpoint, state.access_key_id) != (self.endpoint, self.access_key_id):
            raise InDoubtError(
                f"{job.device_id} was submitted to {state.endpoint} as {state.access_key_id},"
                " which the configuration no longer names",
                "Put them back into config.yml until this job is settled.",
            )
        has_landed = self._has_landed(job, state)  # before the list: what lands later would be lost
        text = _text(job.name, self._journaled(job), state.access_key_id)
        if made := reconciliation.job_made(state, text, self.journal, self.client):
            log.info("job found at the service, adopted", extra=about(job))
            return self._adopt(job, state, made, None)
        if has_landed:
            log.warning("job is not at the service; it will be sent again", extra=about(job))
            return self.journal.record(job, _pending_again())
        raise InDoubtError(
            "no usable answer to CreateJob came; the service does not list the job so far",
            "Nothing to do: it is looked for again, and sent again once that is safe.",
        )

    def _has_landed(self, job: Job, state: Submitting) -> bool:
        """Whether a request in flight must have landed: as long again after the sender gave it up.

        By the clock on the wall, which can be set, and by the one that cannot. A sender before
        this process gave up when it died, so at the latest when this one first looks.
        """
        given_up_at = self.given_up_at.setdefault(job.number, self.steady())
        is_long_ago = self.steady() >= given_up_at + self.timeout
        return is_long_ago and self.client.now() >= state.sent_at + 2 * self.timeout

    def _adopt(
        self, job: Job, sent: Submitting, answer: CreatedJob | JobStatus, warning: str | None
    ) -> Job:
        """The service's word on the job goes into the journal before anything goes anywhere."""
        if self.journal.job_with(answer.job_id):
            raise InDoubtError(
                f"the service answered with {answer.job_id}, which is the JobId of another job",
                f"Compare `driveprep show {answer.job_id}` with the service's own records.",
            )
        submitted = Submitted(
            job_id=answer.job_id,
            signature=signature.text(answer.signature_file_contents or "", answer.job_id),
            shipping_address=answer.aws_shipping_address or "",
            warning=warning or "",
            submitted_at=self.clock(),
            drive=sent.drive,
        )
        job = self.journal.record(job, submitted)
        self.given_up_at.pop(job.number, None)
        log.info("job created at the service", extra=about(job))
        return job

    # Submitted: SIGNATURE onto the drive the job was made for.

    def _sign(self, job: Job, state: Submitted, drive: Drive) -> Job:
        if not self.following.is_fresh(job):
            job = self.following.ask(job)
            if job.is_closed:
                return self.journal.record(job, Rejected(_ended(job)))
            if job.state != state:
                return job  # with another SIGNATURE, by UpdateJob
        with self._root(job, drive) as root:
            drive = self.drives.verify(drive, job.file_system)
            _check_same_drive(state, drive)
            root.sign(state.signature, self._replaceable(root, drive, state))
            if not is_still(drive):
                raise DriveError(
                    f"{drive.describe()} was taken away while SIGNATURE was being written",
                    "Plug it in again: it is then completed.",
                )
        job = self.journal.record(job, Signed(**asdict(state), signed_at=self.clock()))
        log.info("SIGNATURE written to %s: safe to remove", drive.describe(), extra=about(job))
        return job

    @contextmanager
    def _root(self, job: Job, drive: Drive) -> Iterator[signature.Root]:
        """The drive's root. All that can hang with a drive is done while it is held."""
        if drive.is_covered:  # its root cannot be opened to say so
            check_usable(drive, job.file_system)
        self.in_use[job.number] = drive, self.steady()
        try:
            with signature.root(drive.mount_point, drive.device_number) as root:
                yield root
        finally:
            del self.in_use[job.number]

    def _replaceable(
        self, root: signature.Root, drive: Drive, own: Submitted | None = None
    ) -> bytes | None:
        """The SIGNATURE that may be replaced, or None where there is none.

        That is one of this very job, whose text UpdateJob can change, or the very text of a job
        of ours that the service is done with. Raises DriveError for any other.
        """
        found = root.found()
        if found is None:
            return None
        job_id = signature.job_id_in(found) or ""
        if own and job_id == own.job_id:
            return found
        match self.journal.job_with(job_id):
            case Job(state=Signed(signature=old), is_closed=True) if old.encode() == found:
                return found
            case Job(state=Rejected(), is_closed=True):  # ended before it was known to be signed
                return found
        raise DriveError(
            f"{drive.describe()} already carries a SIGNATURE"
            + (f" of job {printable(job_id)}" if job_id else ""),
            f"If it is not wanted, remove {drive.mount_point}/{signature.NAME} by hand.",
        )

    def _check_closed(self, other: Job) -> None:
        """Raise ManifestError while the other job of this deviceId is open at the service."""
        if not isinstance(other.state, Submitting) and self.following.ask(other).is_closed:
            return
        raise ManifestError(
            f"{other.device_id} already has an open job, {other.job_id or other.name}",
            hint="Wait for the service to end it, or"
            f" `driveprep cancel {shlex.quote(printable(other.device_id))}`.",
        )

    # Signed and Rejected: the papers go to their last place.

    def _file_prepared(self, job: Job, state: Signed) -> Job:
        files = papers.files(job, state, self._journaled(job))
        folder = f"{safe_name(state.job_id)}-{safe_name(job.device_id)}"
        place = self.spool.file(folder, job.name, job.sha256, files)
        log.info("papers filed in %s", place, extra=about(job))
        return self.journal.file(job)

    def _file_rejected(self, job: Job, state: Rejected) -> Job:
        reason = f"{state.reason}\n\n(driveprep, entry {job.number}, {timestamp(job.since)})\n"
        place = self.spool.reject(job.name, job.sha256, self.journal.manifest(job), reason)
        log.warning("manifest rejected, see rejected/%s.reason.txt", place, extra=about(job))
        return self.journal.file(job)

    def _reject(self, job: Job, error: ManifestRefusedError, dropped: bytes) -> Job:
        reason = printable_lines(blame(dropped, printable(job.name), error).excerpt())
        return self.journal.record(job, Rejected(reason), manifest=dropped)

    def _dropped(self, job: Job) -> bytes:
        """The manifest as it lies in pending/; it must be the one that was checked."""
        try:
            data = self.spool.read(job.name)
        except FileNotFoundError:
            data = b""
        if digest(data) != job.sha256:
            raise ManifestError(f"{job.name} is changing", hint="It is checked anew once complete.")
        return data

    def _journaled(self, job: Job) -> bytes:
        data = self.journal.manifest(job)
        if data is None:
            raise RuntimeError(f"job {job.number} lost its manifest")
        return data


@lru_cache(maxsize=16)  # what was validated a while ago is what is sent when its drive comes
def _text(name: str, dropped: bytes, access_key_id: str) -> str:
    return rules.to_send(rules.read(dropped, name), access_key_id)


def _pending_again() -> Pending:
    """Proved not accepted. The empty stamp makes the spool look at the manifest's file again."""
    return Pending(stamp="", validated=True)


def _ended(job: Job) -> str:
    return (
        f"{printable(job.name)}: the service ended job {job.job_id} before its drive came back;"
        " drop it anew"
    )


def _check_same_drive(state: Submitted, drive: Drive) -> None:
    """A job is for one drive; its twin must not get the SIGNATURE."""
    now = drive.identities()
    for key in ("serial", "wwn", "partuuid", "uuid"):
        then, here = state.drive.get(key), now.get(key)
        if then and here and then != here:
            raise DriveError(
                f"job {state.job_id} is for the drive with {key} {printable(str(then))},"
                f" and {drive.describe()} is another",
                f"Plug in the drive it was made for, or `driveprep cancel {state.job_id}`.",
            )
