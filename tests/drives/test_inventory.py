"""The drives of a machine that consists of a fake mount table and a fake sysfs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.drives import mounts, sysfs
from daemon.drives.checks import check_usable
from daemon.drives.inventory import Drives, is_still
from daemon.drives.probes import Identities
from daemon.errors import DriveError


class Machine:
    """A mount table, a sysfs and blkid's answers, which tests change between scans."""

    def __init__(self, folder: Path) -> None:
        self.table = folder / "mountinfo"
        self.sys = folder / "block"
        self.by_number = folder / "dev"
        self.asked: list[str] = []
        self.labels: dict[str, str] = {}
        self.sys.mkdir()
        self.by_number.mkdir()
        self.table.write_text("27 1 254:0 / / rw - overlay none rw\n")
        self.drives = Drives(Identities(udev=lambda number: {}, blkid=self._blkid))

    def device(
        self, name: str, minor: int, *, disk: str = "", diskseq: int | None = 7, **facts: str | int
    ) -> None:
        """A disk, or a partition of the disk of that name."""
        folder = self.sys / disk / name if disk else self.sys / name
        folder.mkdir(exist_ok=True)
        if disk and not (self.sys / name).exists():
            (self.sys / name).symlink_to(folder)
        kind = "partition" if disk else "disk"
        uevent = f"MAJOR=8\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE={kind}\n"
        uevent += f"DISKSEQ={diskseq}\n" if diskseq and not disk else ""
        files = {"size": 2048, "ro": 0, "uevent": uevent} | ({"partition": 1} if disk else {})
        for file, text in (files | facts).items():
            (folder / file).write_text(f"{text}\n")
        link = self.by_number / f"8:{minor}"
        if not link.is_symlink():
            link.symlink_to(folder)

    def mount(self, minor: int, place: str, *, root="/", options="rw", major=8) -> None:
        """One more line of the table."""
        line = f"{100 + minor} 27 {major}:{minor} {root} {place} {options} - fuseblk x rw\n"
        self.table.write_text(self.table.read_text() + line)

    def _blkid(self, node: str) -> dict[str, str]:
        self.asked.append(node)
        if node not in self.labels:
            return {}
        return {"ID_FS_TYPE": "ntfs", "ID_FS_LABEL_ENC": self.labels[node]}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with one disk sda of one NTFS partition sda1, mounted at /media/a."""
    machine = Machine(tmp_path)
    monkeypatch.setattr(mounts, "PROC_MOUNTINFO", machine.table)
    monkeypatch.setattr(sysfs, "SYS_DEV_BLOCK", machine.by_number)
    monkeypatch.setattr(sysfs, "SYS_CLASS_BLOCK", machine.sys)
    monkeypatch.setattr(sysfs, "PROC_SWAPS", tmp_path / "swaps")
    machine.device("sda", 0)
    machine.device("sda1", 1, disk="sda")
    machine.labels["/dev/sda1"] = "HD001"
    machine.mount(1, "/media/a")
    return machine


def test_a_drive_is_what_table_sysfs_and_blkid_say(machine):
    """A partition has its own node and size, but its disk's number and diskseq."""
    *_, drive = machine.drives.mounted()

    assert (drive.device_number, drive.device_node) == (os.makedev(8, 1), "/dev/sda1")
    assert (drive.device.disk, drive.device.diskseq) == (os.makedev(8, 0), 7)
    assert drive.device.size == 1024 * 1024
    assert drive.describe() == "/dev/sda1 (label HD001) at /media/a"


def test_only_the_roots_of_block_devices_are_asked_about(machine):
    """Network, memory and overlay mounts (major 0) and bound folders are not drives."""
    machine.mount(44, "/srv/dead-nfs", major=0)
    machine.mount(1, "/mnt/bound", root="/folder")

    drives = machine.drives.mounted()

    assert [drive.mount_point for drive in drives if drive.device_node == "/dev/sda1"] == [
        "/media/a"
    ]
    assert "/srv/dead-nfs" not in {drive.mount_point for drive in drives}


def test_of_several_mount_points_the_first_writable_one_is_used(machine):
    """One device is one drive, and the choice of its mount point does not depend on luck."""
    machine.table.write_text("27 1 254:0 / / rw - overlay none rw\n")
    machine.mount(1, "/media/read-only", options="ro")
    machine.mount(1, "/media/first")
    machine.mount(1, "/media/second")

    places = [drive.mount_point for drive in machine.drives.mounted()]

    assert places == ["/", "/media/first"]


