"""What the demo and the playground are made of: emulator, daemon and NTFS images in one folder.

Emulator and daemon are real processes. The daemon knows each drive by its UUID, and no others, so
that no other drive of this machine is touched, whatever its label is.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from daemon.errors import DriveprepError
from daemon.importexport.credentials import Credentials
from daemon.system import programs

T = TypeVar("T")

# AWS's published example, no secret.
ACCOUNT = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
STEP_SECONDS = 30.0
# By our own place: the Debian package lies outside of Python's path.
PLACE = Path(__file__).resolve().parents[3]
DRIVEPREP = [sys.executable, "-P", "-m", "daemon"]
# The programs that the demo needs -> the Debian package of each.
# fmt: off
PROGRAMS = {
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


class Station:
    """A folder with a spool and what works on it. Whoever makes one calls `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.config = folder / "config.yml"
        self.processes: dict[str, programs.Background] = {}
        self.endpoint = ""

    def start_emulator(self) -> None:
        """Start the service on a free port. Its jobs are kept in the folder."""
        port = _free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._start("emulator", "--port", str(port), "--state", str(self.folder / "jobs.sqlite3"))
        self.until("the emulator listens", lambda: _listens(port))

    def start_daemon(self, devices: Mapping[str, str]) -> None:
        """Write the configuration, and start the daemon for these drives: deviceId -> UUID."""
        secret = self.folder / "secret-access-key"
        secret.touch(mode=0o600)
        secret.write_text(ACCOUNT.secret_access_key + "\n")
        lines = [f"  {device_id}: {{uuid: {uuid}}}\n" for device_id, uuid in devices.items()]
        self.config.write_text(
            f"endpoint: {self.endpoint}\n"
            "credentials:\n"
            f"  access_key_id: {ACCOUNT.access_key_id}\n"
            f"  secret_access_key_file: {secret}\n"
            f"spool: {self.spool}\n"
            "# By its UUID, so that no other drive of this machine with that label is touched.\n"
            "require_mapping: true\n"
            f"devices:\n{''.join(lines)}"
        )
        self._start("run", "--config", str(self.config))
        self.until("the daemon is up", lambda: "watches" in self.log("run").read_text())

    def make_image(self, device_id: str) -> str:
        """Make the image of an empty NTFS drive, `<deviceId>.img`, and return its UUID."""
        image = self.image(device_id)
        with image.open("wb") as file:
            file.truncate(16 * 2**20)  # bytes
        command("mkfs.ntfs", "--quick", "--quiet", "--force", "--label", device_id, str(image))
        # mkfs.ntfs gives the same UUID to all drives that are made within ten seconds.
        command("ntfslabel", f"--new-serial={os.urandom(8).hex()}", str(image))
        return command("blkid", "-p", "-o", "value", "-s", "UUID", str(image))

    def image(self, device_id: str) -> Path:
        """Return where the image of a drive is."""
        return self.folder / f"{device_id}.img"

    def log(self, command: str) -> Path:
        """Return where a process writes what it reports."""
        return self.folder / f"{command}.log"

    def job(self, state: str) -> dict[str, object] | None:
        """Return the first job that `status` shows in that state."""
        report = command(*DRIVEPREP, "status", "--json", "--config", str(self.config))
        jobs: list[dict[str, object]] = json.loads(report)["jobs"]
        return next((job for job in jobs if job["state"] == state), None)

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Return the first true answer of `look`, which is asked again and again."""
        deadline = time.monotonic() + STEP_SECONDS
        while not (found := look()):
            for name, process in self.processes.items():
                if process.has_ended():
                    log = self.log(name).read_text()
                    raise DriveprepError(f"`driveprep {name}` ended early: {log}")
            if time.monotonic() > deadline:
                raise DriveprepError(f"waited {STEP_SECONDS:.0f} s in vain until {what}")
            time.sleep(0.01)
        return found

    def stop(self) -> None:
        """End daemon and emulator. Safe to repeat."""
        for process in reversed(self.processes.values()):
            process.stop(STEP_SECONDS)
        self.processes.clear()

    def _start(self, name: str, *arguments: str) -> None:
        with self.log(name).open("w") as log:
            process = programs.start([*DRIVEPREP, name, *arguments], _environment(), log)
        self.processes[name] = process


def check_machine() -> None:
    """Raise DriveprepError, with what to do, where the demo cannot work."""
    if os.geteuid() != 0:
        raise DriveprepError("the demo mounts a drive, which takes root", "sudo driveprep demo")
    path = _environment()
    missing = {package for name, package in PROGRAMS.items() if not programs.find(name, path)}
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


def command(*words: str) -> str:
    """Run a program and return what it prints. Raises DriveprepError."""
    done = programs.run(words, _environment(), STEP_SECONDS)
    if done.code:
        reason = os.fsdecode(done.errors).strip()
        raise DriveprepError(f"{' '.join(words)}: {reason}", "See the lines above.")
    return os.fsdecode(done.output).strip()


def _environment() -> programs.Environment:
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PLACE)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
