"""`driveprep demo`: the main job on a real NTFS image, told as it happens, then cleaned up.

Emulator and daemon are real processes, the drive is a loop device mounted with ntfs-3g. What is
shown is read back from the drive, the spool and the service, never assumed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import click

from daemon.credentials import Credentials
from daemon.errors import DriveprepError
from daemon.importexport.client import Client

T = TypeVar("T")

# AWS's published example, no secret.
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PATIENCE_SECONDS = 30.0
NEEDED = {"mkfs.ntfs": "ntfs-3g", "ntfs-3g": "ntfs-3g", "losetup": "mount", "mount": "mount"}
MANIFEST = """\
manifestVersion:2.0
accessKeyId:AKIAIOSFODNN7EXAMPLE
deviceId:HD001
fileSystem:NTFS
logBucket:mybucket
operations:
  - exportBucket:mybucket
returnAddress:
    name:Your Name
    company:Your Company
    street1:Your Street
    street2:Optional 2nd Line for Street
    city:Your City
    stateOrProvince:Your State
    postalCode:Your Postal/Zip Code
    phoneNumber:Your Phone Number
    country:Your Country
"""  # the guide's own example, to the letter


def tell() -> None:
    """Run the whole story. Raises DriveprepError where this machine cannot; leaves nothing behind."""
    _check_machine()
    # Ctrl-C and SIGTERM end the story early, but never without the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as clean_up:
        folder = Path(clean_up.enter_context(tempfile.TemporaryDirectory(prefix="driveprep-demo-")))
        spool, mount_point = folder / "spool", folder / "HD001"
        _say("1. A service on this machine that speaks the API (driveprep emulator)")
        endpoint = f"http://127.0.0.1:{_free_port()}"
        _start(clean_up, folder, "emulator", "--port", endpoint.rpartition(":")[2])
        _until("the emulator listens", lambda: _listens(endpoint))
        _tell(f"listens on {endpoint}")

        _say("2. The daemon (driveprep run)")
        config = _write_config(folder, endpoint, spool)
        _start(clean_up, folder, "run", "--config", str(config))
        pending = spool / "pending"
        _until(
            "the daemon is up", lambda: (spool / "journal.sqlite3").exists() and pending.is_dir()
        )
        _tell(f"watches {pending}")

        _say("3. The operator drops the guide's example manifest into pending/")
        partial = pending / ".HD001.yml.part"
        partial.write_text(MANIFEST.removesuffix("\n"))
        partial.rename(pending / "HD001.yml")
        job = _until("the manifest is taken in", lambda: _job(config, "Pending"))
        _tell(f"job for {job['deviceId']}: {job['state']}; {job['obstacle'] or 'being checked'}")

        _say("4. The operator plugs in the drive HD001 (NTFS on a loop device)")
        device = _make_drive(clean_up, folder / "drive.img")
        _mount(clean_up, device, mount_point)
        mounted_at = time.monotonic()
        _tell(f"{device} is mounted at {mount_point}")
        _until("SIGNATURE is on the drive", (mount_point / "SIGNATURE").exists)
        _tell(f"SIGNATURE was there {time.monotonic() - mounted_at:.2f} s later")
        job = _until("the papers are filed", lambda: _filed(config, spool))

        _say("5. What there is now")
        _quote("SIGNATURE, in the drive's root", (mount_point / "SIGNATURE").read_text())
        _quote("ship it to", str(job["shippingAddress"]))
        for paper in sorted((spool / "prepared").rglob("*")):
            _tell(str(paper.relative_to(spool)))
        jobs = list(_client(endpoint).list_jobs())
        _tell(f"jobs at the service: {len(jobs)} ({', '.join(one.job_id for one in jobs)})")
    _say("Everything that the demo made is gone again.")


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise DriveprepError("the demo mounts a drive, which takes root", "sudo driveprep demo")
    missing = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    if missing:
        raise DriveprepError(
            "programs for NTFS and loop devices are missing",
            f"apt-get install {' '.join(missing)}",
        )
    if not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        raise DriveprepError(
            "this machine has no /dev/fuse or no /dev/loop-control",
            "modprobe fuse loop; in a container, allow both devices.",
        )


def _write_config(folder: Path, endpoint: str, spool: Path) -> Path:
    secret = folder / "secret-access-key"
    secret.touch(mode=0o600)
    secret.write_text(SECRET + "\n")
    config = folder / "config.yml"
    config.write_text(
        f"endpoint: {endpoint}\n"
        "credentials:\n"
        f"  access_key_id: {KEY}\n"
        f"  secret_access_key_file: {secret}\n"
        f"spool: {spool}\n"
    )
    return config


def _start(clean_up: ExitStack, folder: Path, command: str, *arguments: str) -> None:
    """A driveprep command as a process of its own, ended by SIGTERM in the clean-up."""
    log = clean_up.enter_context((folder / f"{command}.log").open("w"))
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon", command, *arguments], stdout=log, stderr=log
    )

    def stop() -> None:
        process.terminate()
        process.wait(PATIENCE_SECONDS)

    clean_up.callback(stop)


def _make_drive(clean_up: ExitStack, image: Path) -> str:
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    _run("mkfs.ntfs", "--quick", "--quiet", "--force", "--label", "HD001", str(image))
    device = _run("losetup", "--find", "--show", str(image))
    clean_up.callback(_run, "losetup", "--detach", device)
    return device


def _mount(clean_up: ExitStack, device: str, mount_point: Path) -> None:
    mount_point.mkdir()
    _run("mount", "-t", "ntfs-3g", device, str(mount_point))
    clean_up.callback(_run, "umount", str(mount_point))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DriveprepError(f"{' '.join(command)}: {done.stderr.strip()}", "See the lines above.")
    return done.stdout.strip()


def _status(config: Path) -> dict[str, list[dict[str, object]]]:
    command = [sys.executable, "-m", "daemon", "status", "--json", "--config", str(config)]
    found: dict[str, list[dict[str, object]]] = json.loads(_run(*command))
    return found


def _job(config: Path, state: str) -> dict[str, object] | None:
    return next((job for job in _status(config)["jobs"] if job["state"] == state), None)


def _filed(config: Path, spool: Path) -> dict[str, object] | None:
    job = _job(config, "Signed")
    return job if job and not any((spool / "pending").iterdir()) else None


def _client(endpoint: str) -> Client:
    return Client(endpoint, Credentials(KEY, SECRET), PATIENCE_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(endpoint: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(endpoint.rpartition(":")[2]))) == 0


def _until(what: str, look: Callable[[], T]) -> T:
    """The first true answer of `look`; asked again and again until patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise DriveprepError(f"waited {PATIENCE_SECONDS:.0f} s until {what}", "")
        time.sleep(0.01)
    return found


def _say(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _tell(text: str) -> None:
    click.echo(f"   {text}")


def _quote(title: str, text: str) -> None:
    _tell(f"{title}:")
    for line in text.splitlines():
        _tell(f"   | {line}")
