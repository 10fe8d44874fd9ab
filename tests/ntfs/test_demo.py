"""The demo, and the playground that the README prints: nothing of them stays behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from daemon_process import DRIVEPREP, ROOT

pytestmark = [pytest.mark.usefixtures("real_drives_work"), pytest.mark.xdist_group("demo")]


@pytest.fixture
def run(tmp_path):
    """Run a command in a folder of its own, as the README is read: with `.venv` beside it."""
    (tmp_path / ".venv").symlink_to(sys.prefix)

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    yield run
    if (tmp_path / "driveprep-demo").exists():
        run(*DRIVEPREP, "demo", "--stop")


def left(folder: Path) -> list[str]:
    """Return the processes, mounts and loop devices of a folder."""
    processes = [
        " ".join(one.info["cmdline"])
        for one in psutil.process_iter(["cmdline"])
        if any(word.startswith(f"{folder}/driveprep-demo") for word in one.info["cmdline"] or ())
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    loops = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout
    return processes + mounts + [line for line in loops.splitlines() if str(folder) in line]


def test_the_manual_trial_works_as_printed(run, tmp_path):
    """Every line of it, in one shell; then the drive is signed, and nothing is left."""
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"^(    PATH=.*\n(?:    .*\n)+)", readme, re.MULTILINE)
    done = run("bash", "-eu", "-c", block[1])

    assert done.returncode == 0, done.stderr
    assert "HD003.yml: accepted, for HD003" in done.stdout
    assert "safe to remove" in done.stdout
    assert "signingMethod:HmacSHA1" in done.stdout
    assert sorted(os.listdir(tmp_path)) == [".venv"]
    assert left(tmp_path) == []


def test_a_playground_stays_until_it_is_stopped(run, tmp_path):
    """It outlives the command; a second one takes no folder that is there; stop unmounts all."""
    made = run(*DRIVEPREP, "demo", "--keep")
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "driveprep-demo"
    assert len(left(tmp_path)) == 2

    again = run(*DRIVEPREP, "demo", "--keep")
    assert again.returncode == 75
    assert "already exists" in again.stderr

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mounted = run("mount", "-t", "ntfs-3g", "-o", "loop", str(folder / "HD002.img"), str(elsewhere))
    assert mounted.returncode == 0, mounted.stderr
    stopped = run(*DRIVEPREP, "demo", "--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not folder.exists()
    assert left(tmp_path) == []


def test_only_a_playground_is_removed(run, tmp_path):
    """Any other folder stays as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    done = run(*DRIVEPREP, "demo", "--stop", "mine")

    assert done.returncode == 75
    assert "is not a playground" in done.stderr
    assert (tmp_path / "mine" / "file").exists()


def test_the_demo_leaves_nothing(run, tmp_path):
    """The whole story, and each step is shown."""
    before = set(os.listdir("/tmp"))
    done = run(*DRIVEPREP, "demo")

    assert done.returncode == 0, done.stderr
    assert "Everything that the demo made is gone again." in done.stdout
    assert not [one for one in set(os.listdir("/tmp")) - before if one.startswith("driveprep-demo")]