def test_fifty_drives_are_probed_once_each(machine):
    """A burst of scans probes each drive once only."""
    for minor in range(2, 52):
        machine.device(f"sd{minor}", minor)
        machine.labels[f"/dev/sd{minor}"] = f"HD{minor}"
    machine.drives.mounted()
    machine.asked.clear()

    for minor in range(2, 52):
        machine.mount(minor, f"/media/{minor}")
        machine.drives.mounted()

    probed = [node for node in machine.asked if node.startswith("/dev/sd")]
    assert sorted(probed) == sorted(f"/dev/sd{minor}" for minor in range(2, 52))


def test_another_medium_in_the_same_slot_is_probed_again(machine):
    """Same node, mount point and mount id: only diskseq changed."""
    *_, before = machine.drives.mounted()
    machine.device("sda", 0, diskseq=8)
    machine.labels["/dev/sda1"] = "HD002"

    assert not is_still(before)
    *_, after = machine.drives.mounted()
    assert after.identity.label == "HD002"
    with pytest.raises(DriveError, match="was removed in the meantime"):
        machine.drives.verify(before, "NTFS")


def test_drives_are_distinguished_without_diskseq(machine):
    """Before Linux 5.15, only the new identity shows the change."""
    machine.device("sda", 0, diskseq=None)
    *_, before = machine.drives.mounted()
    assert machine.drives.verify(before, "NTFS") == before

    machine.labels["/dev/sda1"] = "HD002"

    with pytest.raises(DriveError, match="its label was HD001, and is now HD002"):
        machine.drives.verify(before, "NTFS")


def test_an_unreadable_drive_is_listed_and_probed_again(machine):
    """It is listed with the reason; as soon as it answers, it is a drive like any other."""
    label = machine.labels.pop("/dev/sda1")

    *_, unknown = machine.drives.mounted()
    assert "no file system is found" in unknown.identity.trouble
    with pytest.raises(DriveError, match="are unknown"):
        check_usable(unknown, "NTFS")

    machine.labels["/dev/sda1"], asked = label, len(machine.asked)
    *_, unknown = machine.drives.mounted(ask_again=False)
    assert (unknown.identity.label, len(machine.asked)) == (None, asked)
    *_, known = machine.drives.mounted()
    assert known.identity.label == "HD001"


def test_a_drive_unplugged_while_mounted_is_listed_and_refused(machine):
    """The mount outlives the device; neither is touched."""
    *_, before = machine.drives.mounted()
    (machine.by_number / "8:1").unlink()
    machine.asked.clear()

    *_, after = machine.drives.mounted()

    assert "removed while mounted" in after.identity.trouble
    assert "/dev/sda1" not in machine.asked
    assert not is_still(before)
    with pytest.raises(DriveError, match="was removed"):
        machine.drives.verify(before, "NTFS")


def test_a_locked_device_is_write_protected(machine):
    """The kernel's `ro` flag of the device is reported before all other reasons."""
    machine.device("sda1", 1, disk="sda", ro=1)
    *_, drive = machine.drives.mounted()

    with pytest.raises(DriveError, match="write-protected") as caught:
        machine.drives.verify(drive, "NTFS")

    assert "lock switch" in caught.value.hint


def test_what_could_be_mounted_is_present(machine):
    """Not what is mounted, partitioned, swap, empty or memory; floppies are not opened."""
    for minor, (name, facts) in enumerate(
        {
            "sdb": {},
            "sdc": {"size": 0},
            "sdd": {},
            "fd0": {},
            "sr0": {},
            "zram0": {},
            "sde": {},
        }.items(),
        16,
    ):
        machine.device(name, minor, **facts)
        machine.labels[f"/dev/{name}"] = name
    sysfs.PROC_SWAPS.write_text("Filename Type Size\n/dev/sde partition 1\n")

    present = [one.device.node for one in machine.drives.present()]

    assert present == ["/dev/fd0", "/dev/sdb", "/dev/sdd", "/dev/sr0"]
    assert not {"/dev/fd0", "/dev/sr0"} & {*machine.asked}


def test_a_scan_loads_nothing_heavy():
    """psutil is loaded by commands that show capacity or processes, not by the daemon."""
    scan = "import sys; from daemon.drives import Drives; Drives().mounted(); print(*sys.modules)"
    root = Path(__file__).parents[2]

    printed = subprocess.run(
        [sys.executable, "-c", scan], cwd=root, capture_output=True, check=True
    )

    assert not {b"psutil", b"requests", b"jinja2", b"rich", b"_ssl", b"_hashlib"} & {
        *printed.stdout.split()
    }
