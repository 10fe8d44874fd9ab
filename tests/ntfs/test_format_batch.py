"""A bench of disks formatted by a list: real loop devices, as blank, empty or full drives."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import udev_database
from loop_drives import MIB, attach, detach, run

udev = udev_database.udev
ROOT = Path(__file__).parents[2]


@dataclass
class Bench:
    """Disks on loop devices, and a person at a terminal."""

    folder: Path
    disks: list[str]

    def list(self, *rows: str) -> Path:
        """A list as a spreadsheet saves it."""
        file = self.folder / "list.csv"
        file.write_bytes("\r\n".join(["\ufeffbay;serial;device;deviceId", *rows, ""]).encode())
        return file

    def format(self, file: Path, *options: str, typed: str = "") -> tuple[int, str]:
        """Run the command at a terminal; its exit code and what it said."""
        terminal, theirs = pty.openpty()
        config = self.folder / "config.yml"
        command = [sys.executable, "-m", "daemon", "format", "--batch", str(file), *options]
        done = subprocess.Popen(
            [*command, "--config", str(config)],
            cwd=ROOT,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        os.close(theirs)
        os.write(terminal, typed.encode() + b"\n")
        told = done.communicate(timeout=60)[0].decode()
        os.close(terminal)
        return done.returncode, told

    def labels(self) -> list[str]:
        """The label of the first NTFS partition of each disk; "" without one."""
        return [label_of(f"{disk}p1") for disk in self.disks]


def label_of(node: str) -> str:
    """The label of an NTFS partition; "" if there is none."""
    command = ["blkid", "-p", "-s", "LABEL", "-o", "value", node]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def bench(tmp_path: Path, real_drives_work: None) -> Iterator[Bench]:
    """Four blank disks of 24 MiB, and a configuration without bays."""
    images = [tmp_path / f"{number}.img" for number in range(4)]
    for image in images:
        run("truncate", "-s", str(24 * MIB), image)
    (tmp_path / "config.yml").write_text(f"spool: {tmp_path}/spool\n")
    disks = [attach(image, "--partscan") for image in images]
    try:
        yield Bench(tmp_path, disks)
    finally:
        for disk, image in zip(disks, images, strict=True):
            subprocess.run(["partx", "--delete", disk], capture_output=True, check=False)
            detach(image)


def test_blank_disks_need_no_further_question(bench):
    """All of a list at once; then, as empty NTFS drives, once more under other names."""
    for prefix in ("HDA", "HDB"):
        file = bench.list(*(f";;{disk};{prefix}{n}" for n, disk in enumerate(bench.disks)))
        code, told = bench.format(file, "--internal")

        assert code == 0, told
        assert "4 of 4 disks are NTFS, as read back" in told
        assert bench.labels() == [f"{prefix}{number}" for number in range(4)]
    assert 'ntfs "HDA0": empty' in told


def test_a_disk_with_files_needs_a_person(bench, tmp_path):
    """Without --erase nothing is written to any disk; with it, their number must be typed."""
    full = bench.disks[1]
    run("mkfs.ntfs", "-F", "-Q", "-q", "-L", "OLD", full)
    place = tmp_path / "mnt"
    place.mkdir()
    run("mount", "-t", "ntfs-3g", full, place)
    (place / "thesis.doc").write_text("the only copy")
    run("umount", place)
    file = bench.list(*(f";;{disk};HD{n}" for n, disk in enumerate(bench.disks)))

    code, told = bench.format(file, "--internal")
    assert code == 75, told
    assert "thesis.doc" in told
    assert f"not empty: {full}" in told
    code, told = bench.format(file, "--internal", "--erase", typed="4")
    assert code == 75, told
    assert "that is not their number" in told
    assert bench.labels() == [""] * 4
    assert label_of(full) == "OLD"

    code, told = bench.format(file, "--internal", "--erase", typed="1")
    assert code == 0, told
    assert bench.labels() == ["HD0", "HD1", "HD2", "HD3"]


def test_other_contents_count_as_something(bench):
    """Two partitions, a partition table alone, and a file system that cannot be looked into."""
    table = b"label: gpt\n1MiB,8MiB\n,\n"
    for disk, text in ((bench.disks[0], table), (bench.disks[1], b"label: gpt\n")):
        subprocess.run(["sfdisk", "--quiet", "--no-tell-kernel", disk], input=text, check=True)
    run("partx", "--update", bench.disks[0])
    run("mkswap", bench.disks[2])
    file = bench.list(*(f";;{disk};HD{n}" for n, disk in enumerate(bench.disks)))

    code, told = bench.format(file, "--internal")

    assert code == 75, told
    assert "2 partitions" in told
    assert "a partition table without partitions" in told
    assert f"not empty: {', '.join(bench.disks[:3])}" in told


def test_bays_and_serials_name_disks(bench, udev):
    """A disk in a named bay needs no --internal; what contradicts itself is a fault of its cell."""
    for number, disk in enumerate(bench.disks):
        udev.describe(disk, ID_PATH=f"ata-{number}", ID_SERIAL_SHORT=f"WX-{number}")
    bays = "".join(f"  bay {number}: ata-{number}\n" for number in range(3))
    config = bench.folder / "config.yml"
    config.write_text(config.read_text() + f"bays:\n{bays}")

    rows = ("bay 0;;;HD0", ";WX-1;;HD1", f"bay 2;WX-2;{bench.disks[2]};HD2")
    code, told = bench.format(bench.list(*rows))
    assert code == 0, told
    assert bench.labels()[:3] == ["HD0", "HD1", "HD2"]
    (row,) = (line for line in told.splitlines() if "NTFS on" in line and "HD0" in line)
    assert row.startswith("bay 0")

    wrong = ("bay 9;;;HD0", "bay 1;WX-2;;HD1", ";WX-3;;HD3", "bay 0;;;HD0", ";;;HD5", ";WX-7;;HD6")
    code, told = bench.format(bench.list(*wrong))
    assert code == 65, told
    for said in (
        "list.csv:2:1: bay: bay 9 is not a bay; `bays` in config.yml has: bay 0, bay 1, bay 2",
        "list.csv:3:7: serial: WX-2 is another disk than bay 1",
        f"list.csv:4:2: {bench.disks[3]} is not removable",
        "list.csv:5:9: the deviceId",
        "list.csv:6:4: no disk is named",
        "list.csv:7:2: serial: no disk with the serial WX-7 is here",
        "Nothing was written",
    ):
        assert said in told, told
    assert bench.labels() == ["HD0", "HD1", "HD2", ""]


def test_a_disk_in_use_is_refused_with_its_line(bench, tmp_path):
    """A mounted one, and the running system's, before any other is touched."""
    run("mkfs.ntfs", "-F", "-Q", "-q", "-L", "USED", bench.disks[0])
    place = tmp_path / "mnt"
    place.mkdir()
    run("mount", "-t", "ntfs-3g", bench.disks[0], place)
    try:
        rows = [f";;{disk};HD{n}" for n, disk in enumerate(bench.disks)]
        code, told = bench.format(bench.list(*rows), "--internal", "--erase")
    finally:
        run("umount", place)

    assert code == 65, told
    assert f"list.csv:2:3: {bench.disks[0]} is mounted at {place}" in told
    assert bench.labels() == [""] * 4


def test_wrong_use(bench):
    """A list and a device exclude each other; without a terminal no one is asked."""
    file = bench.list(f";;{bench.disks[0]};HD0")
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "format", "--batch", file, bench.disks[0], "HD0"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 64
