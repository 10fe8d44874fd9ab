"""Formatting real disks: loop devices are erased, or left byte for byte as they were."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
from as_operator import new_device_id
from loop_drives import MIB, attach, detach, run, wait_until

from daemon.cli.formatting import one as format_command
from daemon.cli.formatting.plan import Rules
from daemon.drives.identity import decode
from daemon.drives.inventory import Drives
from daemon.drives.medium import formatting
from daemon.drives.probes import Blkid
from daemon.drives.recognition import Recognition
from daemon.errors import DriveError
from daemon.system import programs

LABEL = new_device_id()


@dataclass
class Disk:
    """An image on a loop device."""

    image: Path
    node: str

    def partition(self) -> Path:
        """Return the node of its first partition."""
        return Path(f"{self.node}p1")

    def sum(self) -> str:
        """Return a digest of all bytes on the medium."""
        node = os.open(self.node, os.O_RDONLY)
        os.fsync(node)
        os.close(node)
        return hashlib.sha256(self.image.read_bytes()).hexdigest()

    def format(self, answer: str | None = None, device_id: str = LABEL, **more) -> str:
        """Format it, with the deviceId as the answer by default; return the question."""
        asked: list[str] = []

        def ask(question: str) -> str:
            asked.append(question)
            return device_id if answer is None else answer

        rules = Rules(**{"recognition": Recognition(), "disks": (), "internal": True} | more)
        format_command.run(Path(self.node), device_id, ask, rules)
        return asked[0]

    def refuses(self, words: str, **more) -> DriveError:
        """Check that it is refused with these words, and that no byte of it has changed."""
        before = self.sum()
        with pytest.raises(DriveError, match=words) as caught:
            self.format(**more)
        assert self.sum() == before
        return caught.value


@pytest.fixture
def disk(tmp_path: Path, real_drives_work: None) -> Iterator[Disk]:
    """A disk that was an ext4 drive with a partition before, and a live CD before that."""
    image = tmp_path / "whole.img"
    with image.open("wb") as file:
        file.truncate(24 * MIB)
        file.seek(32768)
        file.write(b"\x01CD001\x01\x00")
    table = b"label: dos\nstart=1MiB,size=8MiB\n,\n"
    # It would sync() everything, and wait for a drive that another test makes hang.
    sfdisk = ["sfdisk", "--quiet", "--wipe=never", "--no-tell-kernel", str(image)]
    subprocess.run(sfdisk, input=table, check=True)
    disk = Disk(image, attach(image, "--partscan"))
    run("partx", "--update", disk.node)
    try:
        run("mkfs.ext4", "-F", "-q", "-L", "OLD", disk.partition())
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", tmp_path / "media"], capture_output=True, check=False)
        subprocess.run(["partx", "--delete", disk.node], capture_output=True, check=False)
        detach(image)


def signatures(node: str | Path) -> set[str]:
    """Return the types of everything that libblkid finds on a device."""
    return set(run("wipefs", "--noheadings", "--output", "TYPE", node).split())


def test_a_disk_becomes_the_drive_of_its_device_id(disk, tmp_path):
    """It has one GPT partition with NTFS, no traces of the past, and it is recognised."""
    question = disk.format()

    assert "type the deviceId" in question
    assert signatures(disk.node) == {"gpt", "PMBR"}
    assert signatures(disk.partition()) == {"ntfs", "dos"}  # an NTFS boot sector ends as a DOS one
    (part,) = run("sfdisk", "--dump", disk.node).split("\n\n")[1].splitlines()
    assert "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" in part
    start, size = (int(number) for number in re.findall(r"(?:start|size)= *(\d+)", part))
    assert (start, size // 2048) == (2048, 22)  # sectors; 24 MiB less one before and one after
    place = tmp_path / "media"
    place.mkdir()
    run("mount", "-t", "ntfs-3g", disk.partition(), place)
    drive = Recognition().pick(LABEL, "NTFS", Drives().mounted())
    assert drive.mount_point == str(place)
    Drives().verify(drive, "NTFS")


def test_it_can_be_repeated(disk):
    """With a long label in another script, and with another UUID even in the same second."""
    second = f"{LABEL} Prüfung {'😀' * 20}"
    disk.format()
    before = Blkid().properties(str(disk.partition()))

    disk.format(device_id=second)

    after = Blkid().properties(str(disk.partition()))
    assert decode(before["ID_FS_LABEL_ENC"]) == LABEL
    assert decode(after["ID_FS_LABEL_ENC"]) == second
    assert before["ID_FS_UUID"] != after["ID_FS_UUID"]


def test_no_program_gets_our_environment(disk, tmp_path, monkeypatch):
    """blkid, sfdisk, partx, mkfs.ntfs and the rest do not see an exported AWS key."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    folder = tmp_path / "wrappers"
    folder.mkdir()
    for name in formatting.FORMAT_PROGRAMS:
        real = programs.find(name, programs.SYSTEM)
        (folder / name).write_text(f'#!/bin/sh\nenv > {folder}/seen-{name}\nexec {real} "$@"\n')
        (folder / name).chmod(0o755)
    path = f"{folder}:{programs.SYSTEM['PATH']}"
    monkeypatch.setattr(programs, "SYSTEM", {**programs.SYSTEM, "PATH": path})

    disk.format()

    seen = {one.name: one.read_text() for one in folder.glob("seen-*")}
    assert seen.keys() == {f"seen-{name}" for name in formatting.FORMAT_PROGRAMS}
    assert not [name for name, text in seen.items() if "AWS" in text]
    assert signatures(disk.partition()) == {"ntfs", "dos"}


