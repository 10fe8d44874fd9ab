"""What a member of the group does, who cannot read the secret key: the daemon asks for him.

Real daemon, real drive, the service on loopback; the operator is another user.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import daemon_process
import pytest
from as_operator import manifest_for, new_device_id, prepared_once
from daemon_process import ROOT, DaemonProcess

from daemon.spool.filing import digest

service, start = daemon_process.service, daemon_process.start

OPERATOR, GROUP = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid
# The operator may not even be allowed to read this source tree: all is loaded before.
AS_OPERATOR = """
import importlib, os, pkgutil, sys
import daemon
import watchdog.observers.inotify
for module in pkgutil.walk_packages(daemon.__path__, "daemon."):
    if not module.name.endswith(("__main__", "demo")):
        importlib.import_module(module.name)
os.setgroups([])
os.setgid({group})
os.setuid({user})
os.chdir("/")
from daemon.cli.main import main
main()
"""


class Bench:
    """A daemon, and commands that an operator types beside it."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.daemon = DaemonProcess(folder / "station", endpoint)
        folder.chmod(0o755)
        (folder / "station").chmod(0o755)
        self.daemon.spool.mkdir()
        os.chown(self.daemon.spool, 0, GROUP)
        self.daemon.spool.chmod(0o2750)  # as StateDirectory= is installed
        os.chown(self.daemon.config, 0, GROUP)
        self.daemon.config.chmod(0o640)

    def start(self) -> None:
        """Start the daemon in the operators' group, as Group= of the unit does."""
        os.setresgid(GROUP, GROUP, 0)
        try:
            self.daemon.start()
        finally:
            os.setresgid(0, 0, 0)

    def types(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run one command as the operator."""
        script = AS_OPERATOR.format(group=GROUP, user=OPERATOR)
        line = [sys.executable, "-c", script, *map(str, words), "--config", str(self.daemon.config)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def bench(service):
    """A station that an operator can reach, whose secret he cannot read."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        one = Bench(Path(folder), service.endpoint)
        one.start()
        yield one
        one.daemon.kill()
        assert "Traceback" not in one.daemon.log


def test_an_operators_whole_job(bench, plug, service):
    """What the service must be asked for is done by the daemon, and its outcome shown."""
    daemon, device_id = bench.daemon, new_device_id()
    secret = (daemon.config.parent / "secret").read_text()
    drive = plug(device_id).mount()
    daemon.drop(device_id)
    job = prepared_once(service, daemon, drive.mount_point, device_id)
    other = daemon.config.parent / "other.yml"
    other.write_bytes(manifest_for(device_id, logBucket="another-bucket"))
    other.chmod(0o644)
    done = {}

    for name, words in {
        "show": ("show", device_id),
        "label": ("label", device_id),
        "check": ("check", "--online", other),
        "update": ("update", device_id, other),
        "cancel": ("cancel", device_id, "--yes"),
        "again": ("cancel", device_id, "--yes"),
    }.items():
        done[name] = bench.types(*words)
        assert done[name].returncode == 0, (name, done[name].stderr, daemon.log)
        assert secret not in done[name].stdout + done[name].stderr
        if name == "update":
            papers_follow(daemon, f"{job.job_id}-{device_id}")

    assert "Pending" in done["show"].stdout
    assert "at the service" not in done["show"].stdout  # no error
    assert done["label"].stdout.startswith("http")
    assert f"good, for {device_id}" in done["check"].stdout
    assert f"job {job.job_id} has the new manifest" in done["update"].stdout
    assert f"job {job.job_id} for {device_id} is cancelled" in done["cancel"].stdout
    (after,) = [one for one in service.jobs if one.job_id == job.job_id]
    assert "another-bucket" in after.manifest
    assert after.is_canceled
    assert not [name for name in os.listdir(daemon.pending) if name.startswith(".ask-")]


def papers_follow(daemon, folder):
    """The papers have the updated manifest, and the receipt names the one before it."""
    place = daemon.spool / "prepared" / folder
    before = place.with_name(f"{folder}-before")

    daemon.until("the papers before are set aside", before.exists)
    daemon.until("the papers are filed again", (place / "receipt.json").exists)

    receipt = json.loads((place / "receipt.json").read_bytes())
    assert b"another-bucket" in (place / "manifest.yml").read_bytes()
    assert receipt["manifest"]["sha256"] == digest((place / "manifest.yml").read_bytes())
    assert receipt["manifestBefore"]["sha256"] == digest((before / "manifest.yml").read_bytes())


def test_what_the_service_refuses_is_told(bench, service, tmp_path):
    """An error arrives as it is, with its line and exit code."""
    bad = bench.daemon.config.parent / "bad.yml"
    bad.write_bytes(manifest_for("HD001", logBucket="no-such-bucket"))
    bad.chmod(0o644)
    service.faults.add("error", "CreateJob", code="NoSuchBucketException", status=400)

    refused = bench.types("check", "--online", bad)

    assert refused.returncode == 65, refused.stderr
    assert "bad.yml:5:" in refused.stderr
    assert "logBucket" in refused.stderr


def test_without_a_daemon(bench):
    """Only root and the service's user can ask the service; what needs no key works."""
    bench.daemon.stop()

    asked = bench.types("check", "--online")
    shown = bench.types("status")

    assert asked.returncode == 78
    assert "Permission denied" in asked.stderr
    assert shown.returncode == 0, shown.stderr
    assert "NOT RUNNING" in shown.stderr
