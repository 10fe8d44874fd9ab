"""scripts/install and scripts/uninstall, from a wheelhouse into a scratch root folder.

One root is installed, upgraded, upgraded with a failure, and uninstalled.
"""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
TOOLS = ("systemd-sysusers", "systemd-tmpfiles", "systemctl")

pytestmark = [
    pytest.mark.xdist_group("install"),  # share what takes long to build
    pytest.mark.skipif(os.getuid() != 0, reason="only root can install"),
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="systemd is not installed"),
]


def script(name, *words):
    """Run a script to its end."""
    command = [TOP / "scripts" / name, *map(str, words)]
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Fill a wheelhouse as the README does; without a package index there is nothing to test."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder, TOP]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "CI" not in os.environ:
        pytest.skip(f"no wheels to be had: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory, wheels):
    """Make a root folder into which driveprep was installed once."""
    folder = tmp_path_factory.mktemp("root")
    done = script("install", "--root", folder, "--wheels", wheels)
    assert done.returncode == 0, done.stderr
    return folder


def group(root):
    """Return the number of the group driveprep in there."""
    lines = (root / "etc/group").read_text().splitlines()
    return next(int(line.split(":")[2]) for line in lines if line.startswith("driveprep:"))


def test_command_is_there(root):
    """/usr/bin/driveprep runs in the installed environment, and needs no network."""
    command = root / "usr/bin/driveprep"
    assert str(command.readlink()) == "/opt/driveprep/bin/driveprep"
    program = root / "opt/driveprep/bin/driveprep"
    assert program.read_text().startswith("#!/opt/driveprep/bin/python")

    python = root / "opt/driveprep/bin/python"
    command = [python, "-P", program, "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("driveprep, version ")


def test_service_is_there_and_enabled(root):
    """Unit, user and folders exist, and the service starts with the machine."""
    unit = root / "usr/lib/systemd/system/driveprep.service"
    wanted = root / "etc/systemd/system/multi-user.target.wants/driveprep.service"

    assert unit.read_bytes() == (TOP / "systemd/driveprep.service").read_bytes()
    assert wanted.readlink() == Path("/") / unit.relative_to(root)
    pending = (root / "var/lib/driveprep/pending").stat()
    assert (stat.S_IMODE(pending.st_mode), pending.st_gid) == (0o3770, group(root))


def test_config_is_for_root_and_the_group(root):
    """It is the example, to be filled in; only root and the group may read it."""
    config = root / "etc/driveprep/config.yml"
    status = config.stat()

    assert config.read_bytes() == (TOP / "config.example.yml").read_bytes()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 0, group(root))


@pytest.mark.parametrize(
    "place",
    [
        "bash-completion/completions/driveprep",
        "zsh/vendor-completions/_driveprep",
        "fish/vendor_completions.d/driveprep.fish",
    ],
)
def test_completions(root, place):
    """Each shell finds the completion that click makes for it."""
    assert "_DRIVEPREP_COMPLETE" in (root / "usr/share" / place).read_text()


@pytest.mark.parametrize("page", ["man1/driveprep.1", "man5/driveprep-config.5"])
def test_manual(root, page):
    """`man` finds the pages."""
    assert (root / "usr/share/man" / page).read_bytes() == (
        TOP / "man" / Path(page).name
    ).read_bytes()


def test_life_after_the_first_day(root, wheels, tmp_path):
    """An upgrade keeps user files, a failed one changes nothing, --purge removes everything."""
    config, manifest = root / "etc/driveprep/config.yml", root / "var/lib/driveprep/pending/HD1.yml"
    rule = root / "usr/lib/udev/rules.d/90-driveprep-automount.rules"
    program = root / "opt/driveprep/bin/driveprep"
    config.write_text("mine")
    manifest.write_text("dropped")
    assert not rule.exists()

    upgraded = script("install", "--root", root, "--wheels", wheels, "--automount")

    assert upgraded.returncode == 0, upgraded.stderr
    assert (config.read_text(), manifest.read_text()) == ("mine", "dropped")
    assert rule.exists()

    failed = script("install", "--root", root, "--wheels", tmp_path)  # nothing is in there

    assert failed.returncode != 0
    assert program.exists()

    removed = script("uninstall", "--root", root)

    assert removed.returncode == 0, removed.stderr
    assert (config.read_text(), manifest.read_text()) == ("mine", "dropped")
    left = [place for place in root.rglob("*driveprep*") if not place.is_dir()]
    assert left == []
    assert not (root / "opt/driveprep").exists()

    purged = script("uninstall", "--root", root, "--purge")  # it can be repeated

    assert purged.returncode == 0, purged.stderr
    assert list(root.rglob("*driveprep*")) == []


@pytest.mark.parametrize("name", ["install", "uninstall"])
@pytest.mark.parametrize("words", [["--rot", "/"], ["--root"], ["--root", "/nowhere/at/all"]])
def test_wrong_usage_changes_nothing(name, words):
    """A misspelt option is refused, with the exit code of sysexits(3)."""
    assert script(name, *words).returncode == 64


def test_what_an_earlier_version_installed_is_removed(tmp_path):
    """An upgrade and an uninstall remove the page driveprep.yml(5), packed or not."""
    commands = f'. "{TOP}/scripts/layout"; root={tmp_path}; remove_obsolete'
    for name in ("driveprep.yml.5", "driveprep.yml.5.gz"):
        old = tmp_path / "usr/share/man/man5" / name
        old.parent.mkdir(parents=True, exist_ok=True)
        old.touch()

    subprocess.run(["sh", "-ec", commands], check=True)

    assert list((tmp_path / "usr/share/man/man5").iterdir()) == []
    for program in ("install", "uninstall"):
        assert "remove_obsolete" in (TOP / "scripts" / program).read_text()
