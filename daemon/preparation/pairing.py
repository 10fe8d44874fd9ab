"""Which of the drives that are here, if any, the next step of a job needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from daemon.drives.drive import Drive, Unmounted
from daemon.drives.recognition import Recognition
from daemon.errors import ManifestError
from daemon.jobs.job import Ceded, Job, Pending, Rejected, Signed, Submitted, Submitting

MANY = 100  # deviceIds that wait; then no obstacle names the drives that may be meant


@dataclass(frozen=True, slots=True)
class Pairing:
    """The jobs and the drives of one scan."""

    names: Mapping[str, list[str]]  # deviceId -> the pending manifests that name it
    drives: Collection[Drive]
    present: Collection[Unmounted]  # devices that could be mounted
    recognition: Recognition = field(default_factory=Recognition)

    @property
    def is_brief(self) -> bool:
        """Whether obstacles leave out the drives that may be meant but cannot be read.

        Each such drive that comes or goes would change every obstacle.
        """
        return len(self.names) > MANY

    def here(self) -> frozenset[str]:
        """Return the deviceIds that match a drive."""
        found: list[Drive | Unmounted] = [*self.drives, *self.present]
        return frozenset().union(*map(self.recognition.device_ids, found))

    def drive_for(self, job: Job) -> Drive | None:
        """Return the drive that the job's next step needs; None if it needs none.

        Raises DriveError or ManifestError with the reason why the job cannot have a drive.
        """
        match job.state:
            case Submitting() | Signed() | Rejected() | Ceded():
                return None
            case Pending() if len(names := self.names[job.device_id]) > 1:
                raise ManifestError(
                    f"several manifests name {job.device_id}: {', '.join(names)}",
                    hint="Leave one of them in pending/; a device carries one SIGNATURE.",
                    code="several-manifests",
                )
            case Pending() | Submitted():
                return self.recognition.pick(
                    job.device_id,
                    job.file_system,
                    self.drives,
                    waiting=self.names,
                    present=self.present,
                    is_brief=self.is_brief,
                )


def named(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """Return the deviceIds that jobs wait for, with the pending manifests that name each."""
    names: dict[str, list[str]] = {}
    for job in jobs:
        if isinstance(job.state, Pending | Submitted):
            waiting = names.setdefault(job.device_id, [])
            if isinstance(job.state, Pending):
                waiting.append(job.name)
    return names
