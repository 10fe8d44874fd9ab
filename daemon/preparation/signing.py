"""The protocol with a drive's root: held open, verified, proved writable, signed.

A hung drive can block a thread only here, so every use is recorded while it lasts.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from daemon.drives import signature
from daemon.drives.checks import check_usable
from daemon.drives.drive import Drive
from daemon.drives.inventory import Drives
from daemon.drives.medium.contents import Contents
from daemon.drives.recognition import resemblance
from daemon.drives.recognition.bays import Bays
from daemon.errors import DriveError
from daemon.jobs.job import Job, Rejected, Signed, Submitted, signed
from daemon.jobs.journal import Journal
from daemon.pool.alone import Alone
from daemon.pool.values import Pool
from daemon.preparation.under_way import UnderWay
from daemon.system.printable import printable


@dataclass(frozen=True, slots=True)
class Signer:
    """Proves that a drive can be signed, and signs it. Safe to use from several threads."""

    journal: Journal
    drives: Drives
    under_way: UnderWay
    require_empty: bool = False  # a drive with anything on it is for a person to decide
    pool: Pool = field(default_factory=Alone)

    def prove(self, job: Job, drive: Drive) -> tuple[Drive, Contents]:
        """Prove that the drive can be signed for a new job. Idempotent.

        Returns it as it is now, and what is on it. Raises DriveError with the reason why it cannot.
        """
        with self._root(job, drive) as root:
            verified = self.drives.verify(drive, job.file_system)
            replaceable = self._replaceable(root, verified)
            found = self.drives.contents(root)
            if self.require_empty and not job.is_as_it_is:
                _check_empty(job, verified, found)
            root.prove_writable(replaceable)
        return verified, found

    def signed(self, state: Submitted, drive: Drive, now: float, bays: Bays) -> Signed:
        """Return what to record of a drive that was signed `now`, in seconds since the epoch."""
        mounted_at = now - self.drives.seconds_here(drive)
        return signed(state, now, bays.identities(drive), mounted_at)

    def sign(self, job: Job, state: Submitted, drive: Drive) -> Drive:
        """Write SIGNATURE to the drive that the job was made for; return that drive. Idempotent.

        Raises DriveError; SIGNATURE is then missing, the old one or the new one, never a part.
        """
        with self._root(job, drive) as root:
            verified = self.drives.verify(drive, job.file_system)
            check_same_drive(job.device_id, state, verified)
            root.sign(state.signature, self._replaceable(root, verified, state))
            if not self.drives.is_still(verified):
                raise DriveError(
                    f"{verified.describe()} was removed while SIGNATURE was being written",
                    "Plug it in again: the signing is then completed.",
                    code="drive-removed",
                )
        return verified

    def has_signature(self, job: Job, state: Signed, drive: Drive) -> bool:
        """Return whether the drive has the SIGNATURE of its job; True for any other drive.

        Raises DriveError if that cannot be found out.
        """
        _, differing = resemblance.compare(state.drive, drive.identities())
        if differing:
            return True
        with self._root(job, drive) as root:
            return root.found() == state.signature.encode()

    @contextmanager
    def _root(self, job: Job, drive: Drive) -> Iterator[signature.Root]:
        """Hold the drive's root open. Everything that can hang with a drive is done meanwhile."""
        if drive.is_covered:  # its root cannot be opened to find that out
            check_usable(drive, job.file_system)
        with (
            self.under_way.using(job, drive),
            signature.root(drive.mount_point, drive.device_number) as root,
        ):
            yield root

    def _replaceable(
        self, root: signature.Root, drive: Drive, own: Submitted | None = None
    ) -> bytes | None:
        """Return the SIGNATURE that may be replaced, or None where there is none.

        It is one of this very job, whose text UpdateJob can change, or the very text of a job of
        ours that the service has finished with. Raises DriveError for any other.
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
        if job_id and (station := self.pool.station_of(job_id)):
            raise DriveError(
                f"{drive.describe()} has the SIGNATURE of job {job_id} of station {station}",
                "It is prepared. Remove the manifest here, if it is the same one.",
                code="pool-signature",
            )
        raise DriveError(
            f"{drive.describe()} already has a SIGNATURE"
            + (f" of job {printable(job_id)}" if job_id else ""),
            f"If it is not needed{' at any station' * self.pool.is_shared}, remove"
            f" {drive.mount_point}/{signature.FILE_NAME} by hand; mount options can hide it from"
            " `ls`.",
            code="foreign-signature",
        )


def _check_empty(job: Job, drive: Drive, found: Contents) -> None:
    if not found.is_empty:
        name = shlex.quote(printable(job.device_id))
        raise DriveError(
            f"{drive.describe()} is not empty: {found.describe()}; the service may erase it",
            "Save what is on it and format it, or use it as it is:"
            f" driveprep retry {name} --as-it-is",
            code="not-empty",
        )


def check_same_drive(device_id: str, state: Submitted, drive: Drive) -> None:
    """Raise DriveError if the drive is not the one that the job was made for.

    A job is for one drive; its twin must not get the SIGNATURE.
    """
    now = drive.identities()
    agreeing, differing = resemblance.compare(state.drive, now)
    if not differing:
        return
    values = ", ".join(
        f"{key} {printable(str(state.drive[key]))} (this one has {printable(now[key])})"
        for key in differing
    )
    same = f"; {' and '.join(agreeing)} agree" if agreeing else ""
    problem = (
        f"job {state.job_id} is for the drive with {values}, but {drive.describe()} is a different"
        f" one{same}"
    )
    hint = f"Plug in the drive it was made for, or `driveprep cancel {state.job_id}`."
    # The file system is the same and only the USB bridge differs: a person can tell.
    if agreeing and resemblance.BRIDGE_KEYS.issuperset(differing):
        hint += (
            " If you have checked that it is the same drive behind another USB bridge or dock:"
            f" driveprep retry {shlex.quote(printable(device_id))} --same-drive"
        )
        raise DriveError(problem, hint, code="other-bridge")
    raise DriveError(problem, hint, code="other-drive")


def confirmed(state: Submitted) -> Submitted:
    """Return the state once a person has confirmed that the drive has only another bridge.

    The file system and the partition must still be the same.
    """
    kept = {key: value for key, value in state.drive.items() if key not in resemblance.BRIDGE_KEYS}
    return replace(state, drive=kept)
