"""Formatting: who may be erased, who must not, and what counts as a person's agreement."""

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.cli.formatting import one as format_command
from daemon.cli.formatting.plan import Rules
from daemon.drives import mounts, sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.identity import Identity
from daemon.drives.medium import formatting
from daemon.drives.recognition import Recognition
from daemon.errors import DriveError
from daemon.system import programs

ROOT = "27 1 254:0 / / rw - ext4 /dev/vda rw\n"


class Machine:
    """A fake sysfs, swap list and mount table."""

    def __init__(self, folder: Path) -> None:
        self.by_number = folder / "by-number"
        self.table = folder / "mountinfo"
        self.swaps = folder / "swaps"
        self._devices = folder / "devices"
        self.by_number.mkdir()
        self.table.write_text(ROOT)
        self.swaps.write_text("Filename Type Size Used Priority\n")

    def device(self, minor: int, place: str, *, on: int | None = None, **facts: str | int) -> None:
        """A device 8:<minor> at this place below /sys/devices, built on another or not."""
        folder = self._devices / place
        folder.mkdir(parents=True)
        kind = "partition" if "partition" in facts else "disk"
        uevent = f"MAJOR=8\nMINOR={minor}\nDEVNAME={folder.name}\nDEVTYPE={kind}"
        files = {"dev": f"8:{minor}", "size": 2048, "ro": 0, "uevent": uevent}
        for file, text in (files | facts).items():
            (folder / file).write_text(f"{text}\n")
        (self.by_number / f"8:{minor}").symlink_to(folder)
        if on is not None:
            holders = (self.by_number / f"8:{on}").resolve() / "holders"
            holders.mkdir(exist_ok=True)
            (holders / folder.name).symlink_to(folder)
            (folder / "slaves").mkdir()
            (folder / "slaves" / "below").symlink_to(holders.parent)

    def mount(self, place: str, number: str = "0:99", source: str = "x") -> None:
        """One more line of the mount table."""
        with self.table.open("a") as table:
            table.write(f"99 27 {number} / {place} rw - some {source} rw\n")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with the USB disk sda, its partition sda1 and a built-in disk sdb."""
    machine = Machine(tmp_path)
    monkeypatch.setattr(sysfs, "SYS_DEV_BLOCK", machine.by_number)
    monkeypatch.setattr(sysfs, "PROC_SWAPS", machine.swaps)
    monkeypatch.setattr(mounts, "PROC_MOUNTINFO", machine.table)
    machine.device(0, "pci0/usb2/2-1/block/sda", removable=0)
    machine.device(1, "pci0/usb2/2-1/block/sda/sda1", partition=1)
    machine.device(16, "pci0/ata1/block/sdb", removable=0)
    return machine


def disk(minor: int) -> sysfs.Device:
    """The device 8:<minor> of the machine."""
    return sysfs.read(os.makedev(8, minor))


def check(minor: int, *, internal: bool = False) -> None:
    """Raises where the device 8:<minor> must not be erased."""
    formatting.check_erasable(disk(minor), internal=internal)


def test_a_usb_disk_may_be_erased_and_a_built_in_one_only_when_asked_for(machine):
    """On USB, or flagged removable by the kernel, or with --internal."""
    check(0)
    with pytest.raises(DriveError, match="sdb is not removable") as caught:
        check(16)
    check(16, internal=True)
    machine.device(32, "pci0/mmc/block/mmcblk0", removable=1)
    check(32)

    assert "--internal" in caught.value.hint


def test_the_running_system_is_refused_even_when_asked_for(machine):
    """Its root can lie on a logical volume in LUKS on a partition, three floors up."""
    machine.device(50, "virtual/block/dm-0", on=1)
    machine.device(51, "virtual/block/dm-1", on=50)
    machine.mount("/", "8:51")

    with pytest.raises(DriveError, match="sda holds the running system: /"):
        check(0, internal=True)


def test_what_is_mounted_is_refused_with_the_command(machine):
    """The inner mount is unmounted first; blanks are quoted."""
    machine.mount("/media/my\\040disk", "8:1")
    machine.mount("/media/my\\040disk/inner", "8:0")

    with pytest.raises(DriveError, match="sda is mounted at /media/my disk") as caught:
        check(0)

    assert caught.value.hint == "umount '/media/my disk/inner' && umount '/media/my disk'"


def test_a_mounted_btrfs_is_found_by_its_source(machine):
    """Its device number is none of the disk's."""
    machine.mount("/media/data", "0:44", "/dev/sda1")

    with pytest.raises(DriveError, match="mounted at /media/data"):
        check(0)


def test_swap_mappings_locks_and_empty_readers_are_refused(machine):
    """Each with its own words."""
    machine.swaps.write_text("Filename Type Size Used Priority\n/dev/sda1 partition 9 0 -2\n")
    machine.device(48, "usb1/block/sdc", ro=1)
    machine.device(64, "usb1/block/sdd", size=0)
    machine.device(80, "usb1/block/sde")
    machine.device(50, "virtual/block/dm-0", on=80)

    for minor, words in [
        (0, "swaps to /dev/sda1"),
        (48, "sdc is write-protected"),
        (64, "sdd has no medium"),
        (80, "/dev/dm-0 .* is built on it"),
    ]:
        with pytest.raises(DriveError, match=words):
            check(minor, internal=True)