@pytest.mark.parametrize("answer", ["", "y", "yes", "25165824", "HD"])
def test_without_agreement_nothing_is_touched(disk, answer):
    """Only the deviceId counts for a disk without a serial."""
    assert "Nothing was written" in disk.refuses("not the deviceId", answer=answer).hint


def test_the_person_is_shown_what_would_be_lost(disk, capsys):
    """Before the question: the size, each partition, its file system and label."""
    disk.refuses("not the deviceId", answer="no")

    shown = capsys.readouterr().out
    assert f"All that is on {disk.node} will be ERASED" in shown
    assert "25.2 MB (25,165,824 bytes)" in shown
    assert f'{disk.partition()}, 8.4 MB (8,388,608 bytes): ext4 with the label "OLD"' in shown
    assert f"{disk.node}p2" in shown


def test_a_disk_with_a_mounted_partition_is_refused(disk, tmp_path):
    """The error names the mount point and the command to unmount it."""
    place = tmp_path / "media"
    place.mkdir()
    run("mount", "-t", "ext4", "-o", "ro,noload", disk.partition(), place)

    assert disk.refuses(f"is mounted at {place}").hint == f"umount {place}"


def test_a_disk_in_other_use_is_refused(disk):
    """The kernel knows about any use of a part of it, such as by ZFS, RAID or a container."""
    claimed = os.open(disk.partition(), os.O_RDONLY | os.O_EXCL)
    try:
        assert "in use" in disk.refuses("busy").hint
    finally:
        os.close(claimed)


def test_a_partition_that_some_program_has_open_saves_the_disk(disk):
    """It is confirmed, but not erased: this is checked last before the first write."""
    reader = os.open(disk.partition(), os.O_RDONLY)
    try:
        assert "Nothing was written" in disk.refuses("error deleting partition 1").hint
    finally:
        os.close(reader)


def test_while_the_person_is_asked_nobody_can_mount_the_disk(disk, tmp_path):
    """It stays open exclusively from the inspection on: what was shown is what is erased."""
    (place := tmp_path / "media").mkdir()
    told: list[str] = []

    def ask(_: str) -> str:
        command = ["mount", "-t", "ext4", str(disk.partition()), str(place)]
        told.append(subprocess.run(command, capture_output=True, text=True, check=False).stderr)
        return "no"

    with pytest.raises(DriveError, match="not the deviceId"):
        format_command.run(Path(disk.node), LABEL, ask, Rules(Recognition(), (), internal=True))

    assert "already mounted or" in told[0]


