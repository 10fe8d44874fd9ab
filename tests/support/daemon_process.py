"""`driveprep run` as a child process, used from outside like an operator and systemd do.

The fixtures of the black-box tests: a service, and daemons that end with their test.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import json_schema
import pytest
from as_operator import manifest_for
from loop_drives import PATIENCE_SECONDS, wait_until

from daemon.importexport.emulator import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Emulator

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
DRIVEPREP = [sys.executable, "-m", "daemon"]


class DaemonProcess:
    """`driveprep run` with config.yml, spool and log in a folder of its own."""

    def __init__(
        self, folder: Path, endpoint: str, *, spool: Path | None = None, **settings: object
    ) -> None:
        folder.mkdir()
        self.config = folder / "config.yml"
        self.spool = spool or folder / "spool"
        self.pending = self.spool / "pending"
        self.notified: list[str] = []  # all notifications to systemd, of all starts
        self.prefix: Sequence[str] = ()  # of the command that starts it
        self._log = folder / "daemon.log"
        self._endpoint = endpoint
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._ear: socket.socket | None = None
        self.configure(**settings)

    def configure(self, *, secret: str = SECRET_ACCESS_KEY, **settings: object) -> None:
        """Replace config.yml by a new one, atomically."""
        secret_file = self.config.with_name("secret")
        secret_file.touch(mode=0o600)
        secret_file.write_text(secret)
        credentials = {"access_key_id": ACCESS_KEY_ID, "secret_access_key_file": str(secret_file)}
        common = {"endpoint": self._endpoint, "credentials": credentials, "spool": str(self.spool)}
        new = self.config.with_name("config.yml.new")
        new.write_text(json.dumps({**common, **settings}))  # JSON is YAML
        new.rename(self.config)

    def start(self, *, is_notified: bool = True) -> Self:
        """Start it, and wait until it reports READY=1; or without that, until it logs."""
        environment = {**os.environ, **(self._listen() if is_notified else {})}
        told, logged = len(self.notified), len(self.log)
        with self._log.open("ab") as log:
            command = [*self.prefix, *DRIVEPREP, "run", "--config", str(self.config)]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)

        def is_ready() -> bool:
            assert self.is_running, self.log
            if is_notified:
                return "READY=1" in self.notified[told:]
            return "driveprep watches" in self.log[logged:]

        wait_until("the daemon is ready", is_ready)
        return self

    def stop(self) -> int:
        """End it with SIGTERM, and return its exit code."""
        return self.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL if it still runs. Idempotent."""
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Send a signal if it still runs, wait for its end, and return the exit code."""
        assert self._process
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end, and return the exit code."""
        assert self._process
        code = self._process.wait(PATIENCE_SECONDS)
        if self._ear:
            self._ear.sendto(b"", self._ear.getsockname())  # ends _hear()
            self._ear = None
        return code

    def restart(self) -> Self:
        """Stop it with SIGTERM, and start it again."""
        assert self.stop() == 0
        return self.start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Everything that it wrote to standard error, in all starts."""
        return self._log.read_text()

    def command(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run another driveprep command with the same configuration, to its end."""
        line = [*DRIVEPREP, *map(str, words), "--config", str(self.config)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        json_schema.check_output(words, done)
        return done

    def until(self, what: str, condition: Callable[[], T], deadline: float = PATIENCE_SECONDS) -> T:
        """Like wait_until(); a failure shows the end of the daemon's log."""
        try:
            return wait_until(what, condition, deadline)
        except AssertionError as error:
            end = "\n".join(self.log.splitlines()[-30:])
            raise AssertionError(f"{error}\n{end}") from None

    def status(self) -> dict[str, Any]:
        """Return the output of `driveprep status --json`."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def job(self, device_id: str) -> dict[str, Any]:
        """Return the newest job in the status for a deviceId; empty if there is none."""
        jobs = [job for job in self.status()["jobs"] if job["deviceId"] == device_id]
        return jobs[-1] if jobs else {}

    def obstacle(self, device_id: str, *words: str) -> dict[str, Any]:
        """Wait until the status shows an obstacle with all these words; return the job."""

        def is_logged() -> bool:  # checked first, because each status is another process
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
        """Rename a manifest into pending/, by default the guide's for that deviceId."""
        name = name or f"{device_id}.yml"
        new = self.spool / name
        new.write_bytes(manifest_for(device_id) if data is None else data)
        return new.rename(self.pending / name)

    def papers(self, device_id: str) -> list[Path]:
        """Return the folders in prepared/ for a deviceId, even unfinished ones."""
        name = re.sub("[^A-Za-z0-9._-]", "_", device_id)
        return [one for one in (self.spool / "prepared").iterdir() if name in one.name]

    def rejected(self, name: str) -> str:
        """Wait until a manifest is rejected, and return the reason."""
        reason = self.spool / "rejected" / f"{name}.reason.txt"
        place = self.spool / "rejected" / name
        self.until(f"{name} is rejected", lambda: reason.exists() and place.exists())
        return reason.read_text()

    def _listen(self) -> dict[str, str]:
        """Act as systemd; return the daemon's environment variable for that."""
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ear.bind("")  # the kernel chooses a free abstract address
        address = "@" + self._ear.getsockname()[1:].decode()
        threading.Thread(target=self._hear, args=[self._ear], daemon=True).start()
        return {"NOTIFY_SOCKET": address}

    def _hear(self, ear: socket.socket) -> None:
        with ear:
            while message := ear.recv(4096):
                self.notified += message.decode().splitlines()


@pytest.fixture
def service() -> Iterator[Emulator]:
    """Start the emulated service on loopback."""
    with Emulator(quota=10_000) as emulator:
        yield emulator


Start = Callable[..., DaemonProcess]


@pytest.fixture
def start(tmp_path: Path, service: Emulator) -> Iterator[Start]:
    """Start a daemon with these settings: `start(timeout=1)`. A traceback fails the test."""
    daemons: list[DaemonProcess] = []

    def start(
        endpoint: str = service.endpoint, *, is_notified: bool = True, **settings: object
    ) -> DaemonProcess:
        folder = tmp_path / f"daemon{len(daemons)}"
        daemons.append(DaemonProcess(folder, endpoint, **settings))
        return daemons[-1].start(is_notified=is_notified)

    yield start
    for daemon in daemons:
        with contextlib.suppress(AssertionError):  # it was never started
            daemon.kill()
    for daemon in daemons:
        assert "Traceback" not in daemon.log
