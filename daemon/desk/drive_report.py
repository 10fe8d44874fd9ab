"""What each drive will be used for, or why it will not be used, in one sentence.

Looks only; may run `ntfs-3g.probe`, which writes nothing. What it may not see, it says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from daemon.desk.elsewhere import ALONE, Bench
from daemon.drives import checks, holders, signature, stacks
from daemon.drives.checks import check_usable
from daemon.drives.drive import Drive, Unmounted, Volume
from daemon.drives.recognition import absence, bays, resemblance
from daemon.errors import DriveError, ManifestError
from daemon.jobs.job import Ceded, Job, Pending, Rejected, Signed, Submitted, Submitting
from daemon.preparation.pairing import Pairing
from daemon.system import programs
from daemon.system.printable import printable

PROBE_SECONDS = 10.0
# ntfs-3g.probe(8): what its exit code says, and what to do.
PROBED = {
    0: "mount it: in the desktop, or `udisksctl mount -b {node}`",
    13: "its NTFS is inconsistent, so it is refused: `ntfsfix {node}`, or Windows' chkdsk /f",
    14: "Windows left it hibernated: start Windows with it and shut down fully (hold Shift)",
    15: "it was not cleanly unmounted: `ntfsfix {node}`, or unplug it properly from Windows",
    16: "another program has it open: `fuser -v {node}`",
}


@dataclass(frozen=True, slots=True)
class DriveReport:
    """Describes the drives of one scan. `jobs` are those that are not finished."""

    jobs: Sequence[Job]
    pairing: Pairing
    held: Mapping[str, Sequence[holders.Holder]] = field(default_factory=dict)  # by mount point
    bench: Bench = ALONE  # what the other stations have

    def of(self, drive: Drive) -> str:
        """Return what a mounted drive will be used for or why not, and which processes use it."""
        said = self._of(drive) + _below(drive)
        held = self.held.get(drive.mount_point)
        return f"{said}; {holders.describe(held)}" if held else said

    def _of(self, drive: Drive) -> str:
        asked = [job for job in self.jobs if job.device_id in self._device_ids(drive)]
        return "; ".join(self._of_job(drive, job) for job in asked) or self._unasked(drive)

    def of_unmounted(self, device: Unmounted) -> str:
        """Return what prevents a device from being used."""
        asked = [job for job in self.jobs if job.device_id in self._device_ids(device)]
        over = [job for job in asked if isinstance(job.state, Signed)]
        if over and over == asked:
            return "; ".join(_prepared(device, job) for job in over)
        wanted = ", ".join(sorted({job.device_id for job in asked if job not in over}))
        waiting = f"a job waits for it as {printable(wanted)}; " if wanted else ""
        why = _why_not_mounted(device, is_wanted=bool(wanted))
        return f"{waiting}not mounted: {why}{_below(device)}"

    def _of_job(self, drive: Drive, job: Job) -> str:
        match job.state:
            case Signed():
                return _prepared(drive, job)
            case Submitting() | Rejected():
                return f"{type(job.state).__name__.lower()} as {printable(job.device_id)}"
            case Ceded(station=station):
                return f"{printable(job.device_id)} is a job of station {printable(station)}"
            case Pending() | Submitted():
                try:
                    self.pairing.drive_for(job)
                    check_usable(drive, job.file_system)
                except (DriveError, ManifestError) as error:
                    return f"{error}. {error.hint}"
                if job.obstacle and not job.obstacle.is_absence:  # its sandbox is not ours
                    reason = f"{job.obstacle.reason}. {job.obstacle.hint}"
                    return f"for {printable(job.name)}, but the service reports: {reason}"
                return f"for {printable(job.name)}"

    def _unasked(self, drive: Drive) -> str:
        if drive.identity.trouble:
            return f"not known: {printable(drive.identity.trouble)}"
        names = ", ".join(sorted(self._device_ids(drive)))
        found = checks.unclear(drive)
        if found and (names or drive.identity.signatures):
            return f"cannot be used: {found.text}. {found.hint}"
        if self.pairing.recognition.bays.is_outside(drive):
            return (
                f"{bays.OUTSIDE}; {f'recognised as {printable(names)}' if names else 'no deviceId'}"
            )
        if names:
            where = self.bench.of_drive(self._device_ids(drive))
            return where or f"no manifest waits for {printable(names)}"
        return "it answers to no deviceId: no label, no serial, no entry under `devices`"

    def _device_ids(self, drive: Drive | Unmounted) -> frozenset[str]:
        return self.pairing.recognition.device_ids(drive)


def _prepared(drive: Drive | Unmounted, job: Job) -> str:
    """A job belongs to a drive, not to a deviceId: its twin is not prepared."""
    if not isinstance(job.state, Signed):
        return ""
    state = job.state
    _, differing = resemblance.compare(state.drive, drive.identities())
    if differing:
        return (
            f"recognised as {printable(job.device_id)}, but job {job.job_id} was made for another"
            f" drive ({', '.join(differing)} differ)"
        )
    if isinstance(drive, Drive) and (problem := signature.problem(drive, state.signature)):
        return f"NOT prepared: {problem}"
    return f"prepared as {job.job_id}: safe to remove"


def _below(volume: Volume) -> str:
    """What a multipath or other mapped device is made of."""
    layers = volume.device.layers
    return f"; it is {stacks.describe(layers)}" if layers and stacks.is_plain(layers) else ""


def _why_not_mounted(device: Unmounted, *, is_wanted: bool) -> str:
    if found := absence.fact(device):
        # No manifest asks for another file system than it has.
        is_idle = found.code == "wrong-file-system" and not is_wanted
        return found.text if is_idle else f"{found.text}. {found.hint}"
    if device.identity.file_system != "ntfs":
        return f"it holds {device.identity.file_system}"
    environment = programs.environment(os.environ.get("PATH"))
    if not (program := programs.find("ntfs-3g.probe", environment)):
        return "install ntfs-3g to learn whether it can be mounted"
    command = [program, "--readwrite", device.device.node]
    try:
        code = programs.run(command, environment, PROBE_SECONDS).code
    except TimeoutError:
        return f"`{' '.join(command)}` did not end in {PROBE_SECONDS:.0f} s: the drive may be dying"
    return PROBED.get(
        code, f"`{' '.join(command)}` ends with {code}; run it as root to see the reason"
    ).format(node=device.device.node)
