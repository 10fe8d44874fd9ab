"""`driveprep board` as a child process, used over real sockets as by a browser or an attacker."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from daemon_process import DRIVEPREP, ROOT, DaemonProcess
from loop_drives import PATIENCE_SECONDS, wait_until

MANIFEST = "application/x-driveprep-manifest"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class BoardProcess:
    """A board beside a daemon, with the same configuration, on a port of its own."""

    def __init__(self, config: Path, folder: Path, run: Path) -> None:
        self.config = config
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.certificate = ""
        folder.mkdir(exist_ok=True)
        self._run = run  # a short path: that of a Unix socket has at most 107 bytes
        self._log = folder / "board.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What board and command find their control socket by."""
        return {**os.environ, "XDG_RUNTIME_DIR": str(self._run)}

    @property
    def log(self) -> str:
        """Everything that it wrote to standard error."""
        return self._log.read_text()

    def logged(self, words: str) -> str:
        """Wait for a line with these words, which can come after the answer; return it."""

        def found() -> str:
            return next((line for line in self.log.splitlines() if words in line), "")

        return wait_until(f"{words} is logged", found)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process
        return self._process.pid

    def command_line(self, *words: str) -> list[str]:
        """Return what is run for `driveprep board` with these options."""
        return [*DRIVEPREP, "board", *words, "--config", str(self.config)]

    def start(self) -> Self:
        """Start it, and wait until it has read the journal."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command_line(), cwd=ROOT, env=self.environment, stderr=log
            )

        def serves() -> bool:
            assert self._process
            assert self._process.poll() is None, self.log
            with contextlib.suppress(OSError):
                return self.ask("GET", "/").status == 200
            return False

        wait_until("the board serves", serves)
        return self

    def stop(self) -> int:
        """End it with SIGTERM, and return its exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it if it still runs. Safe to repeat."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `driveprep board` with these options."""
        line = self.command_line(*words)
        return subprocess.run(
            line, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def token(self, *kind: str) -> str:
        """Return the token of a new link."""
        done = self.command("--link", *kind)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().rpartition("#")[2]

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        if self.origin.startswith("https:"):
            trust = ssl.create_default_context(cafile=str(self.certificate))
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=60, context=trust
            )
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def log_in(self, *kind: str) -> Page:
        """Open a login with a new link, as the page does."""
        answer = self.open(self.token(*kind))
        assert answer.status == 200, answer
        cookie = answer.headers["set-cookie"].partition(";")[0]
        return Page(self, cookie, answer.json["key"], answer.json["csrf"], answer.json)

    def open(self, token: str, **headers: str) -> Answer:
        """Send a link's token."""
        sent = {"Origin": self.origin, "Content-Type": "application/json", **headers}
        return self.ask("POST", "/login", sent, json.dumps({"token": token}).encode())


@dataclass(frozen=True)
class Page:
    """The page in a browser: a login, and what its script sends."""

    board: BoardProcess
    cookie: str
    key: str
    csrf: str
    facts: dict[str, Any] = field(default_factory=dict)

    def headers(self, **others: str) -> dict[str, str]:
        """Return what each request of the page carries; others replace them, "" removes one."""
        usual = {
            "Cookie": self.cookie,
            "X-Board-Key": self.key,
            "X-CSRF-Token": self.csrf,
            "Origin": self.board.origin,
            "Sec-Fetch-Site": "same-origin",
        }
        given = {name.replace("_", "-"): text for name, text in others.items()}
        return {name: text for name, text in {**usual, **given}.items() if text}

    def get(self, path: str, **headers: str) -> Answer:
        """Read something, once the board has read the journal for the first time."""
        while b"nothing is read yet" in (answer := self._get(path, **headers)).body:
            time.sleep(0.05)
        return answer

    def _get(self, path: str, **headers: str) -> Answer:
        return self.board.ask("GET", path, self.headers(**headers))

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Change something."""
        sent = self.headers(**{"Content_Type": "application/json", **headers})
        return self.board.ask("POST", path, sent, json.dumps(body or {}).encode())

    def send(self, path: str, name: str, data: bytes, **headers: str) -> Answer:
        """Send a manifest."""
        sent = {"Content_Type": MANIFEST, "X_File_Name": quote(name), **headers}
        return self.board.ask("POST", path, self.headers(**sent), data)

    def drop(self, name: str, data: bytes) -> Answer:
        """Drop a manifest as the page does after it was checked."""
        return self.send("/api/drop", name, data, X_Sha256=sha256(data).hexdigest())

    def view(self) -> dict[str, Any]:
        """Return the view."""
        answer = self.get("/api/view")
        while answer.status == 429:  # a test asks more often than a page does
            time.sleep(0.1)
            answer = self.get("/api/view")
        assert answer.status == 200, answer
        told: dict[str, Any] = answer.json
        return told

    def card(self, device_id: str) -> dict[str, Any]:
        """Return the card of a deviceId; empty if there is none."""
        found = [one for one in self.view()["cards"] if one["deviceId"] == device_id]
        return found[-1] if found else {}

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Listen; yields the views as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.board.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/events", headers=self.headers())
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (
                json.loads(line.removeprefix(b"data: "))
                for line in iter(response.readline, b"")
                if line.startswith(b"data: ")
            )


def free_port() -> int:
    """Return a port that no one uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def beside(daemon: DaemonProcess, folder: Path, **board: object) -> Iterator[BoardProcess]:
    """Run a board beside a daemon. A traceback in its log fails the test."""
    run = Path(tempfile.mkdtemp(prefix="board-"))
    process = BoardProcess(daemon.config, folder, run)
    settings = json.loads(daemon.config.read_text())
    settings["board"] = {"listen": f"127.0.0.1:{process.port}", **board}
    daemon.config.write_text(json.dumps(settings))
    if process_certificate := board.get("tls_certificate"):
        process.certificate = str(process_certificate)
        process.origin = process.origin.replace("http:", "https:")
    try:
        yield process.start()
    finally:
        process.kill()
        shutil.rmtree(run)
    assert "Traceback" not in process.log, process.log


@contextlib.contextmanager
def apart(daemon: DaemonProcess, folder: Path) -> Iterator[BoardProcess]:
    """Run a board that reads the public copy of the configuration, as under systemd."""
    run = Path(tempfile.mkdtemp(prefix="board-"))
    process = BoardProcess(run / "public.yml", folder, run)
    done = daemon.command("board", "--public-config", process.config)
    assert done.returncode == 0, done.stderr
    settings = json.loads(process.config.read_text())
    settings["board"] = {"listen": f"127.0.0.1:{process.port}"}
    process.config.write_text(json.dumps(settings))
    try:
        yield process.start()
    finally:
        process.kill()
        shutil.rmtree(run)
    assert "Traceback" not in process.log, process.log
