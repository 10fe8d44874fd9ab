"""The text of a job's manifest: as dropped, as the journal has it, and as the service gets it."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.errors import NO_ADDRESS, OTHER_ACCOUNT, ManifestError
from daemon.importexport import endpoint
from daemon.importexport.client import Client
from daemon.jobs.job import Job, Pending
from daemon.jobs.journal import Journal
from daemon.manifest import rules
from daemon.manifest.acceptance import Terms
from daemon.preparation.under_way import UnderWay
from daemon.spool.filing import digest
from daemon.spool.spool import Spool
from daemon.system.printable import printable


@dataclass(frozen=True, slots=True)
class Texts:
    """Where a job's manifest is. Safe to use from several threads."""

    journal: Journal
    spool: Spool
    under_way: UnderWay
    client: Client

    @property
    def terms(self) -> Terms:
        """What makes a manifest wrong for the configured account and service."""
        return Terms(self.client.access_key_id, endpoint.is_trial(self.client.endpoint))

    def is_of_account(self, job: Job) -> bool:
        """Return whether its manifest names the configured key, or none."""
        return job.access_key_id in {"", self.client.access_key_id}

    def check_terms(self, job: Job) -> None:
        """Raise ManifestError if a manifest that waits is not good for what is configured now."""
        if isinstance(job.state, Pending):
            self._check_account(job)
            self._check_address(job)

    def _check_address(self, job: Job) -> None:
        is_lacking = any(one.code == NO_ADDRESS for one in job.cautions)
        if is_lacking and not self.terms.is_trial:
            texts = [one.text for one in self.journal.cautions(job) if one.code == NO_ADDRESS]
            raise ManifestError(
                f"the drive would be returned to nobody: {''.join(texts[:1])}",
                hint="Drop the manifest again with the whole address.",
                code=NO_ADDRESS,
            )

    def _check_account(self, job: Job) -> None:
        if not self.is_of_account(job):
            raise ManifestError(
                f"{printable(job.name)} is for the access key {printable(job.access_key_id)}, but"
                f" config.yml has {self.client.access_key_id}",
                hint="Restore the key in config.yml, or drop the manifest again without it.",
                code=OTHER_ACCOUNT,
            )

    def check(self, job: Job, data: bytes) -> None:
        """Raise ManifestError if the account or the service make a manifest wrong by now."""
        self.terms.check(self.under_way.manifest(data, job.name))

    def dropped(self, job: Job) -> bytes:
        """Return the manifest in pending/, which must be the one that was checked."""
        try:
            data = self.spool.read(job.name)
        except FileNotFoundError:
            data = b""
        if digest(data) != job.sha256:
            raise ManifestError(
                f"{job.name} is changing",
                hint="It is checked again once it is complete.",
                code="manifest-changing",
            )
        return data

    def journaled(self, job: Job) -> bytes:
        """Return the manifest of a job that has reached `Submitting`."""
        data = self.journal.manifest(job)
        if data is None:
            raise RuntimeError(f"job {job.number} lost its manifest")
        return data

    def to_send(self, job: Job, data: bytes) -> str:
        """Return the text for the service."""
        manifest = self.under_way.manifest(data, job.name)
        return rules.to_send(manifest, self.client.access_key_id)
