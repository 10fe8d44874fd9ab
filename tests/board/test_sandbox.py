"""The board's own user and unit: what it can read and write, tried as that user.

systemd itself need not run: its tools make the folders, and what the unit hides is hidden by hand.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from as_operator import manifest_for, new_device_id, prepared_once
from board_process import BoardProcess
from daemon_process import ROOT, DaemonProcess
from loop_drives import plug, plug_disk, real_drives_work, wait_until

__all__ = ["plug", "plug_disk", "real_drives_work"]

SYSTEMD = ROOT / "systemd"
UNIT = SYSTEMD / "driveprep-board.service"
BOARD = pwd.getpwnam("nobody").pw_uid  # in no group of ours, like the board's user
MAX_EXPOSURE = 1.0
PIN = "31415926"
# The board's user may not even be allowed to read this source tree: all is loaded before.
AS_BOARD = """
import importlib, os, pkgutil, sys
import daemon
import encodings.idna, uvicorn.lifespan.off, uvicorn.loops.asyncio, watchdog.observers.inotify
for module in pkgutil.walk_packages(daemon.__path__, "daemon."):
    if not module.name.endswith(("__main__", "demo")):
        importlib.import_module(module.name)
os.setgroups([])
os.setgid({user})
os.setuid({user})
os.chdir("/")
"""
TRY = """
import json
found = {}
for path, mode in json.loads(sys.argv[1]):
    try:
        os.close(os.open(path, getattr(os, mode)))
        found[path] = "opened"
    except OSError as error:
        found[path] = type(error).__name__
print(json.dumps(found))
"""

needs_tools = pytest.mark.skipif(
    not shutil.which("systemd-tmpfiles") or os.getuid() != 0,
    reason="needs systemd's tools and root",
)


class BoardOfItsOwnUser(BoardProcess):
    """A board that runs as the user of the unit."""

    def command_line(self, *words: str) -> list[str]:
        """Load everything, become the user, then run the command."""
        code = AS_BOARD.format(user=BOARD) + "from daemon.cli.main import main\nmain()\n"
        return [sys.executable, "-c", code, "board", *words, "--config", str(self.config)]


@pytest.fixture
def station(service):
    """Yield a daemon whose spool is as installed, and the folder of the public configuration."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "etc").mkdir()
        for kind in ("sysusers", "tmpfiles"):
            shutil.copytree(SYSTEMD / f"{kind}.d", root / f"usr/lib/{kind}.d")
        lines = root / "usr/lib/tmpfiles.d/driveprep-board.conf"
        lines.write_text(lines.read_text().replace("u:driveprep-board:", f"u:{BOARD}:"))
        run("systemd-sysusers", f"--root={root}")
        run("systemd-tmpfiles", f"--root={root}", "--create")
        groups = (root / "etc/group").read_text()
        group = int(re.search(r"(?m)^driveprep:\w+:(\d+)", groups)[1])
        daemon = DaemonProcess(root / "d", service.endpoint, spool=root / "var/lib/driveprep")
        (root / "d").chmod(0o755)
        os.chown(daemon.config, 0, group)
        daemon.config.chmod(0o640)
        os.setresgid(group, group, 0)
        try:
            daemon.start()
        finally:
            os.setresgid(0, 0, 0)
        yield daemon
        daemon.kill()
        assert "Traceback" not in daemon.log


