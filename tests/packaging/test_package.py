"""scripts/package: the Debian package installs and requires the same as scripts/install.

Both are unpacked into a scratch root folder like dpkg does it. Maintainer scripts are only read,
because they would change this machine.
"""

import gzip
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
TOOLS = ("dh", "dh_python3", "systemd-sysusers", "systemd-tmpfiles")
RULE = "usr/lib/udev/rules.d/90-driveprep-automount.rules"

pytestmark = [
    pytest.mark.xdist_group("package"),  # share what takes long to build
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away"),
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="debhelper is not installed"),
]


def told(*command):
    """Run a command and return its output."""
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Build the package, and the one with the udev rule."""
    folder = tmp_path_factory.mktemp("packages")
    told("scripts/package", "--output", folder)
    [package], [automount] = folder.glob("driveprep_*.deb"), folder.glob("driveprep-a*.deb")
    return package, automount


@pytest.fixture(scope="module")
def root(tmp_path_factory, packages):
    """Make a root folder with the package's files, and what its postinst adds."""
    folder = tmp_path_factory.mktemp("root")
    told("dpkg-deb", "--extract", packages[0], folder)
    (folder / "etc").mkdir()
    for tool, verb in (("systemd-sysusers", []), ("systemd-tmpfiles", ["--create"])):
        told(tool, f"--root={folder}", *verb, "driveprep.conf")
    return folder


def test_every_file_has_its_place(root):
    """Files are where scripts/install puts them; manual pages are compressed for Debian."""
    for line in told("sh", "-c", ". scripts/layout && layout").splitlines():
        source, place = line.split()
        expected = (TOP / source).read_bytes()
        if "/man/" in place:
            assert gzip.decompress((root / f"{place}.gz").read_bytes()) == expected
        else:
            assert (root / place).read_bytes() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(root, shell):
    """Each shell finds the completion that click makes for it."""
    place = told("sh", "-c", f'. scripts/layout && echo "${shell}_completion"').strip()

    assert f"_DRIVEPREP_COMPLETE={shell}_complete" in (root / place).read_text()


