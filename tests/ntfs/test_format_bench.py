"""A bench of disks that are formatted together: `driveprep format --batch`, as a program.

Real disks on loop devices; udev's database, with bays and serials, is written for them.
"""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import udev_database
from loop_drives import MIB, attach, detach, run

udev = udev_database.udev

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
        assert "--erase" in said or disk is unreadable, said
