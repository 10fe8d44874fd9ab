"""Every disk that has a medium is shown once, with its reason, whatever is built on it."""

from __future__ import annotations

import pytest
from fake_machine import FakeMachine
from pairs import PENDING, job, pairing

from daemon.desk.drive_report import DriveReport
from daemon.drives.checks import check_usable
from daemon.drives.recognition import Recognition
from daemon.errors import DriveError

LUKS = "CRYPT-LUKS2-5f0e-secret"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without disks."""
    return FakeMachine(tmp_path, monkeypatch)


def rows(machine):
    """The verdicts of `drives`, by device name; HD001 and the serial WX11 are waited for."""
    jobs = [job(PENDING), job(PENDING, device_id="WX11", name="b.yml")]
    drives, present = machine.drives.mounted(), machine.drives.present()
    report = DriveReport(jobs, pairing(jobs, *drives, present=present))
    said = [(one, report.of(one)) for one in drives]
    said += [(one, report.of_unmounted(one)) for one in present]
    names = [one.device.node.removeprefix("/dev/") for one, _ in said]
    assert len(names) == len({*names})
    return dict(zip(names, (text for _, text in said), strict=True))


def obstacle(machine, device_id):
    """What `status` says of a job for this deviceId."""
    with pytest.raises(DriveError) as caught:
        Recognition().pick(
            device_id, "NTFS", machine.drives.mounted(), present=machine.drives.present()
        )
    for command in ("driveprep format /", "mkfs", "wipefs -", "ntfsfix"):
        assert command not in caught.value.hint
    return f"{caught.value}. {caught.value.hint}"


def in_luks(machine):
    """NTFS in LUKS on a partition."""
    machine.disk("sda", serial="WX11")
    machine.partition("sda1", "sda", fs="crypto_LUKS")
    machine.mapped("dm-0", ["sda1"], LUKS, fs="ntfs", label="HD001")


def in_lvm_in_luks(machine):
    """NTFS on a logical volume in LUKS."""
    machine.disk("sda", serial="WX11")
    machine.partition("sda1", "sda", fs="crypto_LUKS")
    machine.mapped("dm-1", ["sda1"], LUKS, fs="LVM2_member")
    machine.mapped("dm-0", ["dm-1"], "LVM-abc-data", fs="ntfs", label="HD001")


def in_lvm(machine):
    """NTFS on a logical volume of a whole disk."""
    machine.disk("sda", serial="WX11", fs="LVM2_member")
    machine.mapped("dm-0", ["sda"], "LVM-abc-data", fs="ntfs", label="HD001")


def on_md(machine):
    """NTFS on a mirror."""
    for disk, serial in (("sda", "WX11"), ("sdb", "WX12")):
        machine.disk(disk, serial=serial)
        machine.partition(f"{disk}1", disk, fs="linux_raid_member")
    files = {"md/level": "raid1"}
    machine.layer("md0", ["sda1", "sdb1"], files=files, fs="ntfs", label="HD001")


def on_a_partition_of_md(machine):
    """NTFS on a partition of a stripe set of whole disks."""
    machine.disk("sda", serial="WX11", fs="linux_raid_member")
    machine.disk("sdb", serial="WX12", fs="linux_raid_member")
    machine.layer("md0", ["sda", "sdb"], files={"md/level": "raid0"})
    machine.partition("md0p1", "md0", fs="ntfs", label="HD001")


def on_bcache(machine):
    """NTFS on a cached disk."""
    machine.disk("sda", serial="WX11", fs="bcache")
    machine.disk("nvme0n1", fs="bcache")
    files = {"bcache/state": "clean"}
    machine.layer("bcache0", ["sda", "nvme0n1"], files=files, fs="ntfs", label="HD001")


def by_veracrypt(machine):
    """A mapping without a uuid says nothing about itself."""
    machine.disk("sda", serial="WX11")
    machine.layer("dm-0", ["sda"], files={"dm/name": "x", "dm/uuid": ""}, fs="ntfs", label="HD001")


def by_dislocker(machine):
    """BitLocker, decrypted by a program; a loop device shows its one file."""
    machine.disk("sda", serial="WX11", fs="BitLocker")
    files = {"loop/backing_file": "/mnt/x/dislocker-file"}
    machine.layer("loop0", [], files=files, fs="ntfs", label="HD001")


STACKS = [
    (in_luks, "dm-0", "LUKS encryption (/dev/mapper/secret) on /dev/sda1", "only ciphertext"),
    (
        in_lvm_in_luks,
        "dm-0",
        "LVM (/dev/mapper/data) on LUKS encryption (/dev/mapper/secret) on /dev/sda1",
        "only ciphertext",
    ),
    (in_lvm, "dm-0", "LVM (/dev/mapper/data) on /dev/sda", "a part of LVM"),
    (on_md, "md0", "RAID (raid1) (/dev/md0) on /dev/sda1 and /dev/sdb1", "a member of the RAID"),
    (on_a_partition_of_md, "md0p1", "RAID (raid0) (/dev/md0) on /dev/sda", "a member of the RAID"),
    (on_bcache, "bcache0", "bcache (/dev/bcache0) on /dev/nvme0n1 and /dev/sda", "part of bcache"),
    (by_veracrypt, "dm-0", "the device mapper (/dev/mapper/x) on /dev/sda", "the device mapper"),
]


def test_what_a_program_has_decrypted_is_refused(machine):
    """By label the inner file system is meant, by serial the locked disk."""
    by_dislocker(machine)
    machine.mount("loop0", "/mnt/a")

    assert "inside BitLocker (/dev/loop0) on /mnt/x/dislocker-file" in obstacle(machine, "HD001")
    assert "locked by BitLocker" in obstacle(machine, "WX11")


def test_a_volume_of_zfs_is_refused(machine):
    """It has no link to the disks below it."""
    machine.layer("zd0", [], files={}, fs="ntfs", label="HD001")
    machine.mount("zd0", "/mnt/a")

    assert "inside a ZFS volume (/dev/zd0); the receiver" in obstacle(machine, "HD001")


@pytest.mark.parametrize(("build", "name", "layers", "seen"), STACKS)
@pytest.mark.parametrize("is_mounted", [True, False])
def test_ntfs_that_is_built_on_other_devices_is_refused(
    machine, build, name, layers, seen, is_mounted
):
    """By label or by the disk's serial; both name the layers and what the receiver would see."""
    build(machine)
    if is_mounted:
        machine.mount(name, "/mnt/a")

    for device_id in ("HD001", "WX11"):
        said = obstacle(machine, device_id)
        assert layers in said
        assert seen in said
        assert "udisksctl" not in said
    for said in rows(machine).values():
        assert "the receiver would see only" in said
    for drive in machine.drives.mounted()[1:]:
        with pytest.raises(DriveError, match="cannot be used") as caught:
            check_usable(drive, "NTFS")
        assert caught.value.code == "stacked-drive"


