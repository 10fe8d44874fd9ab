"""What an operator does with manifests and drives, and what is checked in the end.

Most of the black-box tests end in one question: was this drive prepared exactly once?
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import json_schema
from loop_drives import wait_until

if TYPE_CHECKING:
    from daemon_process import DaemonProcess
    from loop_drives import RealDrive

    from daemon.importexport.emulator import Emulator
    from daemon.importexport.emulator.store import Job

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()


def new_device_id() -> str:
    """Return a deviceId that no other drive here has; any file system can have it as a label."""
    return f"HD{secrets.token_hex(4).upper()}"


def manifest_for(device_id: str, **values: str) -> bytes:
    """Return the guide's example for that deviceId, with other values for some top-level keys."""
    lines = {"deviceId": device_id, **values}
    text = GUIDE.decode()
    for key, value in lines.items():
        (old,) = [line for line in text.splitlines() if line.startswith(f"{key}:")]
        text = text.replace(old, f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return text.encode()


def uuid_of(drive: RealDrive) -> str:
    """Return the file system's UUID from blkid."""
    command = ["blkid", "-p", "-o", "value", "-s", "UUID", drive.device]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def give_own_uuid(drive: RealDrive) -> None:
    """Change the UUID of an NTFS drive: mkfs.ntfs makes the same one for a whole second."""
    serial = secrets.token_hex(8)
    command = ["ntfslabel", f"--new-serial={serial}", drive.device]
    subprocess.run(command, capture_output=True, check=True)
    assert uuid_of(drive) == serial.upper()


def mount(drive: RealDrive) -> None:
    """Mount it as soon as the ntfs-3g of its last mount has closed the device."""

    def is_mounted() -> bool:
        try:
            return bool(drive.mount())
        except AssertionError:
            return False

    wait_until("the drive can be mounted", is_mounted)


def unmount(drive: RealDrive) -> None:
    """Unmount it like an operator: try again as long as a program has something on it open."""

    def is_unmounted() -> bool:
        command = ["umount", str(drive.mount_point)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    wait_until("the drive can be unmounted", is_unmounted)


def signature_of(job: Job) -> bytes:
    """Return the SIGNATURE of a job of the service, as the API documentation describes it."""
    lines = ("version:2.0", "signingMethod:HmacSHA1", f"jobId:{job.job_id}")
    return "\n".join([*lines, f"signature:{job.signature}", ""]).encode()


def jobs_for(service: Emulator, device_id: str) -> list[Job]:
    """Return the service's jobs for a deviceId, oldest first."""
    return [job for job in service.jobs if job.device_id == device_id]


def prepared_once(
    service: Emulator,
    daemon: DaemonProcess,
    root: Path,
    device_id: str,
    manifest: bytes | None = None,
) -> Job:
    """Wait until the drive at `root` is prepared, and return the service's only job for it.

    Checked: one job, made of the manifest as dropped; the exact SIGNATURE, and nothing else, on
    the drive; the papers, whole and once; nothing of it left in pending/.
    """
    manifest = manifest_for(device_id) if manifest is None else manifest
    daemon.until(f"{device_id} is prepared", lambda: is_filed(daemon, device_id, manifest))
    (job,) = jobs_for(service, device_id)
    assert job.manifest.encode() == manifest
    check_drive(root, job)
    (papers,) = daemon.papers(device_id)
    check_papers(papers, job)
    return job


def is_filed(daemon: DaemonProcess, device_id: str, manifest: bytes | None = None) -> bool:
    """Return whether it is all done: the papers are filed, the manifest has left pending/."""
    manifest = manifest_for(device_id) if manifest is None else manifest
    try:
        waiting = [one.read_bytes() for one in daemon.pending.iterdir()]
    except FileNotFoundError:  # it is being moved out
        return False
    return bool(daemon.papers(device_id)) and manifest not in waiting


def check_drive(root: Path, job: Job) -> None:
    """Check that the drive contains the job's SIGNATURE, byte for byte, and nothing else."""
    assert (root / "SIGNATURE").read_bytes() == signature_of(job), root
    assert os.listdir(root) == ["SIGNATURE"], os.listdir(root)


def check_papers(papers: Path, job: Job) -> None:
    """Check that a folder in prepared/ has the job's manifest, SIGNATURE and receipt."""
    assert papers.name.startswith(f"{job.job_id}-"), papers
    assert (papers / "manifest.yml").read_bytes() == job.manifest.encode()
    assert (papers / "SIGNATURE").read_bytes() == signature_of(job)
    receipt = json.loads((papers / "receipt.json").read_bytes())
    json_schema.check(receipt, "receipt")
    assert receipt["jobId"] == job.job_id


def look_again(service: Emulator, daemon: DaemonProcess, plug: Callable[..., Any]) -> None:
    """Return when the daemon has seen everything that happened before.

    Another drive is prepared from drop to papers, and events are handled in order.
    """
    witness = plug(new_device_id()).mount()
    daemon.drop(witness.label)
    prepared_once(service, daemon, witness.mount_point, witness.label)