def test_udev_leaves_the_disk_alone_until_it_is_proved(disk):
    """udev takes a shared lock before it probes; the disk is locked as long as it is held."""
    device = formatting.find(Path(disk.node))
    udev = os.open(disk.node, os.O_RDONLY)
    try:
        with formatting.hold(device) as descriptor:
            formatting.make_ntfs(device, descriptor, LABEL)
            with pytest.raises(BlockingIOError):
                fcntl.flock(udev, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(udev, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(udev)


def test_a_medium_that_changed_while_the_person_typed_is_not_erased(disk):
    """The medium is not the one that was confirmed."""
    before = disk.image.read_bytes()

    def ask(_: str) -> str:
        with disk.image.open("r+b") as file:
            file.truncate(32 * MIB)
        run("losetup", "--set-capacity", disk.node)
        return LABEL

    with pytest.raises(DriveError, match="was removed") as caught:
        format_command.run(Path(disk.node), LABEL, ask, Rules(Recognition(), (), internal=True))

    assert "Nothing was written" in caught.value.hint
    assert disk.image.read_bytes()[: 24 * MIB] == before


def test_refused_before_anyone_is_asked(disk):
    """Disks that are not removable, labels that are too long, deviceIds mapped otherwise."""
    disk.refuses("is not removable", internal=False)
    disk.refuses("100 characters", device_id="x" * 100)
    disk.refuses("would not be recognised", recognition=Recognition({LABEL: {"serial": "WX11"}}))
    disk.refuses("as OTHER", recognition=Recognition({"OTHER": {"label": LABEL}}))


def test_a_partition_is_refused_and_its_disk_named(disk):
    """The operator needs to know which disk it is a part of."""
    partition = Disk(disk.image, str(disk.partition()))

    assert disk.node in partition.refuses("only whole disks").hint


def test_a_disk_too_small_for_ntfs_is_told_to_be_erased(disk):
    """If mkfs.ntfs fails, the error says that the old contents are lost."""
    with disk.image.open("r+b") as file:
        file.truncate(MIB + 256 * 1024)
    run("partx", "--delete", disk.node)
    run("losetup", "--set-capacity", disk.node)

    with pytest.raises(DriveError, match=r"mkfs\.ntfs failed") as caught:
        disk.format()

    assert "What was on it is lost" in caught.value.hint


def test_a_disk_that_fails_at_the_end_is_told_to_be_erased(disk, monkeypatch):
    """What the kernel reports when all is written out counts, too."""
    monkeypatch.setattr(formatting.os, "fsync", Mock(side_effect=OSError(errno.EIO, "I/O error")))

    with pytest.raises(DriveError, match=f"^{disk.node}: I/O error$") as caught:
        disk.format()

    assert "What was on it is lost" in caught.value.hint


def driveprep(disk: Disk, stdin: int) -> subprocess.Popen[bytes]:
    """Start `driveprep format` as a child process without a configuration."""
    command = [sys.executable, "-m", "daemon", "format", "--internal", disk.node, LABEL]
    return subprocess.Popen(
        [*command, "--config", f"{disk.image}.yml"],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_the_command_asks_at_a_terminal_and_nowhere_else(disk):
    """An answer from a pipe is refused; the same bytes typed at a terminal are accepted."""
    answer = f"{LABEL}\n".encode()
    before = disk.sum()
    piped = driveprep(disk, subprocess.PIPE)
    told = piped.communicate(answer, timeout=30)[0]
    assert (piped.returncode, b"at a terminal" in told) == (75, True), told
    assert disk.sum() == before

    terminal, theirs = pty.openpty()
    typed = driveprep(disk, theirs)
    os.close(theirs)
    os.write(terminal, answer)
    told = typed.communicate(timeout=30)[0]
    os.close(terminal)
    assert (typed.returncode, f"recognised as {LABEL}".encode() in told) == (0, True), told
    wait_until("NTFS is there", lambda: signatures(disk.partition()) == {"ntfs", "dos"})