def test_a_plain_partition_beside_luks_is_taken(machine):
    """The serial matches all of the disk; only the plain NTFS partition can be meant."""
    in_luks(machine)
    machine.mount("dm-0", "/mnt/inner")
    machine.partition("sda2", "sda", fs="ntfs")
    machine.mount("sda2", "/mnt/plain")

    drives, present = machine.drives.mounted(), machine.drives.present()
    picked = Recognition().pick("WX11", "NTFS", drives, present=present)

    assert picked.mount_point == "/mnt/plain"


def multipath(machine):
    """A disk over two paths, its partition mapped by kpartx; the kernel shows it twice more."""
    for leg in ("sda", "sdb"):
        machine.disk(leg, serial="WX11", fs="mpath_member")
        machine.partition(f"{leg}1", leg, fs="ntfs", label="HD001")
    machine.mapped("dm-0", ["sda", "sdb"], "mpath-3600-mpatha")
    machine.mapped("dm-1", ["dm-0"], "part1-mpath-3600-mpatha1", fs="ntfs", label="HD001")


def test_the_paths_of_a_multipath_device_are_one_drive(machine):
    """No twins: one row, with its paths; mounted, it is taken by label or serial."""
    multipath(machine)

    (said,) = rows(machine).values()
    assert "multipath (/dev/mapper/mpatha) on /dev/sda and /dev/sdb" in said
    for device_id in ("HD001", "WX11"):
        assert "present but not mounted: /dev/dm-1 " in obstacle(machine, device_id)

    machine.mount("dm-1", "/mnt/a")
    assert {*rows(machine)} == {"dm-1"}
    for device_id in ("HD001", "WX11"):
        drives, present = machine.drives.mounted(), machine.drives.present()
        drive = Recognition().pick(device_id, "NTFS", drives, present=present)
        assert drive.device.node == "/dev/dm-1"
        check_usable(drive, "NTFS")


def test_the_running_system_does_not_disturb(machine):
    """LVM in LUKS with root and swap, a boot partition, and parts without a file system."""
    machine.disk("nvme0n1", serial="SYS")
    machine.partition("nvme0n1p1", "nvme0n1")  # BIOS boot
    machine.partition("nvme0n1p2", "nvme0n1", fs="ext4")
    machine.partition("nvme0n1p3", "nvme0n1", fs="crypto_LUKS")
    machine.mapped("dm-0", ["nvme0n1p3"], LUKS, fs="LVM2_member")
    machine.mapped("dm-1", ["dm-0"], "LVM-x-root", fs="ext4")
    machine.mapped("dm-2", ["dm-0"], "LVM-x-swap", fs="swap")
    machine.partition("nvme0n1p4", "nvme0n1", fs="ntfs", label="Windows")
    machine.mount("nvme0n1p2", "/boot", kind="ext4")
    machine.mount("dm-1", "/", kind="ext4")
    machine.swap_to("/dev/mapper/swap")

    assert {*rows(machine)} == {"nvme0n1p2", "dm-1", "nvme0n1p4"}
    said = obstacle(machine, "HD001")
    assert said.startswith("no mounted drive matches HD001. ")


