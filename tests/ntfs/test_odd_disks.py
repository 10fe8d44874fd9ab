"""Disks that are not simply one NTFS file system each: every one is named, with its reason.

Real daemon, real drives; stale superblocks are made by the programs that leave them, or written as
these do.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import daemon_process
import pytest
from as_operator import jobs_for, look_again, mount, new_device_id, prepared_once
from loop_drives import MIB, run, wait_until
from private_mounts import CLASS_BLOCK

service, start = daemon_process.service, daemon_process.start

# What an operator could paste that writes to a disk. A remark about `driveprep format` is none.
WRITES = re.compile(r"wipefs +-|driveprep format /|mkfs|ntfsfix|dd |--zero-superblock|mdadm|parted")


def over_btrfs(drive):
    """Make NTFS over the remains of btrfs: its superblock at 64 KiB stays."""
    with drive.image.open("r+b") as file:
        file.truncate(128 * MIB)  # btrfs needs 109 MiB
    run("losetup", "--set-capacity", drive.device)
    run("mkfs.btrfs", "-q", "-f", drive.device)
    drive.make(drive.label)


def over_iso(drive):
    """Leave the magic number of an ISO 9660 image, as mkfs.ntfs does on drives with big clusters.

    On a drive as small as this one mkfs.ntfs writes over it.
    """
    descriptor = b"\1CD001\1\0".ljust(2048, b"\0")
    _write(drive, 32 * 1024, descriptor + b"\xffCD001\1\0".ljust(2048, b"\0"))


def in_a_raid(drive):
    """Leave an md superblock (1.2, 4 KiB from the start) of an array that is no more."""
    name = b"old:0".ljust(32, b"\0")
    fields = struct.pack("<IIII16s32sQII", 0xA92B4EFC, 1, 0, 0, b"u" * 16, name, 0, 1, 0)
    block = bytearray(fields.ljust(256, b"\0"))
    block[128:152] = struct.pack("<QQQ", 2048, 4096, 8)  # data_offset, data_size, super_offset
    block[216:220] = bytes(4)  # sb_csum
    total = sum(struct.unpack("<64I", block))
    block[216:220] = struct.pack("<I", (total & 0xFFFFFFFF) + (total >> 32))
    _write(drive, 4096, bytes(block))


def _write(drive, offset, data):
    with Path(drive.device).open("r+b") as file:
        file.seek(offset)
        file.write(data)


REMAINS = [(over_btrfs, "btrfs"), (over_iso, "iso9660"), (in_a_raid, "linux_raid_member")]


def says(daemon, device_id, *words):
    """Wait until the job's obstacle, as `status` shows it, has all these words; return it."""

    def found():
        job = daemon.job(device_id)
        return job if all(word in job["obstacle"] for word in words) else None

    return daemon.until(f"{device_id}: {' ... '.join(words)}", found)


def verdicts(daemon):
    """What `driveprep drives` says, by device node."""
    report = json.loads(daemon.command("drives", "--json").stdout)
    rows = [*report["drives"], *report["present"]]
    return {row["deviceNode"]: row for row in rows}


@pytest.mark.parametrize(("leave", "other"), REMAINS)
def test_remains_of_another_use(leave, other, plug, service, start):
    """Both signatures are named, mounted or not, and a command that reads; no job is made."""
    drive = plug(new_device_id())
    leave(drive)
    daemon = start()
    daemon.drop(drive.label)

    unmounted = daemon.obstacle(drive.label, drive.device, "ntfs", other)
    row = verdicts(daemon)[drive.device]
    assert f"wipefs {drive.device}" in unmounted["hint"]
    assert f"wipefs {drive.device}" in row["verdict"]
    assert row["label"] == drive.label
    assert row["deviceIds"] == [drive.label]

    mount(drive)
    mounted = says(daemon, drive.label, "cannot be used", str(drive.mount_point), "ntfs", other)
    row = verdicts(daemon)[drive.device]
    assert row["uuid"]
    for text in (unmounted["hint"], mounted["hint"], row["verdict"]):
        assert "`driveprep format`" in text
        assert not WRITES.search(text)
    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)
    assert list(drive.mount_point.iterdir()) == []


