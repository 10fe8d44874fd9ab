"""The recipes of docs/hooks.md, run as they are printed, with stand-ins for what is not here."""

import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import daemon_process
import pytest
import yaml

from daemon.config import loading
from daemon.jobs.job import Job, Obstacle, Pending, Signed, Submitting
from daemon.service.reporting.hooks import HookQueue

service, start = daemon_process.service, daemon_process.start

DOCS = (Path(__file__).parents[2] / "docs/hooks.md").read_text()
RECIPES = DOCS.partition("## Recipes")[2]
DRIVE = {"bay": "bay 3", "deviceNode": "/dev/sdb1", "serial": "WX11"}
PREPARED = Job(
    7, "HD001", "NTFS", "a.yml", "ab", Signed("K7M3X", "", "", "", 1.0, 2.0, DRIVE), 1.0, filed=True
)
OBSTACLE = Obstacle("it is\nread-only: $(id)", "@/etc/passwd", 1.0, 0, None)
BLOCKED = replace(PREPARED, state=Submitting(1.0, "", "", DRIVE), obstacle=OBSTACLE, filed=False)


class Recorder(HTTPServer):
    """A server on loopback that answers 200 and keeps what it gets."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Recording)
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Recording(BaseHTTPRequestHandler):
    """Keeps path, headers and body."""

    def do_POST(self):
        """Record it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.requests.append((self.path, dict(self.headers), body))
        self.send_response(200)
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def log_message(self, *words):
        """Nothing."""


@pytest.fixture
def server():
    """What the recipes send is recorded here."""
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def bench(tmp_path):
    """The scripts of the documentation, and stand-ins that record their words."""
    for block in re.findall(r"```sh\n(.*?)```", RECIPES, re.DOTALL):
        name = re.search(r"^# /usr/local/s?bin/(\S+)$", block, re.MULTILINE)[1]
        write(tmp_path / name, block)
    for name in ("paplay", "ledctl"):
        write(tmp_path / name, f'#!/bin/sh\necho "$@" >>{tmp_path}/{name}.words\n')
    return tmp_path


def write(path, text):
    """Write a script."""
    path.write_text(text)
    path.chmod(0o755)


def run(bench, name, event, job, *words):
    """Run one of the scripts as a hook, to its end."""
    hooks = HookQueue(f"{bench}:{os.environ['PATH']}")
    hooks.run([str(bench / name), *words], event, job)
    ended()


def ended():
    """Wait until no hook is running."""
    for thread in threading.enumerate():
        if thread.name == "hook":
            thread.join(10.0)
            assert not thread.is_alive()


def test_every_configuration_is_valid(tmp_path, bench):
    """Each names events that exist, and a script of the recipes."""
    blocks = re.findall(r"```yaml\n(.*?)```", RECIPES, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        for event, words in yaml.safe_load(block)["hooks"].items():
            assert event in loading.EVENTS
            assert (bench / Path(words[0]).name).exists()


def test_ntfy(bench, server, caplog):
    """It has bay, deviceId, reason and hint; nothing of them becomes a header or a file."""
    run(bench, "driveprep-ntfy", "obstacle", BLOCKED, f"{server.url}/topic")
    run(bench, "driveprep-ntfy", "prepared", PREPARED, f"{server.url}/topic")

    (path, headers, body), (_, others, _) = server.requests
    assert (path, headers["Priority"], others["Priority"]) == ("/topic", "high", "default")
    assert headers["Title"].strip() == "driveprep: obstacle"
    assert body == "bay 3 HD001 \nit is\nread-only: $(id)\n@/etc/passwd\n"
    assert caplog.records == []


def test_healthchecks(bench, server, caplog):
    """Away is a failure, back is a success."""
    hooks = HookQueue(f"{bench}:{os.environ['PATH']}")
    for change in ("away", "back"):
        command = [str(bench / "driveprep-healthchecks"), f"{server.url}/uuid"]
        hooks.run_for(command, "service", change, "no route", "bench-1")
        ended()

    assert [path for path, _, _ in server.requests] == ["/uuid/fail", "/uuid"]
    assert server.requests[0][2] == "no route\n"
    assert caplog.records == []


def test_the_daemon_is_alive(bench, server, start):
    """The script pings while the daemon runs, and not when it does not."""
    station = start()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "DRIVEPREP_CONFIG": str(station.config)}
    command = [bench / "driveprep-alive", f"{server.url}/alive"]

    assert subprocess.run(command, env=environment, check=False).returncode == 0
    station.stop()
    assert subprocess.run(command, env=environment, check=False).returncode == 69
    assert [path for path, _, _ in server.requests] == ["/alive"]


def test_sound(bench, caplog):
    """One sound for a prepared drive, another for an obstacle."""
    run(bench, "driveprep-sound", "prepared", PREPARED)
    run(bench, "driveprep-sound", "obstacle", BLOCKED)

    first, second = (bench / "paplay.words").read_text().splitlines()
    assert first.endswith("/complete.oga")
    assert second.endswith("/dialog-warning.oga")
    assert caplog.records == []


def test_light(bench, caplog):
    """On at an obstacle, off when it is prepared; for the disk of the partition."""
    lights = bench / "lights"
    run(bench, "driveprep-light", "obstacle", BLOCKED, str(lights))
    run(bench, "driveprep-light", "prepared", PREPARED, str(lights))
    (lights / "9").write_text("locate /dev/sdb;id\n")
    (lights / "9a").write_text("locate=/dev/sda /dev/sdc\n")
    pending = replace(BLOCKED, state=Pending("1"))
    run(bench, "driveprep-light", "obstacle", pending, str(lights))

    path = f"{bench}:{os.environ['PATH']}"
    subprocess.run([bench / "driveprep-lights", lights], env={"PATH": path}, check=True)

    words = (bench / "ledctl.words").read_text().splitlines()
    assert words == ["locate=/dev/sdb", "locate_off=/dev/sdb"]
    assert list(lights.iterdir()) == []
    assert caplog.records == []
