"""Jobs that the pool and a journal have lost: papers and service know them, and tell the pool.

Nothing here makes a job, and nothing is recorded before a person has seen what was found.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.config.loading import Config
from daemon.desk import joining
from daemon.errors import ManifestError, PoolError
from daemon.importexport.client import Client
from daemon.importexport.results import JobStatus
from daemon.jobs.job import NewJob, Signed, Submitted, Submitting
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.pool import membership
from daemon.pool.membership import Membership
from daemon.pool.recovery import restoring
from daemon.pool.recovery.restoring import Lost, Waits
from daemon.pool.values import Claim
from daemon.preparation import answers, sharing, witnesses
from daemon.spool.filing import digest
from daemon.spool.spool import Spool

if TYPE_CHECKING:
    from daemon.pool.connection import Connections


@dataclass(frozen=True, slots=True)
class Findings:
    """What the pool does not know."""

    member: Membership
    gone: tuple[str, ...]  # stations whose journals are lost
    lost: list[Lost]
    ending: list[Waits]  # manifests that wait although jobs were made of them


def find(
    config: Config, connections: Connections, client: Client, gone: tuple[str, ...]
) -> Findings:
    """Compare the pool with the papers of this station and with the service's list.

    Only jobs of the last 31 days: the service has ended all others. `gone` are the stations whose
    journals are lost, also this one's before it has joined again. Raises PoolError while another
    station may still say what it knows, JournalError if the daemon runs here, ServiceError.
    """
    with joining.stopped(config) as journal:
        text = journal.membership()
        if text is None:
            raise PoolError("this station is in no pool", "driveprep pool join NAME")
        member = membership.load(text)
        connections.run(lambda cursor: restoring.check(cursor, member, gone))
        search = _Search(config, connections, client, journal)
        lost = search.in_papers()
        lost += search.at_service({one.job_id for one in lost})
    made = {one.claim.sha256 for one in lost}
    ending = [one for one in search.waits if one.sha256 in made]
    return Findings(member, gone, lost, ending)


def record(connections: Connections, findings: Findings) -> list[str]:
    """Claim the jobs that were found, let nothing wait that they were made of, and take over the
    stations that are gone.

    Returns the JobIds that cannot be claimed, since the pool has another job for their deviceIds.
    Safe to repeat. Raises PoolError.
    """
    shas = {one.sha256 for one in findings.ending}
    what = findings.lost, shas, findings.gone
    return connections.run(lambda cursor: restoring.record(cursor, findings.member, *what))


class _Search:
    """Looks for jobs that the pool does not know."""

    def __init__(
        self, config: Config, connections: Connections, client: Client, journal: Journal
    ) -> None:
        self._connections = connections
        self._client = client
        self._journal = journal
        self._spool = Spool(config.spool, 1.0, time.monotonic)
        self._since = client.now() - witnesses.LOST_SECONDS
        self.waits = connections.run(restoring.waits)
        self._in_doubt = connections.run(restoring.in_doubt)

    def in_papers(self) -> list[Lost]:
        """Return the jobs that are known from the papers here."""
        lost = []
        for folder in witnesses.unknown_folders(self._spool, self._unknown):
            found = witnesses.read_papers(folder)
            if found and found[1].submitted_at >= self._since:
                is_over = witnesses.status_of(self._client, found[1].job_id) is None
                lost.append(self._of_papers(*found, is_over=is_over))
        return lost

    def at_service(self, known: Collection[str]) -> list[Lost]:
        """Return the jobs that are open at the service, and known to no one else."""
        listed = [one.job_id for one in witnesses.listed_since(self._client, self._since)]
        unknown = self._unknown(listed) - {*known}
        return [one for job_id in listed if job_id in unknown for one in self._of_service(job_id)]

    def _unknown(self, job_ids: Collection[str]) -> set[str]:
        found = self._connections.run(lambda cursor: restoring.unknown(cursor, job_ids))
        return {one for one in found if not self._is_said(one)}

    def _is_said(self, job_id: str) -> bool:
        """Return whether the journal knows this job, so that the daemon tells the pool of it."""
        job = self._journal.job_with(job_id)
        return job is not None and bool(job.claim)

    def _of_papers(self, job: NewJob, state: Signed, *, is_over: bool) -> Lost:
        values = job.device_id, job.name, job.sha256, job.file_system
        claim = self._claim(*values, b"", state.submitted_at, dict(state.drive))
        return Lost(claim, state.job_id, sharing.published(state), is_over)

    def _of_service(self, job_id: str) -> Iterator[Lost]:
        """Yield the job if it is open: to be signed where its manifest waits, or only followed."""
        status = witnesses.status_of(self._client, job_id)
        device_id = witnesses.device_id_of(status) if status else ""
        if not status or not device_id or device_id in self._in_doubt:
            return
        made_at = status.creation_date or self._client.now()
        sent = Submitting(made_at, self._client.endpoint, self._client.access_key_id, {})
        state = answers.submitted(sent, status)
        if one := self._waiting(device_id, status):
            file_system = rules.read(one.text, one.name).file_system
            values = device_id, one.name, one.sha256, file_system
            claim = self._claim(*values, one.text, made_at, {})
            yield Lost(claim, job_id, sharing.published(state), station=one.station)
        elif not self._journal.is_foreign(job_id):
            text = (status.current_manifest or "").encode()
            claim = self._claim(device_id, f"{job_id}.yml", digest(text), "", b"", made_at, {})
            yield Lost(claim, job_id, sharing.published(_signed(state)))

    def _waiting(self, device_id: str, status: JobStatus) -> Waits | None:
        """Return the manifest that waits, and of which this job was made."""
        for one in self.waits:
            if one.device_id == device_id and self._is_made_of(one, status):
                return one
        return None

    def _is_made_of(self, one: Waits, status: JobStatus) -> bool:
        try:
            text = rules.to_send(rules.read(one.text, one.name), self._client.access_key_id)
        except ManifestError:
            return False
        return rules.is_same(text, status.current_manifest or "")

    def _claim(
        self,
        device_id: str,
        name: str,
        sha256: str,
        file_system: str,
        text: bytes,
        made_at: float,
        drive: dict[str, str | int | None],
    ) -> Claim:
        where = self._client.endpoint, self._client.access_key_id
        return Claim("", device_id, name, sha256, file_system, text, made_at, *where, drive)


def _signed(state: Submitted) -> Signed:
    """Return it as signed at another station: if its drive is not, it is signed when it is seen."""
    same = {name: getattr(state, name) for name in Submitted.__slots__}
    return Signed(**same, signed_at=state.submitted_at)
