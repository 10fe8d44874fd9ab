"""`driveprep demo`: the main job on a real NTFS image, shown step by step, then cleaned up.

Emulator and daemon are real processes, the drive is a loop device mounted with ntfs-3g. What is
shown is read back from the drive, the spool and the service, never assumed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import click

from daemon.errors import DriveprepError
from daemon.importexport.client import Client
from daemon.importexport.credentials import Credentials
from daemon.system import programs

T = TypeVar("T")

# AWS's published example, no secret.
ACCOUNT = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
DEMO_STEP_SECONDS = 30.0
# By our own place: the Debian package lies outside of Python's path.
PLACE = Path(__file__).resolve().parents[3]
DRIVEPREP = [sys.executable, "-P", "-m", "daemon"]
# The programs that the demo needs -> the Debian package of each.
# fmt: off
DEMO_PROGRAMS = {
    "mkfs.ntfs": "ntfs-3g", "ntfslabel": "ntfs-3g", "ntfs-3g": "ntfs-3g",
    "losetup": "mount", "blkid": "util-linux",
}
# fmt: on
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


def run() -> None:
    """Run the whole story. Raises DriveprepError where this machine cannot; leaves nothing."""
    _check_machine()
    # Ctrl-C and SIGTERM end the story early, but never without the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as clean_up:
        folder = Path(clean_up.enter_context(tempfile.TemporaryDirectory(prefix="driveprep-demo-")))
        _Story(clean_up, folder).run()
    _heading("Everything that the demo made is gone again.")


class _Story:
    """One demo in one temporary folder; whatever it makes goes on the clean-up's stack."""

    def __init__(self, clean_up: ExitStack, folder: Path) -> None:
        self._clean_up = clean_up
        self._folder = folder
        self._spool = folder / "spool"
        self._mount_point = folder / "HD001"
        self._config = folder / "config.yml"
        self._image = folder / "drive.img"
        self._uuid = ""
        self._processes: dict[str, programs.Background] = {}

    def run(self) -> None:
        _heading("1. A service on this machine that speaks the API (driveprep emulator)")
        endpoint = f"http://127.0.0.1:{_free_port()}"
        self._start("emulator", "--port", endpoint.rpartition(":")[2])
        self._until("the emulator listens", lambda: _listens(endpoint))
        _detail(f"listens on {endpoint}")

        _heading("2. The daemon (driveprep run)")
        self._make_image()
        self._write_config(endpoint)
        self._start("run", "--config", str(self._config))
        self._until("the daemon is up", lambda: "watches" in self._log("run").read_text())
        pending = self._spool / "pending"
        _detail(f"watches {pending}")

        _heading("3. The operator drops the guide's example manifest into pending/")
        partial = pending / ".HD001.yml.part"
        partial.write_text(MANIFEST)
        partial.rename(pending / "HD001.yml")
        job = self._until("the manifest is taken in", lambda: self._job("Pending"))
        _detail(f"job for {job['deviceId']}: {job['state']}; {job['obstacle'] or 'being checked'}")

        _heading("4. The operator plugs in the drive HD001 (NTFS on a loop device)")
        device = self._attach()
        self._mount(device)
        mounted_at = time.monotonic()
        _detail(f"{device} is mounted at {self._mount_point}")
        self._until("SIGNATURE is on the drive", (self._mount_point / "SIGNATURE").exists)
        _detail(f"SIGNATURE was there {time.monotonic() - mounted_at:.2f} s later")
        job = self._until("the papers are filed", self._filed)

        _heading("5. What there is now")
        _quote("SIGNATURE, in the drive's root", (self._mount_point / "SIGNATURE").read_text())
        _quote("ship it to", str(job["shippingAddress"]))
        _detail("in the spool:")
        for paper in sorted((self._spool / "prepared").rglob("*")):
            _detail(f"   {paper.relative_to(self._spool)}")
        jobs = list(Client(endpoint, ACCOUNT, DEMO_STEP_SECONDS).list_jobs())
        _detail(f"jobs at the service: {len(jobs)} ({', '.join(one.job_id for one in jobs)})")

    def _write_config(self, endpoint: str) -> None:
        secret = self._folder / "secret-access-key"
        secret.touch(mode=0o600)
        secret.write_text(ACCOUNT.secret_access_key + "\n")
        self._config.write_text(
            f"endpoint: {endpoint}\n"
            "credentials:\n"
            f"  access_key_id: {ACCOUNT.access_key_id}\n"
            f"  secret_access_key_file: {secret}\n"
            f"spool: {self._spool}\n"
            # By its UUID, so that no other drive of this machine with that label is touched.
            f"devices: {{HD001: {{uuid: {self._uuid}}}}}\n"
        )

    def _start(self, command: str, *arguments: str) -> None:
        """A driveprep command as a process of its own, ended by SIGTERM in the clean-up."""
        log = self._clean_up.enter_context(self._log(command).open("w"))
        process = programs.start([*DRIVEPREP, command, *arguments], _environment(), log)
        self._processes[command] = process
        self._clean_up.callback(process.stop, DEMO_STEP_SECONDS)

    def _log(self, command: str) -> Path:
        return self._folder / f"{command}.log"

    def _make_image(self) -> None:
        with self._image.open("wb") as file:
            file.truncate(16 * 2**20)  # bytes
        _run("mkfs.ntfs", "--quick", "--quiet", "--force", "--label", "HD001", str(self._image))
        # mkfs.ntfs gives the same UUID to all drives that are made within ten seconds.
        _run("ntfslabel", f"--new-serial={os.urandom(8).hex()}", str(self._image))
        self._uuid = _run("blkid", "-p", "-o", "value", "-s", "UUID", str(self._image))

    def _attach(self) -> str:
        device = _run("losetup", "--find", "--show", str(self._image))
        self._clean_up.callback(_run, "losetup", "--detach", device)
        return device

    def _mount(self, device: str) -> None:
        self._mount_point.mkdir()
        _run("mount", "-t", "ntfs-3g", device, str(self._mount_point))
        self._clean_up.callback(_run, "umount", str(self._mount_point))

    def _job(self, state: str) -> dict[str, object] | None:
        status = [*DRIVEPREP, "status", "--json", "--config", str(self._config)]
        jobs: list[dict[str, object]] = json.loads(_run(*status))["jobs"]
        return next((job for job in jobs if job["state"] == state), None)

    def _filed(self) -> dict[str, object] | None:
        is_filed = not any((self._spool / "pending").iterdir())
        return self._job("Signed") if is_filed else None

    def _until(self, what: str, look: Callable[[], T | None]) -> T:
        """The first true answer of `look`; asked again and again until patience ends."""
        deadline = time.monotonic() + DEMO_STEP_SECONDS
        while not (found := look()):
            for command, process in self._processes.items():
                if process.has_ended():
                    log = self._log(command).read_text()
                    raise DriveprepError(f"`driveprep {command}` ended early: {log}")
            if time.monotonic() > deadline:
                raise DriveprepError(f"waited {DEMO_STEP_SECONDS:.0f} s in vain until {what}")
            time.sleep(0.01)
        return found


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise DriveprepError("the demo mounts a drive, which takes root", "sudo driveprep demo")
    path = _environment()
    missing = {package for name, package in DEMO_PROGRAMS.items() if not programs.find(name, path)}
    if missing:
        raise DriveprepError(
            "programs for NTFS and loop devices are missing",
            f"apt-get install {' '.join(sorted(missing))}",
        )
    if not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        raise DriveprepError(
            "this machine has no /dev/fuse or no /dev/loop-control",
            "modprobe fuse loop; in a container, allow both devices.",
        )


def _run(*command: str) -> str:
    done = programs.run(command, _environment(), DEMO_STEP_SECONDS)
    if done.code:
        reason = os.fsdecode(done.errors).strip()
        raise DriveprepError(f"{' '.join(command)}: {reason}", "See the lines above.")
    return os.fsdecode(done.output).strip()


def _environment() -> programs.Environment:
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PLACE)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(endpoint: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(endpoint.rpartition(":")[2]))) == 0


def _heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _detail(text: str) -> None:
    click.echo(f"   {text}")


def _quote(title: str, text: str) -> None:
    _detail(f"{title}:")
    for line in text.splitlines():
        _detail(f"   | {line}")
