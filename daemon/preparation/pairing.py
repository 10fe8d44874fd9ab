"""Pairing: which of the drives here, if any, the next step of a job needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from daemon.drives import recognition
from daemon.drives.drive import Drive, Unmounted
from daemon.errors import ManifestError
from daemon.jobs.job import Job, Pending, Rejected, Signed, Submitted, Submitting


@dataclass(frozen=True, slots=True)
class Pairing:
    """The jobs and the drives of one look."""

    names: Mapping[str, list[str]]  # deviceId -> the pending manifests that name it
    drives: Collection[Drive]
    present: Collection[Unmounted]  # devices that could be mounted
    devices: Mapping[str, Mapping[str, str]]
    require_mapping: bool

    def here(self) -> frozenset[str]:
        """The deviceIds whose jobs are not just absent: some drive answers, or several wait."""
        found: list[Drive | Unmounted] = [*self.drives, *self.present]
        devices, require_mapping = self.devices, self.require_mapping
        answers = (recognition.device_ids(one, devices, require_mapping) for one in found)
        rivals = (device_id for device_id, names in self.names.items() if len(names) > 1)
        return frozenset(rivals).union(*answers)

    def drive_for(self, job: Job) -> Drive | None:
        """The drive that the next step needs; None if it needs none.

        Raises DriveError or ManifestError for what keeps job and drive apart.
        """
        match job.state:
            case Submitting() | Signed() | Rejected():
                return None
            case Pending() if len(names := self.names[job.device_id]) > 1:
                raise ManifestError(
                    f"several manifests name {job.device_id}: {', '.join(names)}",
                    hint="Leave one of them in pending/; a device carries one SIGNATURE.",
                )
            case Pending() | Submitted():
                return recognition.pick(
                    job.device_id,
                    job.file_system,
                    self.drives,
                    self.devices,
                    self.require_mapping,
                    asked=self.names,
                    present=self.present,
                )


def named(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """The deviceIds that jobs wait for, with the pending manifests that name each."""
    names: dict[str, list[str]] = {}
    for job in jobs:
        if isinstance(job.state, Pending | Submitted):
            waiting = names.setdefault(job.device_id, [])
            if isinstance(job.state, Pending):
                waiting.append(job.name)
    return names
