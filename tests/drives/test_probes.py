"""udev and blkid are asked for the identity of a device; a drive that hangs is abandoned."""

import os
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from udev_properties import BLKID, DISK, NTFS, UDEV

from daemon.drives import probes
from daemon.drives.identity import Identity, parse, read
from daemon.drives.probes import Blkid, Identities, Udev
from daemon.errors import DriveError
from daemon.system import programs


def test_what_is_on_the_medium_wins_over_udevs_database():
    """After mkfs, udev's database lags behind: nothing of the old file system is kept."""
    ask = Identities(udev=lambda number: {**UDEV, **NTFS, **DISK}, blkid=lambda node: parse(BLKID))

    assert ask.described(1, 1).label == "A B"
    assert ask.probed(1, 1, "/dev/sdb1").label == 'AWS "x" 01'
    assert ask.probed(1, 1, "/dev/sdb1").serial == "WX11"


def test_a_label_that_mkfs_removed_is_gone():
    """A new file system without a label does not inherit the old one's from udev."""
    ask = Identities(
        udev=lambda number: {**UDEV, **NTFS}, blkid=lambda node: {"ID_FS_TYPE": "ext4"}
    )

    assert ask.probed(1, 1, "/dev/sdb1") == Identity(file_system="ext4", by_udev=True)


def test_udev_counts_if_there_are_no_device_nodes():
    """In a sandbox with PrivateDevices, blkid cannot read the device."""
    ask = Identities(udev=lambda number: {**UDEV, **NTFS}, blkid=lambda node: None)

    assert ask.probed(1, 1, "/dev/sdb1").label == "A B"


def test_a_drive_without_an_answer_is_reported():
    """What was asked is said: the medium itself, udev alone, or neither."""
    read_it = Identities(udev=lambda number: {}, blkid=lambda node: {})
    in_a_sandbox = Identities(udev=lambda number: UDEV, blkid=lambda node: None)
    nobody = Identities(udev=lambda number: {}, blkid=lambda node: None)

    assert read_it.described(1, 1) is None
    empty, unread, unknown = (
        ask.probed(1, 1, "/dev/sdb1") for ask in (read_it, in_a_sandbox, nobody)
    )
    assert (empty.trouble, empty.is_empty) == ("no file system is found on /dev/sdb1", True)
    assert (unread.trouble, unread.is_empty) == ("udev knows no file system on /dev/sdb1", False)
    assert unknown.trouble == "neither udev nor blkid knows a file system on /dev/sdb1"


def test_an_identity_is_final_once_udev_has_answered(tmp_path, monkeypatch):
    """While udev is running, blkid's answer lacks the serial, so the drive is asked again."""
    control = tmp_path / "control"
    monkeypatch.setattr(probes, "UDEV_CONTROL", control)
    by_udev, by_blkid = read({**UDEV, **NTFS}, DISK), read(parse(BLKID), {})
    ask = Identities(udev=lambda number: {}, blkid=lambda node: {})

    assert ask.is_final(by_blkid)
    control.touch()
    assert not ask.is_final(by_blkid)
    assert ask.is_final(by_udev)
    assert not ask.is_final(Identity(by_udev=True, trouble="hung"))


def test_udev_knows_nothing_about_a_missing_device():
    """It was unplugged between two scans."""
    assert Udev().properties(os.makedev(4095, 4095)) == {}


def test_blkid_finds_nothing_on_a_missing_device(tmp_path, monkeypatch):
    """Without a device node there is no error, and no child process is started."""
    monkeypatch.setattr(programs.Abandonable, "run", None)

    assert Blkid().properties(str(tmp_path / "none")) is None


def test_blkid_finds_nothing_in_an_empty_file(tmp_path):
    """A file without a file system has no properties."""
    (tmp_path / "empty").touch()

    assert Blkid().properties(str(tmp_path / "empty")) == {}


def test_a_machine_without_blkid_has_udev(tmp_path, monkeypatch):
    """Not installed, or not executable, is treated like not allowed."""
    node, broken = tmp_path / "sdb1", tmp_path / "blkid"
    node.write_text("awake")
    broken.write_text("not a program")
    broken.chmod(0o755)

    for program in ("driveprep-no-such-program", str(broken)):
        monkeypatch.setattr(probes, "BLKID", [program])
        assert Blkid().properties(str(node)) is None


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A blkid that does not answer while the file that it reads is empty."""
    program = tmp_path / "blkid"
    program.write_text(
        f'#!/bin/sh\necho $$ >> {tmp_path}/started\nwhile [ ! -s "$1" ]; do sleep 0.01; done\n'
        "echo ID_FS_TYPE=ntfs\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(probes, "BLKID", [str(program)])
    monkeypatch.setattr(probes, "BLKID_SECONDS", 0.2)
    monkeypatch.setattr(programs, "KILL_SECONDS", 0.2)
    return tmp_path / "started"


def test_a_drive_that_never_answers_is_abandoned(hanging, tmp_path):
    """The caller gets its answer in time: the serial is known, the label is not."""
    node = tmp_path / "sdb1"
    node.touch()
    ask = Identities(udev=lambda number: {**UDEV, **NTFS, **DISK}, blkid=Blkid().properties)

    before = time.monotonic()
    one = ask.probed(1, 1, str(node))

    assert time.monotonic() - before < 2
    assert "did not answer within 0.2 s" in one.trouble
    assert (one.label, one.serial) == (None, "WX11")


def test_no_second_child_is_started_while_one_hangs(hanging, tmp_path, monkeypatch):
    """While one hangs in the kernel, the error comes at once; then the drive is asked again."""
    node = tmp_path / "sdb1"
    node.touch()
    blkid = Blkid()
    killed = threading.Event()
    # A child in the kernel's D state does not react to SIGKILL; ours ends when the test lets it.
    monkeypatch.setattr(subprocess.Popen, "kill", lambda child: killed.set())
    with pytest.raises(DriveError, match="did not answer"):
        blkid.properties(str(node))
    assert killed.is_set()

    with pytest.raises(DriveError, match="still does not answer") as caught:
        blkid.properties(str(node))
    assert caught.value.code == "drive-hung"
    assert len(hanging.read_text().split()) == len(blkid._children) == 1

    node.write_text("awake")
    deadline = time.monotonic() + 10
    while len(blkid._children) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert blkid.properties(str(node)) == {"ID_FS_TYPE": "ntfs"}