def test_a_system_on_btrfs_does_not_disturb(machine):
    """Its device number leads to no disk, its source does."""
    machine.disk("sda")
    machine.partition("sda1", "sda")
    machine.partition("sda2", "sda", fs="btrfs")
    machine.mount("sda2", "/", kind="btrfs", root="/@", source="/dev/sda2")

    assert rows(machine) == {"sda2": "not mounted: it is mounted at / as btrfs"}


def test_what_is_not_a_disk_has_no_row(machine):
    """Empty loop devices and card slots, memory, swap, and optical drives without a medium."""
    for name, sectors in [
        ("loop0", 0),
        ("sdb", 0),
        ("ram0", 8192),
        ("zram0", 8192),
        ("mmcblk0boot1", 8192),
        ("mtdblock0", 8192),
        ("sr0", 0x1FFFFF),
        ("fd0", 8),
    ]:
        machine.disk(name, sectors=sectors)
    machine.disk("sdc", fs="swap")
    machine.swap_to("/dev/sdc")

    assert rows(machine) == {}


def test_a_disc_is_named_and_not_opened(machine):
    """An optical drive with a medium has a row; opening it could move a tray."""
    machine.disk("sr0", sectors=1_400_000, fs="iso9660", label="WX11")

    assert "it is an optical or floppy disk" in rows(machine)["sr0"]
    assert "sr0" not in machine.opened


@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        ([("", {})], {"sda1"}),
        ([("ntfs", {}), ("", {})], {"sda1"}),  # empty beside one with contents
        ([], {"sda"}),
    ],
)
def test_each_disk_has_a_row(machine, parts, shown):
    """For itself, or for what is on it."""
    machine.disk("sda")
    for number, (fs, more) in enumerate(parts, 1):
        machine.partition(f"sda{number}", "sda", fs=fs, more=more)

    assert {*rows(machine)} == shown


def test_a_disk_with_nothing_but_reserved_partitions_has_a_row(machine):
    """Windows makes a reserved partition first; an extended one has no room for anything."""
    reserved = {"ID_PART_ENTRY_TYPE": "e3c9e316-0b5c-4db8-817d-f92df00215ae"}
    machine.disk("sda")
    machine.partition("sda1", "sda", more=reserved)
    machine.partition("sda2", "sda", sectors=2)

    assert {*rows(machine)} == {"sda"}
    machine.partition("sda3", "sda", fs="exfat")
    assert {*rows(machine)} == {"sda3"}


def test_what_udev_alone_cannot_tell_is_said(machine):
    """The sandboxed daemon has no device nodes: it names the disk and who can tell more."""
    machine.disk("sda", serial="WX99")
    machine.blkid["sda"] = None

    said = obstacle(machine, "HD001")

    assert "/dev/sda (serial WX99)" in said
    assert "udev knows no file system on /dev/sda" in said
    assert "`sudo driveprep drives` can tell more" in said


def test_a_disk_that_is_known_not_to_be_the_one_is_not_named(machine):
    """A mapping by serial excludes a drive with another serial, readable or not."""
    machine.disk("sda", serial="WX99")
    machine.disk("sdb")
    by_serial = Recognition({"HD001": {"serial": "WX11"}})

    said = str(by_serial.explain_absent("HD001", (), machine.drives.present()))

    assert "/dev/sdb" in said
    assert "/dev/sda" not in said


def test_a_locked_drive_could_be_the_one(machine):
    """Its label is not readable, so the obstacle names it."""
    machine.disk("sda")
    machine.partition("sda1", "sda", fs="BitLocker")

    assert "/dev/sda1" in obstacle(machine, "HD001")
    assert "it is locked by BitLocker" in rows(machine)["sda1"]


def test_a_boot_sector_that_looks_like_a_partition_table(machine):
    """The file system is on the whole disk; the partitions that the kernel shows are bogus."""
    machine.disk("sda", fs="ntfs", label="HD001")
    for number in range(1, 5):
        machine.partition(f"sda{number}", "sda")

    assert {*rows(machine)} == {"sda"}
    assert "present but not mounted: /dev/sda " in obstacle(machine, "HD001")
    machine.mount("sda", "/mnt/a")
    assert {*rows(machine)} == {"sda"}
