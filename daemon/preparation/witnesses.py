"""A journal from another time: what the papers and the service know, and the journal does not.

A journal can be older than the jobs it should know: restored from a backup, copied back, or lost.
So before the first CreateJob of a process, two witnesses are heard.

- The papers: a folder in prepared/ whose JobId the journal does not know is recorded.
- The service: each listed job that the journal does not know, made after its last change, is looked
  up once. If it is the job of a manifest that waits here, it is adopted, or the manifest waits for
  a person; it is never made again. Any other is remembered as foreign.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

from daemon.documents import reader
from daemon.drives import signature
from daemon.errors import (
    DocumentError,
    InDoubtError,
    JobRefusedError,
    ManifestError,
    PoolError,
    ServiceError,
    SpoolError,
)
from daemon.importexport.client import Client
from daemon.importexport.results import JobStatus, ListedJob
from daemon.jobs.job import Job, NewJob, Pending, Progress, Signed, Submitting, about
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.pool.alone import Alone
from daemon.pool.values import Pool
from daemon.preparation import answers, papers
from daemon.preparation.under_way import UnderWay
from daemon.spool.filing import digest
from daemon.spool.spool import Spool

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.preparation")

DAY_SECONDS = 24 * 3600.0  # of margin, for clocks that differ
FOLDERS_AT_ONCE = 500  # that are looked up in the journal
LOST_SECONDS = 31 * DAY_SECONDS  # the service ends a job after 30 days


@dataclass(slots=True)
class Witnesses:
    """Hears the witnesses once in a process. Safe to use from several threads."""

    journal: Journal
    spool: Spool
    under_way: UnderWay
    clock: Callable[[], float]  # seconds since the epoch
    pool: Pool = field(default_factory=Alone)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _since: float | None = None  # from when on the service may have jobs that the journal has lost
    _have_papers: bool = False  # they were heard
    _has_service: bool = False
    _held: dict[str, str] = field(default_factory=dict)  # deviceId -> a JobId to be settled

    def hear(self, client: Client) -> None:
        """Check the journal, and compare it with papers and service, once.

        Raises JournalError, PoolError, ServiceError, SpoolError.
        """
        with self._lock:
            self._hear_papers(client)
            if not self._has_service:
                self._hear_service(client)
                self._has_service = True

    def begin(self, client: Client) -> None:
        """After a start, do what needs no service if all is well. Safe to repeat.

        Raises JournalError.
        """
        try:
            with self._lock:
                self._hear_papers(client)
        except (PoolError, ServiceError, SpoolError) as error:
            log.warning("papers not compared yet: %s", error)

    def check(self, job: Job, client: Client) -> None:
        """Raise InDoubtError while the service has an open job for it that the journal lacks."""
        job_id = self._held.get(job.device_id)
        if job_id is None:
            return
        if status_of(client, job_id) is None:
            del self._held[job.device_id]
            return
        raise InDoubtError(
            f"the service has job {job_id} for {job.device_id}, which this journal does not know,"
            f" made of another manifest than {job.name}",
            f"Cancel {job_id} at the service if it is not wanted, or remove the manifest from"
            " pending/.",
            code="unknown-job",
        )

    # The papers

    def _hear_papers(self, client: Client) -> None:
        if self._have_papers:
            return
        self.journal.check()
        if self._since is None:
            self._since = self._last_known()
        for folder in sorted(unknown_folders(self.spool, self.journal.unknown)):
            if (found := read_papers(folder)) and not self._is_known(found[1].job_id):
                self._record(client, *found)
        self._have_papers = True

    def _is_known(self, job_id: str) -> bool:
        """Return whether the journal has the job, or another station follows it."""
        return bool(self.journal.job_with(job_id)) or self.pool.is_of_others(job_id, "")

    def _last_known(self) -> float:
        last = self.journal.last_change()
        if last is not None:
            return last - DAY_SECONDS
        return self.clock() - (DAY_SECONDS if self.spool.is_new() else LOST_SECONDS)

    def _record(self, client: Client, job: NewJob, state: Signed) -> None:
        progress = None
        if status_of(client, state.job_id) is None:
            message = "known from its papers; the service has ended it"
            progress = Progress(self.clock(), None, message, is_terminal=True)
        self.journal.add_prepared(job, state, progress)
        extra = {"device_id": job.device_id, "job_id": state.job_id}
        log.warning("job known from its papers only: recorded", extra=extra)

    # The service

    def _hear_service(self, client: Client) -> None:
        unknown = [
            listed.job_id
            for listed in listed_since(client, self._since or 0.0)
            if not self.journal.job_with(listed.job_id)
            and not self.journal.is_foreign(listed.job_id)
        ]
        waiting = self._waiting() if unknown else {}
        for job_id in unknown:
            status = status_of(client, job_id)
            device_id = device_id_of(status) if status else ""
            if self.pool.is_of_others(job_id, device_id):
                continue
            job = waiting.get(device_id) if status else None
            if status is None or job is None:
                self.journal.record_foreign(job_id)
            elif not self._adopt(client, job, status):
                self._held[job.device_id] = job_id

    def _waiting(self) -> dict[str, Job]:
        return {
            job.device_id: job
            for job in self.journal.worklist.jobs()
            if isinstance(job.state, Pending) and job.device_id
        }

    def _adopt(self, client: Client, job: Job, status: JobStatus) -> bool:
        """Adopt the job if it was made of the very manifest that waits; return whether it was.

        Its drive is not known: SIGNATURE goes to the one drive that matches the deviceId.
        """
        dropped = self.spool.read(job.name)
        manifest = self.under_way.manifest(dropped, job.name)
        text = rules.to_send(manifest, client.access_key_id)
        if not rules.is_same(text, status.current_manifest or ""):
            return False
        sent_at = status.creation_date or self.clock()
        sent = Submitting(sent_at, client.endpoint, client.access_key_id, {})
        job = self.journal.record(job, sent, manifest=dropped)
        job = self.journal.record(job, answers.submitted(sent, status))
        log.warning("job found at the service, adopted: it was never recorded", extra=about(job))
        return True


def unknown_folders(
    spool: Spool, unknown: Callable[[Sequence[str]], Collection[str]]
) -> Iterator[Path]:
    """Yield the folders of papers whose names have a JobId that `unknown` returns."""
    folders = spool.prepared()
    while some := list(islice(folders, FOLDERS_AT_ONCE)):
        job_ids = [folder.name.partition("-")[0] for folder in some]
        found = unknown(job_ids)
        yield from (one for one, job_id in zip(some, job_ids, strict=True) if job_id in found)


def listed_since(client: Client, since: float) -> Iterator[ListedJob]:
    """Yield the export jobs that the service lists since that moment, newest first."""
    for listed in client.list_jobs():  # newest first
        if listed.creation_date < since:
            return
        if listed.job_type == "Export" and not listed.is_canceled:
            yield listed


def status_of(client: Client, job_id: str) -> JobStatus | None:
    """Return the status of a listed job; None if it has ended."""
    try:
        status = client.get_status(job_id)
    except JobRefusedError:
        return None
    return None if status.is_terminal else status


def device_id_of(status: JobStatus) -> str:
    """Return the deviceId in the job's manifest; "" if it cannot be read."""
    try:
        text = (status.current_manifest or "").encode()
        found = reader.read(text, status.job_id, guide_spelling=True).plain().get("deviceId")
    except DocumentError:
        return ""
    return found if isinstance(found, str) else ""


def read_papers(folder: Path) -> tuple[NewJob, Signed] | None:
    """Return the job in a folder of papers; None if they are not complete."""
    try:
        receipt = json.loads((folder / papers.RECEIPT).read_bytes())
        text = (folder / signature.FILE_NAME).read_text("utf-8")
        manifest = (folder / papers.MANIFEST).read_bytes()
        before = receipt.get("manifestBefore")  # an update of the job
        signed_at = _seconds(receipt["signedAt"])
        state = Signed(
            job_id=receipt["jobId"],
            signature=text,
            shipping_address=receipt["shippingAddress"],
            warning=receipt["warning"],
            submitted_at=_seconds(receipt["submittedAt"]),
            signed_at=signed_at,
            drive=receipt["drive"],
        )
        new = NewJob(
            device_id=receipt["deviceId"],
            file_system=rules.read(manifest, folder.name).file_system,
            name=receipt["manifest"]["name"],
            sha256=before["sha256"] if before else digest(manifest),
            state=state,
            since=signed_at,
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ManifestError) as error:
        log.warning("papers %s cannot be read: %s", folder.name, error)
        return None
    return new, state


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