def test_only_a_whole_disk_is_found(machine, tmp_path):
    """A file, nothing at all, and a terminal are told apart from disks."""
    with pytest.raises(DriveError, match="No such file"):
        formatting.find(tmp_path / "none")
    os.mknod(tmp_path / "tty", stat.S_IFCHR | 0o600, os.makedev(8, 0))  # as sda has, among disks
    for path in (machine.table, Path("/dev/null"), tmp_path / "tty"):
        with pytest.raises(DriveError, match=r"is not a disk$"):
            formatting.find(path)
    machine.device(50, "virtual/block/dm-0", on=1)
    with pytest.raises(DriveError, match="is not a disk of its own"):
        formatting.check_whole(disk(50))
    with pytest.raises(DriveError, match="sda1 is a partition"):
        formatting.check_whole(disk(1))
    formatting.check_whole(disk(0))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("x" * 64, "64 characters"),
        ("😀" * 32, "64 characters"),
        ("", "cannot be a label"),
        ("HD001 ", "leading or trailing spaces"),
        ("HD\n001", r"'HD\\n001'"),
        ("HD\udcff", "cannot be a label"),
    ],
)
def test_a_label_that_would_not_be_read_back_is_refused(label, words):
    """Too long for libblkid, counted as NTFS does, or not what it seems."""
    with pytest.raises(DriveError, match=words):
        formatting.check_label(label)


def test_usual_labels_are_good():
    """Also with blanks inside, and of any script."""
    for label in ("HD001", "AWS EXP 01", "Prüfung-1", "x" * 63, "-x"):
        formatting.check_label(label)


def unformatted(serial: str | None = None) -> Unmounted:
    """A disk of 1 TB on which nothing is known."""
    device = sysfs.Device(
        os.makedev(8, 0), "/dev/sda", os.makedev(8, 0), 1, 1_000_204_886_016, False
    )
    return Unmounted(device, Identity(serial=serial, by_udev=True, trouble="empty"))


@pytest.mark.parametrize(
    ("serial", "answer", "agreed"),
    [
        ("WD-WX11A7", "11A7", True),
        ("WD-WX11A7", " WD-WX11A7\t", True),
        ("WD-WX11A7", "1A7", False),
        ("WD-WX11A7", "11a7", False),
        ("WD-WX11A7", "", False),
        ("WD-WX11A7", "HD001", False),
        ("X1", "X1", True),
        (None, "HD001", True),
        (None, "HD002", False),
        (None, "y", False),
        (None, "", False),
    ],
)
def test_agreed_is_the_end_of_the_serial_or_where_there_is_none_the_device_id(
    serial, answer, agreed
):
    """Four characters, to the letter; all of a serial that has fewer."""
    disk = unformatted(serial)
    proved, _ = format_command.proof(disk, "HD001", [disk])

    assert format_command.is_agreed(answer, disk, proved) is agreed


@pytest.mark.parametrize(
    ("other", "proved"), [("WD-WY11A7", "WD-WX11A7"), ("WD-WX11A8", "11A7"), (None, "11A7")]
)
def test_where_another_disk_ends_alike_the_whole_serial_is_the_proof(other, proved):
    """Four characters would not tell which of the two is meant."""
    disk = unformatted("WD-WX11A7")
    beside = replace(unformatted(other), device=replace(disk.device, number=os.makedev(8, 16)))

    assert format_command.proof(disk, "HD001", [disk, beside])[0] == proved
    assert format_command.is_agreed("11A7", disk, proved) is (proved == "11A7")


def test_what_would_not_be_recognised_afterwards_is_not_erased():
    """An entry for another serial, or by a UUID that formatting changes, or none where needed."""
    drive = unformatted("WX11")

    formatting.check_recognisable(drive, "HD001", Recognition())
    formatting.check_recognisable(
        drive, "HD001", Recognition({"HD001": {"serial": "WX11"}}, require_mapping=True)
    )
    for devices, require_mapping in [
        ({"HD001": {"serial": "WX12"}}, False),
        ({"HD001": {"uuid": "4070AA412A6EC482"}}, False),
        ({}, True),
    ]:
        with pytest.raises(DriveError, match="would not be recognised as HD001"):
            formatting.check_recognisable(drive, "HD001", Recognition(devices, require_mapping))


def test_a_drive_that_belongs_to_another_device_id_is_not_erased():
    """config.yml knows this serial as HD002."""
    with pytest.raises(DriveError, match=r"config.yml knows .*WX11.* as HD002"):
        formatting.check_recognisable(
            unformatted("WX11"), "HD001", Recognition({"HD002": {"serial": "WX11"}})
        )


def test_without_a_terminal_nobody_is_asked(monkeypatch):
    """A pipe's answer is no person's."""
    with Path(os.devnull).open() as nobody, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", nobody)
        with pytest.raises(DriveError, match="at a terminal"):
            format_command.ask_terminal("really")


def test_missing_programs_are_named_with_their_packages(monkeypatch):
    """All of them at once."""
    monkeypatch.setattr(programs, "SYSTEM", {"PATH": "/nonexistent"})

    with pytest.raises(DriveError, match=r"sfdisk.*mkfs\.ntfs") as caught:
        format_command.run(
            Path("/dev/null"), "HD001", str, Rules(Recognition(), (), internal=False)
        )

    assert caught.value.hint == "apt-get install fdisk ntfs-3g util-linux"
