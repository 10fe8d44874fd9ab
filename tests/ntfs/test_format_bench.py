"""A bench of disks that are formatted together: `driveprep format --batch`, as a program.

Real disks on loop devices; udev's database, with bays and serials, is written for them.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import daemon_process
import pytest
import udev_database
from as_operator import new_device_id, prepared_once
from loop_drives import MIB, attach, detach, drivers_of, run, wait_until

service, start, udev = daemon_process.service, daemon_process.start, udev_database.udev

RESERVED = "type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE"  # Microsoft reserved
DATA = "type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
ENDPOINT = "endpoint: http://127.0.0.1:1\ncredentials: {access_key_id: AK, secret_access_key: x}\n"


@dataclass
class Disk:
    """A disk in a bay; its serial is known to udev."""

    number: int
    image: Path
    node: str

    @property
    def bay(self) -> str:
        """The name of its bay in the configuration."""
        return f"bay {self.number}"

    @property
    def serial(self) -> str:
        """Its serial."""
        return f"WX{self.number:06}"

    def sum(self) -> str:
        """Return a digest of all bytes on the medium."""
        return hashlib.sha256(self.image.read_bytes()).hexdigest()

    def partition(self, *lines: str) -> None:
        """Write a GPT with these partitions and have the kernel show them."""
        command = ["sfdisk", "--quiet", "--wipe=never", "--no-tell-kernel", str(self.image)]
        text = "\n".join(["label: gpt", *lines, ""]).encode()
        subprocess.run(command, input=text, check=True)
        if lines:
            run("partx", "--update", self.node)

    def make_ntfs(self, label: str, part: str = "p1") -> None:
        """Make an empty NTFS on it, or on its partition."""
        run("mkfs.ntfs", "-F", "-Q", "-q", "-L", label, f"{self.node}{part}")

    def labels(self) -> list[str]:
        """Return the labels of its NTFS partitions, as the medium has them."""
        parts = sorted(Path("/dev").glob(f"{Path(self.node).name}p*"))
        lines = [line for part in parts for line in run("blkid", "-p", "-o", "udev", part).split()]
        return [one.partition("=")[2] for one in lines if one.startswith("ID_FS_LABEL_ENC=")]


@dataclass
class Bench:
    """Disks in numbered bays, a configuration with these bays, and the command."""

    folder: Path
    udev: udev_database.UdevDatabase
    disks: list[Disk] = field(default_factory=list)

    def add(self, size: int = 24 * MIB) -> Disk:
        """Plug in a blank disk."""
        number = len(self.disks) + 1
        image = self.folder / f"disk{number}.img"
        with image.open("wb") as file:
            file.truncate(size)
        disk = Disk(number, image, attach(image, "--partscan"))
        self.disks.append(disk)
        self.describe(disk)
        return disk

    def describe(self, disk: Disk, path: str | None = None) -> None:
        """Have udev know its serial and its port."""
        port = path or f"usb-{disk.number}"
        self.udev.describe(disk.node, ID_PATH=port, ID_SERIAL_SHORT=disk.serial)

    def command(self, text: str | bytes, *options: str, more: str = "") -> list[str]:
        """Return the command line for a list, with a configuration that is written for it."""
        config, listing = self.folder / "config.yml", self.folder / "list.csv"
        bays = json.dumps({disk.bay: f"usb-{disk.number}" for disk in self.disks})
        config.write_text(f"{ENDPOINT}bays: {bays}\n{more}")
        config.chmod(0o600)
        listing.write_bytes(text if isinstance(text, bytes) else text.encode())
        program = [sys.executable, "-m", "daemon", "format", "--config", str(config)]
        return [*program, "--batch", str(listing), *options]

    def format(
        self, text: str | bytes, *options: str, more: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it without a terminal."""
        command = self.command(text, *options, more=more)
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def typed(self, answer: str, text: str, *options: str) -> tuple[int, str]:
        """Run it with a person at a terminal who types this; return exit code and output."""
        terminal, theirs = pty.openpty()
        command = self.command(text, *options)
        child = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        os.close(theirs)
        os.write(terminal, f"{answer}\n".encode())
        said = child.communicate(timeout=60)[0]
        os.close(terminal)
        return child.returncode, said

    def refuses(self, text: str, *options: str, more: str = "") -> str:
        """Check that it is refused, and that no byte of any disk has changed; return the reason."""
        before = [disk.sum() for disk in self.disks]
        done = self.format(text, *options, more=more)
        assert done.returncode != 0, done.stdout
        assert [disk.sum() for disk in self.disks] == before
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def bench(tmp_path, real_drives_work, udev) -> Iterator[Bench]:
    """A bench without disks; all that are added are removed."""
    bench = Bench(tmp_path, udev)
    yield bench
    subprocess.run(["umount", "--lazy", tmp_path / "media"], capture_output=True, check=False)
    for disk in bench.disks:
        subprocess.run(["partx", "--delete", disk.node], capture_output=True, check=False)
        detach(disk.image)


