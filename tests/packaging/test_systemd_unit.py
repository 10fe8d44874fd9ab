"""The unit and its companions, judged by systemd's own tools."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "driveprep.service"
HOST_UNITS = Path("/usr/lib/systemd/system")
MAX_EXPOSURE = 1.7  # of 10; with only one of the two capabilities it would be the same

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd's tools are not installed"
)


def run(*command):
    """Exit code, and all that a command said."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path):
    """A system's root with all units of this machine, ours, and the programs that ours names."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(HOST_UNITS, units, symlinks=True)
    shutil.copy(UNIT, units)
    for program in ("usr/bin/driveprep", "bin/sh"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    return tmp_path


def verify(root):
    """What systemd has to say about our unit; pages of the manual are another test's business."""
    return run("systemd-analyze", "verify", "--man=no", f"--root={root}", UNIT.name)


def test_unit_is_understood(root):
    """systemd knows every setting of the unit, and finds what it names."""
    assert verify(root) == (0, "")


def test_misspelt_setting_would_be_told(root):
    """The judge of the test above does see a setting that systemd does not know."""
    unit = root / HOST_UNITS.relative_to("/") / UNIT.name
    unit.write_text(UNIT.read_text().replace("WatchdogSec", "WatchdogSecs"))

    assert "WatchdogSecs" in verify(root)[1]


def test_sandbox_is_tight():
    """`systemd-analyze security` finds no more exposure than this work needs."""
    threshold = f"--threshold={MAX_EXPOSURE * 10:.0f}"
    code, told = run("systemd-analyze", "security", "--offline=true", threshold, UNIT)

    print(told.strip().splitlines()[-1])
    assert code == 0, told
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", told)[1]) <= MAX_EXPOSURE


def test_user_group_and_folders(tmp_path):
    """sysusers and tmpfiles make user, group and a drop folder that is setgid and sticky."""
    for kind in ("sysusers", "tmpfiles"):
        shutil.copytree(SYSTEMD / f"{kind}.d", tmp_path / f"usr/lib/{kind}.d")
    (tmp_path / "etc").mkdir()

    assert run("systemd-sysusers", f"--root={tmp_path}")[0] == 0
    code, told = run("systemd-tmpfiles", f"--root={tmp_path}", "--create")
    assert code == 0, told

    passwd = (tmp_path / "etc/passwd").read_text()
    user, group = map(
        int, re.match(r"driveprep:x:(\d+):(\d+):.*:/usr/sbin/nologin", passwd).groups()
    )
    found = {
        name: (oct(stat.S_IMODE(status.st_mode)), status.st_uid, status.st_gid)
        for name in ("etc/driveprep", "var/lib/driveprep", "var/lib/driveprep/pending")
        for status in [(tmp_path / name).stat()]
    }
    assert found == {
        "etc/driveprep": ("0o750", 0, group),
        "var/lib/driveprep": ("0o2750", user, group),
        "var/lib/driveprep/pending": ("0o3770", user, group),
    }


def test_tmpfiles_changes_nothing_that_is_there(tmp_path):
    """A second run keeps what was dropped meanwhile."""
    for kind in ("sysusers", "tmpfiles"):
        shutil.copytree(SYSTEMD / f"{kind}.d", tmp_path / f"usr/lib/{kind}.d")
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}")
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create")
    manifest = tmp_path / "var/lib/driveprep/pending/HD001.yml"
    manifest.write_text("dropped")

    run("systemd-tmpfiles", f"--root={tmp_path}", "--create", "--clean", "--remove")

    assert manifest.read_text() == "dropped"


def test_the_secret_is_optional():
    """A LoadCredential= without a path is no fault where the file is not there, systemd.exec(5)."""
    loaded = re.findall(r"(?m)^LoadCredential=(.*)", UNIT.read_text())

    assert sorted(loaded) == ["aws-access-key-id", "aws-secret-access-key"]


def test_automatic_mounts_are_harmless():
    """The udev rule mounts NTFS only, at once; nothing on it is a device, runs or is for all."""
    rule = (SYSTEMD / "udev/90-driveprep-automount.rules").read_text()

    assert 'ENV{ID_FS_TYPE}!="ntfs", GOTO="driveprep_end"' in rule
    (command,) = re.findall(r'RUN\{program\}\+="(.*)"', rule)
    assert "--automount=no" in command.split()
    assert "--options=nosuid,nodev,noexec,umask=077" in command.split()
