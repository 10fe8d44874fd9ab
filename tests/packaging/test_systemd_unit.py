"""The unit and the files beside it, checked by systemd's own tools."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "driveprep.service"
HOST_UNITS = Path("/usr/lib/systemd/system")
MAX_EXPOSURE = 1.7  # of 10; it would be the same with only one of the two capabilities

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd's tools are not installed"
)


def run(*command):
    """Run a command, and return its exit code and its whole output."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path):
    """Make a root folder with this machine's units, our unit, and the programs that it needs."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(HOST_UNITS, units, symlinks=True)
    shutil.copy(UNIT, units)
    for program in ("usr/bin/driveprep", "bin/sh"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    return tmp_path


def verify(root):
    """Have systemd check our unit, except for manual pages, which are not in this root."""
    return run("systemd-analyze", "verify", "--man=no", f"--root={root}", UNIT.name)


def test_unit_is_understood(root):
    """systemd knows every setting of the unit, and finds every file that it names."""
    assert verify(root) == (0, "")


def test_misspelt_setting_would_be_told(root):
    """The check of the test above does find an unknown setting."""
    unit = root / HOST_UNITS.relative_to("/") / UNIT.name
    unit.write_text(UNIT.read_text().replace("WatchdogSec", "WatchdogSecs"))

    assert "WatchdogSecs" in verify(root)[1]


def test_sandbox_is_tight():
    """`systemd-analyze security` finds no more exposure than necessary."""
    threshold = f"--threshold={MAX_EXPOSURE * 10:.0f}"
    code, told = run("systemd-analyze", "security", "--offline=true", threshold, UNIT)

    print(told.strip().splitlines()[-1])
    assert code == 0, told
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", told)[1]) <= MAX_EXPOSURE


def test_user_group_and_folders(tmp_path):
    """sysusers and tmpfiles make the user, the group, and a setgid and sticky drop folder."""
    for kind in ("sysusers", "tmpfiles"):
        shutil.copytree(SYSTEMD / f"{kind}.d", tmp_path / f"usr/lib/{kind}.d")
    (tmp_path / "etc").mkdir()

    assert run("systemd-sysusers", f"--root={tmp_path}")[0] == 0
    code, told = run("systemd-tmpfiles", f"--root={tmp_path}", "--create")
    assert code == 0, told

    passwd = (tmp_path / "etc/passwd").read_text()
    user, group = map(
        int, re.search(r"(?m)^driveprep:x:(\d+):(\d+):.*:/usr/sbin/nologin", passwd).groups()
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
    """A second run keeps what was dropped in the meantime."""
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
    """LoadCredential= without a path is not an error if there is no file, systemd.exec(5)."""
    loaded = re.findall(r"(?m)^LoadCredential=(.*)", UNIT.read_text())

    assert sorted(loaded) == ["aws-access-key-id", "aws-secret-access-key"]


def test_automatic_mounts_are_harmless():
    """The udev rule mounts only NTFS, at once, and without devices, programs and shared files."""
    rule = (SYSTEMD / "udev/90-driveprep-automount.rules").read_text()

    assert 'ENV{ID_FS_TYPE}!="ntfs", GOTO="driveprep_end"' in rule
    (command,) = re.findall(r'RUN\{program\}\+="(.*)"', rule)
    assert "--automount=no" in command.split()
    assert "--options=nosuid,nodev,noexec,umask=077" in command.split()