def put_a_file(disk: Disk, folder: Path, part: str = "p1") -> None:
    """Have a drive hold someone's work."""
    (place := folder / "media").mkdir(exist_ok=True)
    run("mount", "-t", "ntfs-3g", f"{disk.node}{part}", place)
    (place / "thesis.doc").write_text("the only copy")
    run("umount", place)


def test_disks_with_nothing_on_them_need_no_question(bench):
    """One that is blank, one with a file system and no table, one as Windows makes it."""
    blank, bare, windows = bench.add(), bench.add(), bench.add()
    bare.make_ntfs("OLD", part="")
    windows.partition(f"size=4MiB,{RESERVED}", DATA)
    windows.make_ntfs("New Volume", part="p2")

    done = bench.format(
        b"\xef\xbb\xbfbay;serial;deviceId;device\r\n"
        b"bay 1;;HD001;\r\n"
        b";WX000002;HD002;\r\n" + f'"";;"HD003";{windows.node}\r\n;;;\r\n'.encode()
    )

    assert done.returncode == 0, done.stderr
    assert [disk.labels() for disk in bench.disks] == [["HD001"], ["HD002"], ["HD003"]]
    shown, results = done.stdout[: done.stdout.rindex("HD001")], done.stdout.splitlines()
    assert all(name in shown for name in ("bay 2", blank.node, "WX000003", "OLD", "empty"))
    assert sum("NTFS on" in line for line in results) == 3
    assert "3 of 3 disks are NTFS, as read back" in results


def test_a_disk_that_is_not_empty_needs_erase_and_the_number(bench, tmp_path):
    """Without both, no disk is touched, not even the blank one beside it."""
    blank, used, used_too = bench.add(), bench.add(), bench.add()
    for disk in (used, used_too):
        disk.partition(DATA)
        disk.make_ntfs("OLD")
        put_a_file(disk, tmp_path)
    text = "bay,deviceId\nbay 1,HD001\nbay 2,HD002\nbay 3,HD003\n"

    said = bench.refuses(text)
    assert "--erase" in said
    assert used.node in said
    assert blank.node not in said
    assert "at a terminal" in bench.refuses(text, "--erase")
    for wrong in ("3", "y", ""):
        before = [disk.sum() for disk in bench.disks]
        code, said = bench.typed(wrong, text, "--erase")
        assert code == 75, said
        assert "thesis.doc" in said
        assert [disk.sum() for disk in bench.disks] == before

    code, said = bench.typed("2", text, "--erase")

    assert code == 0, said
    assert [disk.labels() for disk in bench.disks] == [["HD001"], ["HD002"], ["HD003"]]


def test_what_only_looks_empty_is_not(bench):
    """A whole-disk signature beside an empty partition, partitions or tables without any."""
    hybrid, unknown, table, unreadable = (bench.add() for _ in range(4))
    hybrid.partition(DATA)
    hybrid.make_ntfs("OLD")
    with hybrid.image.open("r+b") as file:
        file.seek(32768)
        file.write(b"\x01CD001\x01\x00")
    unknown.partition(f"size=8MiB,{DATA}", DATA)
    unknown.make_ntfs("OLD")
    table.partition()
    run("blockdev", "--flushbufs", hybrid.node)
    os.truncate(unreadable.image, 0)  # each read now fails, and blkid finds nothing

    for disk in bench.disks:
        said = bench.refuses(f"bay,deviceId\n{disk.bay},HD001\n")
        assert ("cannot be read" if disk is unreadable else "--erase") in said


def test_every_fault_of_a_list_is_found_at_its_place(bench, tmp_path):
    """With what was meant; nothing is written to any disk."""
    for _ in range(4):
        bench.add()
    mounted = bench.disks[3]
    mounted.partition(DATA)
    mounted.make_ntfs("OLD")
    (place := tmp_path / "media").mkdir()
    run("mount", "-t", "ntfs-3g", "-o", "ro", f"{mounted.node}p1", place)

    said = bench.refuses(
        "bay,serial,device,deviceId\n"
        "bay 1,,,HD001\n"
        "bay1,,,HD002\n"
        ",wx-000002,,HD003\n"
        ",,/dev/none,HD004\n"
        "bay 2,WX000003,,HD005\n"
        ",WX000001,,HD006\n"
        "bay 3,,,\n"
        ",,,HD008\n"
        "bay 3,,,HD001\n"
        "bay 4,,,HD010\n"
    )

    for place, words in {
        "3:1": "did you mean bay 1?",
        "4:2": "did you mean WX000002?",
        "5:3": "No such file",
        "6:7": "is another disk",
        "7:2": "is already on line 2",
        "8:9": "is empty",
        "9:4": "no disk is named",
        "10:9": "HD001 is already on line 2",
        "11:1": "is mounted at",
    }.items():
        assert any(f"list.csv:{place}: " in line and words in line for line in said.splitlines()), (
            place,
            said,
        )