def test_a_drive_of_which_only_a_folder_is_mounted(plug, service, start, tmp_path):
    """It is named with the folder, and prepared once it is mounted itself."""
    drive = plug(new_device_id()).mount()
    (drive.mount_point / "folder").mkdir()
    drive.bind(tmp_path / "bound", "folder")
    run("umount", drive.mount_point)
    daemon = start()
    daemon.drop(drive.label)

    told = daemon.obstacle(drive.label, drive.device, "only its folder /folder is mounted")

    assert f"umount {tmp_path / 'bound'} && udisksctl mount -b {drive.device}" in told["hint"]
    assert "only its folder" in verdicts(daemon)[drive.device]["verdict"]
    run("umount", tmp_path / "bound")
    mount(drive)
    daemon.until("SIGNATURE is written", (drive.mount_point / "SIGNATURE").exists)


def test_ntfs_on_a_whole_disk_that_seems_to_have_partitions(plug, service, start):
    """Its boot sector looks like a table: the kernel shows partitions, and it is found anyway."""
    drive = plug(new_device_id())
    run("addpart", drive.device, "1", "2048", "2048")  # what the kernel reads from such a sector
    name = Path(drive.device).name
    wait_until("the kernel shows it", Path(f"/sys/block/{name}/{name}p1").exists)
    (CLASS_BLOCK / f"{name}p1").symlink_to(Path(f"/sys/block/{name}/{name}p1").resolve())
    try:
        daemon = start()
        daemon.drop(drive.label)
        told = daemon.obstacle(drive.label, f"present but not mounted: {drive.device} ")
        assert f"udisksctl mount -b {drive.device}" in told["hint"]
        rows = verdicts(daemon)
        assert "not mounted" in rows[drive.device]["verdict"]
        assert f"{drive.device}p1" not in rows

        mount(drive)
        prepared_once(service, daemon, drive.mount_point, drive.label)
    finally:
        drive.unmount(lazily=True)
        run("delpart", drive.device, "1")


def test_a_twin_that_is_unplugged_without_being_mounted(plug, service, start):
    """The kernel reports it, so nobody waits for a timer."""
    device_id = new_device_id()
    right, twin = plug(device_id).mount(), plug(device_id)
    daemon = start()
    daemon.drop(device_id)
    daemon.obstacle(device_id, right.device, twin.device)
    assert not jobs_for(service, device_id)

    twin.pull()

    daemon.until("the right one is signed", (right.mount_point / "SIGNATURE").exists)
    prepared_once(service, daemon, right.mount_point, device_id)


def test_erasing_is_not_advised_beside_ntfs(plug_disk, service, start):
    """The partition with the right label is ext4; NTFS is on the next one, mounted or not."""
    device_id = new_device_id()
    ext4, ntfs = plug_disk(("ext4", device_id), ("ntfs", "OTHER"))
    ext4.mount()
    daemon = start()
    daemon.drop(device_id)

    told = daemon.obstacle(device_id, ntfs.device, "on the same disk")
    assert not WRITES.search(told["hint"])
    ntfs.mount()
    told = says(daemon, device_id, str(ntfs.mount_point), "on the same disk")
    assert not WRITES.search(told["hint"])
    assert "uuid" in told["hint"]


def test_a_disk_without_any_contents(plug, start):
    """A new drive has a row, too, and the obstacle of a job that waits names it."""
    drive = plug(new_device_id())
    _write(drive, 0, bytes(4 * MIB))
    device_id = new_device_id()
    daemon = start()
    daemon.drop(device_id)

    told = daemon.obstacle(device_id, "no mounted drive matches", drive.device, "no file system")

    assert "A drive without data is made ready by `driveprep format`" in told["hint"]
    assert "no file system" in verdicts(daemon)[drive.device]["verdict"]
