"""`driveprep run` as a child process, used from outside as an operator and systemd would.

With it come the fixtures of the black-box tests: a service, and daemons that end with their test.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from as_operator import manifest_for
from loop_drives import PATIENCE_SECONDS, wait_until

from daemon.importexport.emulator import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Emulator

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
DRIVEPREP = [sys.executable, "-m", "daemon"]


class DaemonProcess:
    """`driveprep run`, its config.yml, spool and log in a folder of their own."""

    def __init__(
        self, folder: Path, endpoint: str, *, spool: Path | None = None, **settings: object
    ) -> None:
        folder.mkdir()
        self.config = folder / "config.yml"
        self.spool = spool or folder / "spool"
        self.pending = self.spool / "pending"
        self.notified: list[str] = []  # what systemd would have been told, over all starts
        self._log = folder / "daemon.log"
        self._endpoint = endpoint
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._ear: socket.socket | None = None
        self.configure(**settings)

    def configure(self, *, secret: str = SECRET_ACCESS_KEY, **settings: object) -> None:
        """Put a whole new config.yml in the place of the old one."""
        secret_file = self.config.with_name("secret")
        secret_file.touch(mode=0o600)
        secret_file.write_text(secret)
        credentials = {"access_key_id": ACCESS_KEY_ID, "secret_access_key_file": str(secret_file)}
        common = {"endpoint": self._endpoint, "credentials": credentials, "spool": str(self.spool)}
        new = self.config.with_name("config.yml.new")
        new.write_text(json.dumps({**common, **settings}))  # JSON is YAML
        new.rename(self.config)

    def start(self, *, is_notified: bool = True) -> Self:
        """Start it and wait until it says READY=1; without systemd's socket, until it logs."""
        environment = {**os.environ, **(self._listen() if is_notified else {})}
        told, logged = len(self.notified), len(self.log)
        with self._log.open("ab") as log:
            command = [*DRIVEPREP, "run", "--config", str(self.config)]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)

        def is_ready() -> bool:
            assert self.is_running, self.log
            if is_notified:
                return "READY=1" in self.notified[told:]
            return "driveprep watches" in self.log[logged:]

        wait_until("the daemon is ready", is_ready)
        return self

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        return self.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, if it has not ended. Idempotent."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Send a signal if it still runs, and wait for the end; the exit code."""
        assert self._process
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended by itself."""
        assert self._process
        code = self._process.wait(PATIENCE_SECONDS)
        if self._ear:
            self._ear.sendto(b"", self._ear.getsockname())  # the end of _hear
            self._ear = None
        return code

    def restart(self) -> Self:
        """Stop it properly, and start it again."""
        assert self.stop() == 0
        return self.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that it wrote to standard error, over all starts."""
        return self._log.read_text()

    def command(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Another driveprep command with the same configuration, to its end."""
        line = [*DRIVEPREP, *map(str, words), "--config", str(self.config)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)

    def until(self, what: str, condition: Callable[[], T], deadline: float = PATIENCE_SECONDS) -> T:
        """wait_until(), with the end of the daemon's log where it fails."""
        try:
            return wait_until(what, condition, deadline)
        except AssertionError as error:
            end = "\n".join(self.log.splitlines()[-30:])
            raise AssertionError(f"{error}\n{end}") from None

    def status(self) -> dict[str, Any]:
        """What `driveprep status --json` tells."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def job(self, device_id: str) -> dict[str, Any]:
        """The newest job that status shows for a deviceId; empty if there is none."""
        jobs = [job for job in self.status()["jobs"] if job["deviceId"] == device_id]
        return jobs[-1] if jobs else {}

    def obstacle(self, device_id: str, *words: str) -> dict[str, Any]:
        """Wait until status tells an obstacle of the job with all these words in it; the job."""

        def is_logged() -> bool:  # asked first, because status is another process each time
            lines = [line for line in self.log.splitlines() if device_id in line]
            return any(all(word in line for word in words) for line in lines)

        def found() -> dict[str, Any]:
            job = self.job(device_id)
            told = job.get("obstacle") or ""
            return job if told and all(word in told for word in words) else {}

        what = f"an obstacle to {device_id}: {' ... '.join(words)}"
        self.until(what, is_logged)
        return self.until(what, found)

    def drop(self, device_id: str, data: bytes | None = None, name: str = "") -> Path:
        """Rename a manifest into pending/; by default the guide's for that deviceId."""
        name = name or f"{device_id}.yml"
        new = self.spool / name
        new.write_bytes(manifest_for(device_id) if data is None else data)
        return new.rename(self.pending / name)

    def papers(self, device_id: str) -> list[Path]:
        """The folders in prepared/ for a deviceId, half made ones too."""
        name = re.sub("[^A-Za-z0-9._-]", "_", device_id)
        return [one for one in (self.spool / "prepared").iterdir() if name in one.name]

    def rejected(self, name: str) -> str:
        """Wait until a manifest is rejected; the reason."""
        reason = self.spool / "rejected" / f"{name}.reason.txt"
        place = self.spool / "rejected" / name
        self.until(f"{name} is rejected", lambda: reason.exists() and place.exists())
        return reason.read_text()

    def _listen(self) -> dict[str, str]:
        """Be systemd; what the daemon must have in its environment to know."""
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind("")  # the kernel gives a free abstract address
        address = "@" + self._ear.getsockname()[1:].decode()
        threading.Thread(target=self._hear, args=[self._ear], daemon=True).start()
        return {"NOTIFY_SOCKET": address}

    def _hear(self, ear: socket.socket) -> None:
        with ear:
            while message := ear.recv(4096):
                self.notified += message.decode().splitlines()


@pytest.fixture
def service() -> Iterator[Emulator]:
    """The service: our emulator, listening on loopback."""
    with Emulator(quota=10_000) as emulator:
        yield emulator


Start = Callable[..., DaemonProcess]


@pytest.fixture
def start(tmp_path: Path, service: Emulator) -> Iterator[Start]:
    """Start a daemon with these settings: `start(timeout=1)`. No test may meet a bug in it."""
    daemons: list[DaemonProcess] = []

    def start(
        endpoint: str = service.endpoint, *, is_notified: bool = True, **settings: object
    ) -> DaemonProcess:
        folder = tmp_path / f"daemon{len(daemons)}"
        daemons.append(DaemonProcess(folder, endpoint, **settings))
        return daemons[-1].start(is_notified=is_notified)

    yield start
    for daemon in daemons:
        with contextlib.suppress(AssertionError):  # it never came so far
            daemon.kill()
    for daemon in daemons:
        assert "Traceback" not in daemon.log