def test_columns_must_be_known(bench):
    """A misspelt one is named with the one that was meant."""
    bench.add()

    said = bench.refuses("Bay,device-id\nbay 1,HD001\n")
    assert "list.csv:1:1: Bay: is not a known column; did you mean bay?" in said
    assert "list.csv:1:5: device-id: is not a known column; did you mean deviceId?" in said
    assert "list.csv:1:1: " in bench.refuses("deviceId\nHD001\n")
    assert "no rows" in bench.refuses("bay,deviceId\n")


def test_a_disk_outside_of_the_bays_needs_internal_and_with_only_bays_never_counts(bench):
    """A loop device is not removable; a named bay makes it so."""
    disk = bench.add()
    bench.describe(disk, "usb-elsewhere")
    text = f"device,deviceId\n{disk.node},HD001\n"

    assert "is not removable" in bench.refuses(text)
    assert "not in a named bay" in bench.refuses(text, "--internal", more="only_bays: true\n")
    assert bench.format(text, "--internal").returncode == 0


def test_two_disks_on_one_path_are_refused(bench):
    """Which of them is in the bay is not known; both are named."""
    first, second = bench.add(), bench.add()
    bench.describe(second, "usb-1")

    for column, value in (("bay", "bay 1"), ("device", first.node)):
        said = bench.refuses(f"{column},deviceId\n{value},HD001\n")
        assert first.node in said
        assert second.node in said


def test_a_disk_that_fails_stops_no_other(bench):
    """The table of results names it with the reason, and the exit code says so."""
    good, small, last = bench.add(), bench.add(MIB + 256 * 1024), bench.add()

    done = bench.format("bay,deviceId\nbay 1,HD001\nbay 2,HD002\nbay 3,HD003\n")

    assert done.returncode == 75
    assert (good.labels(), last.labels()) == (["HD001"], ["HD003"])
    (line,) = (one for one in done.stdout.splitlines() if "HD002" in one and "failed" in one)
    assert small.node in line


def test_a_faulty_configuration_is_not_ignored(bench):
    """It may say `only_bays`."""
    disk = bench.add()

    said = bench.refuses(
        f"device,deviceId\n{disk.node},HD001\n", "--internal", more="only_bay: 1\n"
    )

    assert "only_bay" in said


def test_rows_whose_disks_are_not_here_can_be_left_out(bench):
    """They are named; a bay that the configuration does not have is a fault all the same."""
    disk = bench.add()
    text = "serial,bay,deviceId,operations[0].exportBucket\nWX000001,,HD001,b\nWX000009,,HD009,b\n"

    assert "no disk with the serial WX000009 is here" in bench.refuses(text)
    assert "is not a bay" in bench.refuses(f"{text},bay 9,HD010,b\n", "--present")
    done = bench.format(text, "--present")

    assert done.returncode == 0, done.stderr
    assert "left out, not here: HD009" in done.stderr
    assert disk.labels() == ["HD001"]


def test_a_prepared_drive_that_has_not_left_is_not_nothing(plug, service, start, tmp_path):
    """Its root has only SIGNATURE, but that would be lost; once it has left, nothing would."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    job_id = prepared_once(service, daemon, drive.mount_point, drive.label).job_id
    drive.unmount()
    wait_until("its driver has ended", lambda: not drivers_of(drive))
    listing = tmp_path / "list.csv"
    listing.write_text(f"device,deviceId\n{drive.device},{drive.label}\n")

    refused = daemon.command("format", "--batch", listing, "--internal")

    assert refused.returncode == 75
    assert f"the drive of job {job_id} for {drive.label}" in refused.stdout
    assert "--erase" in refused.stderr
    shipped = daemon.command("shipped", drive.label)
    assert shipped.returncode == 0, shipped.stderr
    done = daemon.command("format", "--batch", listing, "--internal")
    assert done.returncode == 0, done.stderr


def test_after_ctrl_c_each_disk_is_ready_or_untouched(bench):
    """What is under way is finished; no other disk is begun, and the table says so."""
    disks = [bench.add() for _ in range(12)]
    before = [disk.sum() for disk in disks]
    rows = "".join(f"{disk.bay},HD{disk.number:03}\n" for disk in disks)
    child = subprocess.Popen(
        bench.command(f"bay,deviceId\n{rows}"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until("the first is written to", lambda: disks[0].sum() != before[0])
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)[1]

    assert "Traceback" not in said
    made = [disk for disk, was in zip(disks, before, strict=True) if disk.sum() != was]
    assert made
    assert [disk.labels() for disk in made] == [[f"HD{disk.number:03}"] for disk in made]
    assert child.returncode == (75 if len(made) < len(disks) else 0), said