def test_command_runs_from_a_folder_of_its_own(root, tmp_path):
    """Our package `daemon` is not importable by others, and no other is imported instead."""
    command, library = root / "usr/bin/driveprep", root / "usr/share/driveprep"
    (tmp_path / "daemon.py").write_text("raise SystemExit('a stranger')")
    script = command.read_text()
    shebang, _, code = script.partition("\n")
    code = code.replace("/usr/share/driveprep", str(library))
    code = code.replace("main()", "print(main.__code__.co_filename)\nmain()")

    done = subprocess.run(
        [sys.executable, *shebang.split()[1:], "-c", code, "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shebang == "#!/usr/bin/python3 -Ps"
    assert stat.S_IMODE(command.stat().st_mode) == 0o755
    assert done.stdout.splitlines() == [
        str(library / "daemon/cli/main.py"),
        f"driveprep, version {PROJECT['version']}",
    ]
    assert list(root.rglob("python3*/**/daemon")) == []
    assert list(root.rglob("__pycache__")) == []


def test_it_asks_for_what_pyproject_asks_for(packages):
    """The libraries and versions are written in two files, which must agree."""
    depends = told("dpkg-deb", "--field", packages[0], "Depends").strip().split(", ")
    wanted = re.findall(r"^(\S+)>=(\S+)$", "\n".join(PROJECT["dependencies"]), re.MULTILINE)
    assert len(wanted) == len(PROJECT["dependencies"])
    names = {name: "yaml" if name == "PyYAML" else name for name, _ in wanted}
    libraries = {f"python3-{names[name]} (>= {version})" for name, version in wanted}

    assert {one for one in depends if one.startswith("python3-")} == libraries
    assert f"python3 ({PROJECT['requires-python'][:2]} {PROJECT['requires-python'][2:]})" in depends
    assert {"fdisk", "ntfs-3g", "systemd", "udev"} <= set(depends)


def test_version(packages):
    """It is the version in pyproject.toml."""
    for package in packages:
        version = told("dpkg-deb", "--field", package, "Version").strip()
        assert version == f"{PROJECT['version']}-1"


def test_what_apt_does_after_unpacking(packages, tmp_path):
    """It makes the user, the folders and the service, in this order."""
    told("dpkg-deb", "--control", packages[0], tmp_path)
    done = (tmp_path / "postinst").read_text()

    places = [
        done.find(words)
        for words in (
            'systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} driveprep.conf',
            "py3compile -p driveprep /usr/share/driveprep",
            'systemd-tmpfiles ${DPKG_ROOT:+--root="$DPKG_ROOT"} --create driveprep.conf',
            "deb-systemd-helper enable 'driveprep.service'",
            "deb-systemd-invoke $_dh_action 'driveprep.service'",
        )
    ]
    assert -1 not in places
    assert places == sorted(places)
    assert "deb-systemd-invoke stop 'driveprep.service'" in (tmp_path / "prerm").read_text()


def test_config_is_for_root_and_the_group(root):
    """Like with scripts/install, it is the example; only root and the group may read it."""
    config = root / "etc/driveprep/config.yml"
    status = config.stat()
    group = re.search(r"^driveprep:[^:]*:(\d+):", (root / "etc/group").read_text(), re.MULTILINE)

    assert config.read_bytes() == (TOP / "config.example.yml").read_bytes()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o640, 0)
    assert status.st_gid == (root / "var/lib/driveprep/pending").stat().st_gid == int(group[1])


def test_the_udev_rule_is_asked_for_by_a_package_of_its_own(packages, root, tmp_path):
    """Drives are mounted automatically only if driveprep-automount is installed."""
    told("dpkg-deb", "--extract", packages[1], tmp_path)

    assert not (root / RULE).exists()
    assert (tmp_path / RULE).read_bytes() == (TOP / "systemd/udev" / Path(RULE).name).read_bytes()


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_scripts_leave_a_package_alone(root, script):
    """What apt has installed, apt must remove; the error says how."""
    before = sorted(root.rglob("*"))

    done = subprocess.run(
        [TOP / "scripts" / script, "--root", root], capture_output=True, text=True, check=False
    )

    assert done.returncode == 69
    assert "apt remove driveprep" in done.stderr
    assert sorted(root.rglob("*")) == before


@pytest.fixture(scope="module")
def board(packages):
    """The package of the board."""
    [package] = packages[0].parent.glob("driveprep-board_*.deb")
    return package


def test_the_board_is_a_package_of_its_own(root, board, tmp_path):
    """Its code, its units and its monitoring are in no other; it has all of them."""
    told("dpkg-deb", "--extract", board, tmp_path)

    for line in told("sh", "-c", ". scripts/layout && layout_board").splitlines():
        source, place = line.split()
        assert (tmp_path / place).read_bytes() == (TOP / source).read_bytes()
        assert not (root / place).exists()
    assert (tmp_path / "usr/share/driveprep/daemon/board/page/static").is_dir()
    assert not (root / "usr/share/driveprep/daemon/board").exists()


def test_the_board_asks_for_what_its_extra_asks_for(board):
    """The libraries and versions are written in two files, which must agree."""
    depends = told("dpkg-deb", "--field", board, "Depends").strip().split(", ")
    extra = PROJECT["optional-dependencies"]["board"]
    libraries = {
        f"python3-{name} (>= {version})" for name, version in (one.split(">=") for one in extra)
    }

    assert {one for one in depends if one.startswith("python3-")} == libraries


def test_the_boards_socket_is_started_and_not_the_service(board, tmp_path):
    """The first connection starts it."""
    told("dpkg-deb", "--control", board, tmp_path)
    done = (tmp_path / "postinst").read_text()

    places = [
        done.find(words)
        for words in (
            'systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} driveprep-board.conf',
            'systemd-tmpfiles ${DPKG_ROOT:+--root="$DPKG_ROOT"} --create driveprep-board.conf',
            "deb-systemd-helper enable 'driveprep-board.socket'",
            "deb-systemd-invoke $_dh_action 'driveprep-board-config.path' 'driveprep-board.socket'",
        )
    ]
    assert -1 not in places
    assert places == sorted(places)
    assert "enable 'driveprep-board.service'" not in done