@pytest.fixture
def board(station):
    """Yield a board that runs as its own user, with the configuration it may read."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="board-") as name:
        folder = Path(name)
        process = BoardOfItsOwnUser(folder / "config.yml", folder / "board", folder)
        settings = json.loads(station.config.read_text())
        settings["board"] = {"listen": f"127.0.0.1:{process.port}"}
        station.config.write_text(json.dumps(settings))
        done = station.command("board", "--public-config", process.config)
        assert done.returncode == 0, done.stderr
        for place in (folder, process.config):
            os.chown(place, BOARD, BOARD)
        yield process.start()
        process.kill()
        assert "Traceback" not in process.log


def run(*command: object) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tried(*wishes: tuple[Path, str]) -> dict[Path, str]:
    """Return what opening each path in that mode gives the board's user."""
    code = AS_BOARD.format(user=BOARD) + TRY
    words = json.dumps([(str(path), mode) for path, mode in wishes])
    done = subprocess.run(
        [sys.executable, "-c", code, words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {Path(path): outcome for path, outcome in json.loads(done.stdout).items()}


@needs_tools
def test_the_boards_user_opens_no_secret(plug, service, station):
    """Not the secret key, the configuration, or a manifest; and it can write to no journal."""
    device_id = new_device_id()
    drive = plug(device_id).mount()
    data = manifest_for(device_id) + f"pinCode: '{PIN}'\n".encode()
    station.drop(device_id, data)
    prepared_once(service, station, drive.mount_point, device_id, data)
    other = station.config.with_name("HD777.yml")
    other.write_bytes(manifest_for("HD777") + f"pinCode: '{PIN}'\n".encode())
    assert station.command("submit", other).returncode == 0
    station.drop("", b"nonsense\n", "bad.yml")
    station.rejected("bad.yml")
    (papers,) = station.papers(device_id)
    waiting = station.pending / "HD777.yml"
    files = [
        station.config.with_name("secret"), station.config, waiting, papers / "manifest.yml",
        papers / "SIGNATURE", station.spool / "rejected/bad.yml",
    ]  # fmt: skip
    journal = [path for path in station.spool.glob("journal*") if path.is_file()]

    outcome = tried(*((path, "O_RDONLY") for path in files))
    assert outcome == dict.fromkeys(files, "PermissionError")
    assert len(journal) == 4
    assert set(tried(*((path, "O_RDONLY") for path in journal)).values()) == {"opened"}
    assert set(tried(*((path, "O_RDWR") for path in journal)).values()) == {"PermissionError"}


@needs_tools
def test_the_journal_that_the_board_reads_has_no_manifest(plug, service, station):
    """Not even while its job is in doubt, when the text is kept for the comparison."""
    service.faults.add("hang", "CreateJob")
    device_id = new_device_id()
    plug(device_id).mount()
    station.drop(device_id, manifest_for(device_id) + f"pinCode: '{PIN}'\n".encode())
    station.until("it is in doubt", lambda: station.job(device_id).get("state") == "Submitting")

    texts = [path.read_bytes() for path in station.spool.glob("journal*") if path.is_file()]
    (kept,) = (station.spool / ".texts").iterdir()
    assert all(PIN.encode() not in text for text in texts)
    assert PIN.encode() in kept.read_bytes()
    assert tried((kept, "O_RDONLY")) == {kept: "PermissionError"}


@needs_tools
def test_the_public_configuration_has_no_credentials(station, tmp_path):
    """Nor hooks, whose words can have a password. Everything else is the same."""
    settings = json.loads(station.config.read_text())
    settings["credentials"] = {"access_key_id": "A", "secret_access_key": "s3cret"}
    settings["hooks"] = {"prepared": ["/bin/true", "hunter2"]}
    settings["station"] = "Bench 7"
    station.config.write_text(json.dumps(settings))
    copy = tmp_path / "config.yml"

    assert station.command("board", "--public-config", copy).returncode == 0
    assert json.loads(copy.read_text()) == {
        "endpoint": settings["endpoint"], "spool": str(station.spool), "station": "Bench 7",
    }  # fmt: skip
    assert copy.stat().st_mode & 0o777 == 0o640


@needs_tools
def test_the_board_does_its_work_as_its_own_user(plug, service, station, board):
    """Shows, drops, ships and prints, without being in the group driveprep."""
    page, device_id = board.log_in(), new_device_id()
    data = manifest_for(device_id)
    assert page.drop(f"{device_id}.yml", data).status == 200
    drive = plug(device_id).mount()
    job = prepared_once(service, station, drive.mount_point, device_id)
    # Its drive is known by udev alone, which does not run here; the timeline has the job.
    wait_until("it is followed", lambda: [one["jobId"] for one in page.view()["timeline"]])

    paper = page.post("/api/paper", {"job": job.job_id, "kind": "slip"})
    assert paper.status == 200, paper.body
    assert job.job_id.encode() in page.get(paper.json["url"]).body
    assert page.post("/api/ship", {"words": [job.job_id]}).json["later"] is False
    station.drop("HD888")
    wait_until("it waits", lambda: page.view()["counts"]["waiting"] == 1)
    station.restart()  # SQLite makes new files beside the journal
    wait_until("it runs", lambda: page.view()["daemon"]["running"])
    assert page.view()["problem"] == ""


@needs_tools
def test_a_drive_that_is_mounted_later_cannot_be_written(plug, tmp_path):
    """What the unit hides stays hidden; without that, `ProtectSystem=strict` would not help."""
    drive = plug(new_device_id())
    hidden = re.search(r"(?m)^InaccessiblePaths=(/media .*)$", UNIT.read_text())[1].split()
    places = [one for one in hidden if not one.startswith("-")]
    assert places == ["/media", "/run/media", "/mnt"]

    for place in places:
        assert outcome_of_writing(drive.device, place, tmp_path, is_hidden=False) == "written"
        assert outcome_of_writing(drive.device, place, tmp_path, is_hidden=True) == "refused"


def outcome_of_writing(device: str, place: str, folder: Path, *, is_hidden: bool) -> str:
    """Mount a drive after a sandbox was made, and write to it from there as the board's user."""
    empty = folder / "inaccessible"
    empty.mkdir(mode=0o000, exist_ok=True)
    hide = f"mount --bind {empty} {place}" if is_hidden else "true"
    inside = f"""
        mount -o remount,bind,ro / 2>/dev/null
        {hide}
        echo > {folder}/ready
        read _ < {folder}/go
        setpriv --reuid {BOARD} --regid {BOARD} --clear-groups \
            sh -c 'echo x > {place}/test-board/x' 2>/dev/null && echo written || echo refused
    """
    outside = f"""
        mount --make-rshared /
        mkfifo {folder}/ready {folder}/go
        mkdir -p {place}/test-board
        unshare --mount --propagation slave sh -c "$INSIDE" &
        read _ < {folder}/ready
        mount -t ntfs-3g {device} {place}/test-board
        echo > {folder}/go
        wait
        umount {place}/test-board; rmdir {place}/test-board
        rm {folder}/ready {folder}/go
    """
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", outside],
        env={**os.environ, "INSIDE": inside}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.stdout.strip() or done.stderr


@needs_tools
def test_the_sandbox_is_tight():
    """`systemd-analyze security` rates it at most 1.0; it has no capability and no network."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", UNIT], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    rated = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert rated
    assert float(rated[1]) <= MAX_EXPOSURE, done.stdout
    text = UNIT.read_text()
    for line in ("CapabilityBoundingSet=", "AmbientCapabilities=", "PrivateNetwork=yes"):
        assert f"\n{line}\n" in text


@needs_tools
def test_the_units_are_understood(tmp_path):
    """systemd knows every setting, and finds every file that they name."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree("/usr/lib/systemd/system", units, symlinks=True)
    names = [path.name for path in SYSTEMD.glob("driveprep*.*") if path.is_file()]
    for name in names:
        shutil.copy(SYSTEMD / name, units)
    for program in ("usr/bin/driveprep", "bin/sh"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)

    assert len(names) == 5
    assert run("systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", *names) == ""
