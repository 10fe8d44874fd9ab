"""What an operator does with one job: show it, cancel it, update it, print its papers.

An operator has no secret key: the client can be one that asks the daemon. Only the daemon writes
the journal. These actions call the service, then leave a request in pending/ to poll the job, and
the daemon records what the service reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon import spool
from daemon.config.loading import Config
from daemon.desk import elsewhere, relay
from daemon.desk.manifests import terms
from daemon.drives import signature
from daemon.errors import DriveprepError, InDoubtError, JobRefusedError, ManifestError
from daemon.importexport.client import Client
from daemon.importexport.relay import RelayedClient
from daemon.importexport.results import JobStatus
from daemon.jobs import reader
from daemon.jobs.deadlines import expires_at
from daemon.jobs.job import Job, Paper, Rejected, Signed, Submitted, ended_as
from daemon.manifest import rules
from daemon.preparation import papers
from daemon.preparation.papers import rendering
from daemon.system.printable import timestamp


@dataclass(frozen=True, slots=True)
class JobActions:
    """Acts on one job, named by its JobId or deviceId. Raises DriveprepError if there is none."""

    settings: Config
    client: Callable[[], Client | RelayedClient]  # made when needed: not all need the secret key

    def find(self, word: str) -> Job:
        """Return the job with that JobId, or the open or newest one of that deviceId.

        Raises DriveprepError if it is at another station of the pool.
        """
        job = reader.find(self.settings.spool, word)
        if elsewhere.may_be(job, word):
            elsewhere.refuse(self.settings, word, is_known=job is not None)
        if job:
            return job
        raise DriveprepError(f"there is no job {word}", "`driveprep status` lists all jobs.")

    def show(self, word: str) -> Iterator[tuple[str, str]]:
        """Yield what is known about a job, here and at the service, as names and texts."""
        job = self.find(word)
        yield "deviceId", job.device_id
        yield "manifest", job.name
        ended = ended_as(job.progress.progress_code) if job.progress else ""
        yield "state", f"{ended or type(job.state).__name__}, since {timestamp(job.since)}"
        if isinstance(job.state, Rejected):
            yield "reason", job.state.reason
        if job.obstacle:
            yield "obstacle", job.obstacle.reason
            yield "what to do", job.obstacle.hint
        for one in job.cautions:
            yield "warning", f"{one.text} {one.hint}".strip()
        if isinstance(job.state, Submitted | Signed):
            yield from self._show_open(job, job.state)

    def _show_open(self, job: Job, state: Submitted | Signed) -> Iterator[tuple[str, str]]:
        yield "JobId", state.job_id
        yield "drive", ", ".join(f"{key} {value}" for key, value in state.drive.items())
        yield "shipping address", state.shipping_address
        for one in state.artifact_list:
            yield "paper for the box", f"{one.description} {one.url}".strip()
        yield "submitted", timestamp(state.submitted_at)
        yield "must arrive before", timestamp(expires_at(state))
        if job.shipment:
            told = (timestamp(job.shipment.at), job.shipment.carrier, job.shipment.tracking)
            yield "shipped", " ".join(filter(None, told))
        if folder := self._folder(job):
            yield "papers", str(folder)
        yield from ((one.kind, _printed(one)) for one in job.papers)
        try:
            yield from _reported(self.client().get_status(state.job_id))
        except DriveprepError as error:
            yield "at the service", f"{error}. {error.hint}"

    def cancel(self, word: str) -> str:
        """Cancel a job at the service. Safe to repeat. Returns what happened as a sentence."""
        job = self._at_service(word)
        try:
            self.client().cancel_job(job.job_id)
        except JobRefusedError as error:
            if not error.code.startswith("CanceledJobId"):
                raise
        self._ask_to_poll(job)
        return (
            f"job {job.job_id} for {job.device_id} is cancelled; its SIGNATURE is no longer valid"
        )

    def update(self, word: str, file: Path, data: bytes) -> str:
        """Give a job another manifest. Safe to repeat. Returns what to do next as a sentence."""
        job = self._at_service(word)
        read = rules.read(data, str(file))
        terms(self.settings).check(read)
        if read.device_id != job.device_id:
            raise ManifestError(
                f"{file} is for {read.device_id}, job {job.job_id} for {job.device_id}",
                hint="A job stays with its drive: correct deviceId, or cancel the job.",
            )
        client = self.client()
        client.update_job(job.job_id, rules.to_send(read, client.access_key_id))
        self._ask_to_poll(job)
        contents = client.get_status(job.job_id).signature_file_contents or ""
        is_same = isinstance(job.state, Submitted | Signed) and job.state.signature == _text(
            contents, job.job_id
        )
        done = f"job {job.job_id} has the new manifest"
        if is_same:
            return f"{done}; its SIGNATURE stays as it is; its papers are filed again"
        return f"{done} and another SIGNATURE: plug in the drive {job.device_id} to have it written"

    def label(self, word: str) -> str:
        """Return the link to the carrier label that the service issues for a job."""
        job = self._at_service(word)
        address = rules.read(self._manifest(job), job.name).return_address
        return self.client().get_shipping_label([job.job_id], **address).shipping_label_url

    def slip(self, word: str, output: Path | None, *, as_pdf: bool = False) -> Path:
        """Make the packing slip again, at `output` or in the current folder; return its place.

        As HTML, or as PDF. Raises PaperError if that cannot be made.
        """
        job, page = self.slip_page(word)
        kind, data = ("pdf", rendering.pdf(page)) if as_pdf else ("html", page.encode())
        place = output or Path(f"slip-{spool.safe_name(job.job_id)}.{kind}").absolute()
        place.write_bytes(data)
        return place

    def slip_page(self, word: str) -> tuple[Job, str]:
        """Return a job and its packing slip: made again, or as filed if the papers are secret."""
        job = self._at_service(word)
        if not isinstance(job.state, Submitted | Signed):
            raise DriveprepError(f"{word} has no JobId yet", "`driveprep show` shows why.")
        try:
            manifest = self._manifest(job)
        except PermissionError:
            return job, relay.paper(self.settings, "slip", job.job_id)
        read, station = rules.read(manifest, job.name), elsewhere.bench(self.settings).station
        return job, papers.slip(job, job.state, read, station)

    def sticker(self, word: str) -> tuple[Job, str]:
        """Return a job and its sticker as text, which the daemon makes: it has the template."""
        job = self._at_service(word)
        return job, relay.paper(self.settings, "sticker", job.job_id)

    def _at_service(self, word: str) -> Job:
        job = self.find(word)
        if not job.job_id:
            raise DriveprepError(
                f"{job.device_id or job.name} has no job at the service yet",
                f"`driveprep show {word}` shows why.",
            )
        return job

    def _folder(self, job: Job) -> Path | None:
        """Return where the papers are, if they are filed."""
        folder = self.settings.spool / "prepared" / papers.folder(job.job_id, job.device_id)
        return folder if folder.is_dir() else None

    def _manifest(self, job: Job) -> bytes:
        if folder := self._folder(job):
            return (folder / papers.MANIFEST).read_bytes()
        raise DriveprepError(
            f"the papers of {job.job_id} are not filed yet",
            f"`driveprep show {job.job_id}` shows what it waits for.",
        )

    def _ask_to_poll(self, job: Job) -> None:
        spool.ask_to_retry(self.settings.spool / "pending", job.device_id)


def _printed(paper: Paper) -> str:
    if paper.printed_at:
        return f"printed {timestamp(paper.printed_at)}"
    why = f": {paper.obstacle.reason}. {paper.obstacle.hint}" if paper.obstacle else ""
    return f"not printed yet{why}"


def _text(contents: str, job_id: str) -> str:
    try:
        return signature.text(contents, job_id)
    except InDoubtError:
        return ""


def _reported(status: JobStatus) -> Iterator[tuple[str, str]]:
    shown = {
        "progress": (status.progress_code, status.progress_message),
        "location": (status.location_code, status.location_message),
        "carrier": (status.carrier, status.tracking_number),
        "log": (status.log_bucket, status.log_key),
        "errors": (str(status.error_count) if status.error_count else None, None),
    }
    for name, values in shown.items():
        if any(values):
            yield name, " ".join(value for value in values if value)
