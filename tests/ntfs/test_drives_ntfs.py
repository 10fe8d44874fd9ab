"""The package `drives` on real file systems: NTFS by ntfs-3g, FAT and ext4 by the kernel."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from as_operator import new_device_id
from daemon_process import DRIVEPREP
from loop_drives import drivers_of, wait_until

from daemon.drives import mounts
from daemon.drives.checks import check_usable, has_file_system
from daemon.drives.drive import Drive
from daemon.drives.inventory import Drives, capacity, is_still
from daemon.drives.probes import Blkid, Identities
from daemon.drives.recognition import Recognition
from daemon.errors import DriveError

# Labels that no other drive of this machine has.
FIRST, SECOND, THIRD = (new_device_id() for _ in range(3))


def found(drives: Drives, real) -> Drive:
    """Return the drive that is mounted at the real drive's mount point."""
    (drive,) = [one for one in drives.mounted() if one.mount_point == str(real.mount_point)]
    return drive


def driveprep(*words) -> str:
    """Return what a command prints, whatever its exit code is."""
    return subprocess.run([*DRIVEPREP, *words], capture_output=True, text=True, check=False).stdout


def pick_among(drives: Drives, reals, device_id: str, file_system: str = "NTFS", **more) -> Drive:
    """Call pick() as if the machine had only these drives."""
    ours = [found(drives, real) for real in reals]
    return Recognition().pick(device_id, file_system, ours, **more)


@pytest.mark.parametrize(
    ("kind", "mount_type", "answers"),
    [("ntfs", "fuseblk", {"NTFS"}), ("vfat", "vfat", set()), ("ext4", "ext4", {"EXT4"})],
)
def test_two_witnesses(plug, kind, mount_type, answers):
    """A drive counts as NTFS or EXT4 only if its superblock and its mount type agree."""
    real = plug(FIRST, kind).mount()

    drive = found(Drives(), real)

    assert (drive.identity.file_system, drive.mount.mount_type) == (kind, mount_type)
    assert {name for name in ("NTFS", "EXT4") if has_file_system(drive, name)} == answers
    assert drive.device_number == real.mount_point.stat().st_dev
    assert (drive.device_node, drive.identity.label) == (real.device, FIRST)
    assert capacity(drive)[1] <= drive.device.size == real.image.stat().st_size


def test_the_wrong_file_system_is_named_with_the_right_one(plug):
    """An ext4 drive with the right label is refused, and the hint shows how to make it NTFS."""
    real = plug(FIRST, "ext4").mount()

    with pytest.raises(DriveError, match=rf"asks for NTFS, but .*{FIRST}.* has ext4") as caught:
        pick_among(Drives(), [real], FIRST)

    assert caught.value.hint.endswith(f" && driveprep format {real.device} {FIRST}")


def test_read_only_has_three_causes_with_three_remedies(plug):
    """It can be the device, the file system or only the mount that is read-only."""
    protected = plug(FIRST, read_only=True).mount("ro")
    mounted_so = plug(SECOND).mount("ro")
    sandboxed = plug(THIRD).mount()
    subprocess.run(["mount", "-o", "remount,bind,ro", sandboxed.mount_point], check=True)
    drives = Drives()

    told = {}
    for real in (protected, mounted_so, sandboxed):
        with pytest.raises(DriveError) as caught:
            check_usable(found(drives, real), "NTFS")
        told[real.label] = (str(caught.value), caught.value.hint)

    assert "write-protected" in told[FIRST][0]
    assert "file system was mounted read-only" in told[SECOND][0]
    assert "remove_hiberfile" in told[SECOND][1]
    assert "at this mount alone" in told[THIRD][0]
    assert "ReadWritePaths=-" in told[THIRD][1]


def test_a_hibernated_windows_drive_is_refused_with_the_command(plug):
    """ntfs-3g silently mounts it read-only. The operator is told why; nothing is repaired."""
    real = plug(FIRST).mount()
    (real.mount_point / "hiberfil.sys").write_bytes(b"hibr".ljust(4096, b"\0"))
    real.unmount()
    real.mount()
    drives = Drives()

    with pytest.raises(DriveError, match="is read-only") as caught:
        drives.verify(found(drives, real), "NTFS")

    assert f"ntfsfix {real.device}" in caught.value.hint
    assert (real.mount_point / "hiberfil.sys").exists()


def test_twins_are_refused_and_both_named(plug):
    """Of two drives with the same label neither is used, even if their file systems differ."""
    twins = [plug(FIRST).mount(), plug(FIRST, "ext4").mount()]

    with pytest.raises(DriveError, match=f"2 drives match {FIRST}") as caught:
        pick_among(Drives(), twins, FIRST)

    assert all(twin.device in str(caught.value) for twin in twins)


def test_a_bound_subfolder_is_no_drive(plug, tmp_path):
    """A mount of a folder is not the drive's root, even if the root itself is not mounted."""
    real = plug(FIRST).mount()
    (real.mount_point / "folder").mkdir()
    real.bind(tmp_path / "bound", "folder")
    subprocess.run(["umount", real.mount_point], check=True)

    places = [drive.mount_point for drive in Drives().mounted()]

    assert not {str(real.mount_point), str(tmp_path / "bound")} & {*places}


def test_a_drive_mounted_twice_is_one_drive_at_the_writable_place(plug, tmp_path):
    """A bind mount of the root does not add a drive; the writable place is used."""
    real = plug(FIRST).mount()
    real.bind(tmp_path / "again")
    subprocess.run(["mount", "-o", "remount,bind,ro", real.mount_point], check=True)
    number = real.mount_point.stat().st_dev

    (drive,) = [one for one in Drives().mounted() if one.device_number == number]

    assert drive.mount_point == str(tmp_path / "again")
    check_usable(drive, "NTFS")


def test_verify_returns_the_drive_as_long_as_nothing_changed(plug):
    """It can be repeated, and is_still() agrees, until the drive is unmounted."""
    real = plug(FIRST).mount()
    drives = Drives()
    drive = found(drives, real)

    assert drives.verify(drives.verify(drive, "NTFS"), "NTFS") == drive
    assert is_still(drive)

    real.unmount()
    assert not is_still(drive)
    with pytest.raises(DriveError, match="no longer mounted there"):
        drives.verify(drive, "NTFS")


def test_another_drive_in_the_same_place_is_noticed(plug):
    """With the same mount point, device node and label, only the kernel's diskseq differs."""
    first, second = plug(FIRST).mount(), plug(FIRST)
    drives = Drives()
    drive = found(drives, first)
    first.replug(second)
    second.mount_point = first.mount_point
    second.mount()

    assert not is_still(drive)
    with pytest.raises(DriveError, match=r"removed in the meantime|something else is mounted"):
        drives.verify(drive, "NTFS")


def test_the_same_drive_put_back_is_noticed_then_taken(plug):
    """It may have been changed elsewhere, so the next scan treats it as a new drive."""
    real = plug(FIRST).mount()
    drives = Drives()
    drive = found(drives, real)
    real.replug(real)
    real.mount()

    with pytest.raises(DriveError, match=r"removed in the meantime|something else is mounted"):
        drives.verify(drive, "NTFS")

    assert drives.verify(found(drives, real), "NTFS").identity == drive.identity


def test_a_new_file_system_on_the_same_medium_is_noticed_once(plug):
    """mkfs keeps node, diskseq and even the mount id. verify() notices, and corrects the memory.

    The clock hardly moves here: this can happen within milliseconds and must be noticed as well.
    """
    real = plug(FIRST).mount()
    drives = Drives(steady=hardly_moving())
    drive = found(drives, real)
    real.unmount()
    real.make(SECOND)
    real.mount()

    with pytest.raises(DriveError, match=f"label was {FIRST}, and is now {SECOND}"):
        drives.verify(drive, "NTFS")

    assert found(drives, real).identity.label == SECOND


def test_a_drive_is_not_probed_twice_within_moments(plug):
    """It is probed again if anything was mounted in the meantime, even another drive."""
    asked = []
    identities = Identities(udev=lambda number: {}, blkid=lambda node: _count(asked, node))
    drives = Drives(identities, steady=hardly_moving())
    real, other = plug(FIRST).mount(), plug(SECOND)
    drive = found(drives, real)

    assert drives.verify(drive, "NTFS") == drive
    assert asked.count(real.device) == 1
    other.mount()
    assert drives.verify(drive, "NTFS") == drive
    assert asked.count(real.device) == 2


@pytest.mark.parametrize("levels_up", [0, 1])
def test_a_covered_mount_point_is_refused(plug, levels_up):
    """SIGNATURE would be written to what covers the drive or its parent folder."""
    real = plug(FIRST).mount()
    drives = Drives()
    drive = found(drives, real)
    real.cover([real.mount_point, *real.mount_point.parents][levels_up])

    assert not is_still(drive)
    with pytest.raises(DriveError, match="hidden: something else was mounted over it"):
        drives.verify(drive, "NTFS")


def test_a_mount_rings_within_moments(plug):
    """The descriptor is quiet until a drive is mounted or unmounted, and then has POLLPRI."""
    real = plug(FIRST)
    with mounts.MountTable() as table:
        poll = select.poll()
        poll.register(table, select.POLLPRI | select.POLLERR)
        while poll.poll(0):  # from mounts by other tests
            pass

        real.mount()
        assert poll.poll(1000)
        while poll.poll(0):
            pass
        real.unmount()
        assert poll.poll(1000)


@pytest.mark.parametrize(
    "label", ["AWS EXP 01", "Zürich 東京 Δ", "a/b\\c=d\"e'f`$(g)", "漢" * 32, "\x1b[31mred\u202e"]
)
def test_labels_are_read_as_they_are(plug, label):
    """Spaces, other scripts, quotes and terminal codes are read exactly and printed safely."""
    real = plug(label).mount()
    drive = pick_among(Drives(), [real], label)

    assert drive.identity.label == label
    assert drive.describe().isprintable()


def test_a_mount_point_with_odd_bytes_is_found(plug, tmp_path):
    """Spaces, newlines and bytes that are not UTF-8 survive the mount table."""
    real = plug(FIRST)
    real.mount_point = tmp_path / os.fsdecode(b"a b\n\t\\040\r#\xff")
    real.mount()

    drive = found(Drives(), real)

    assert os.stat(drive.mount_point).st_dev == drive.device_number
    assert drive.describe().isprintable()
    assert drive.identities()["mountPoint"].endswith(r"\udcff")


def test_partitions_that_share_a_serial_are_told_apart_by_file_system(plug_disk):
    """The NTFS partition is meant; another partition of the disk does not make it ambiguous."""
    reals = [real.mount() for real in plug_disk(("ext4", "LINUX"), ("ntfs", "DATA"))]
    drives = Drives(_with_serial("WX11"))

    drive = pick_among(drives, reals, "WX11")

    assert drive.device_node == reals[1].device
    assert drive.device.disk != drive.device_number
    assert drive.identity.part_uuid
    assert pick_among(drives, reals, "WX11", "EXT4").device_node == reals[0].device


def test_two_partitions_of_one_file_system_are_ambiguous_by_serial(plug_disk):
    """The serial matches both; a label still picks one of them."""
    reals = [real.mount() for real in plug_disk(("ntfs", "ONE"), ("ntfs", "TWO"))]
    drives = Drives(_with_serial("WX11"))

    with pytest.raises(DriveError, match="2 drives match WX11"):
        pick_among(drives, reals, "WX11")

    assert pick_among(drives, reals, "TWO").device_node == reals[1].device


def test_a_drive_that_is_not_mounted_is_named(plug, plug_disk):
    """The obstacle names its device. A partitioned disk as a whole is not a candidate."""
    real = plug(FIRST)
    parts = plug_disk(("ntfs", SECOND))
    drives = Drives()

    present = drives.present()

    nodes = {one.device.node for one in present}
    assert {real.device, parts[0].device} <= nodes
    assert parts[0].device.rpartition("p")[0] not in nodes
    ours = [one for one in present if one.device.node == real.device]
    with pytest.raises(DriveError, match=f"present but not mounted: {real.device}") as caught:
        Recognition().pick(FIRST, "NTFS", [], present=ours)
    assert f"udisksctl mount -b {real.device}" in caught.value.hint
    real.mount()
    assert real.device not in {one.device.node for one in drives.present()}


def test_identities_are_remembered_between_looks(plug):
    """A second scan does not probe again; a drive mounted again is probed again."""
    asked = []
    identities = Identities(udev=lambda number: {}, blkid=lambda node: _count(asked, node))
    real = plug(FIRST).mount()
    drives = Drives(identities)

    first, second = found(drives, real), found(drives, real)
    assert first == second
    assert asked.count(real.device) == 1

    real.unmount()
    drives.mounted()
    real.mount()
    assert found(drives, real).identity.label == FIRST
    assert asked.count(real.device) == 2


def test_udevs_own_database_is_read(plug, tmp_path):
    """libudev reads what udevd wrote: decoded label, the serial, and "described by udev".

    A child in a mount namespace of its own has such a /run/udev, for our loop device alone.
    """
    real = plug("AWS EXP 01").mount()
    number = real.mount_point.stat().st_dev
    written = "\n".join(
        [
            "I:1",
            "E:ID_FS_TYPE=ntfs",
            "E:ID_FS_LABEL=AWS_EXP_01",
            r"E:ID_FS_LABEL_ENC=AWS\x20EXP\x2001",
            "E:ID_SERIAL_SHORT=WX11",
            "E:ID_WWN=0x50014ee2",
        ]
    )
    look = "from daemon.drives.inventory import Drives; print(*Drives().mounted(), sep='\\n')"

    told = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", _AS_UDEVD, "sh", sys.executable, look],
        env={**os.environ, "NAME": f"b{os.major(number)}:{os.minor(number)}", "TEXT": written},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    (line,) = [line for line in told.splitlines() if str(real.mount_point) in line]
    assert "label='AWS EXP 01'" in line
    assert "serial='WX11', wwn='0x50014ee2'" in line
    assert "by_udev=True" in line


_AS_UDEVD = """
mount -t tmpfs driveprep-test /run
mkdir -p /run/udev/data
printf '%s\\n' "$TEXT" > "/run/udev/data/$NAME"
exec "$1" -c "$2"
"""


def _with_serial(serial: str) -> Identities:
    """Loop devices have no serial: it comes from a fake udev, everything else from blkid."""
    udev = {"SUBSYSTEM": "block", "ID_SERIAL_SHORT": serial}
    return Identities(udev=lambda number: udev)


def hardly_moving() -> Callable[[], float]:
    """Return a clock by which a microsecond passes between any two readings."""
    readings = count(1)
    return lambda: next(readings) / 1e6


def _count(asked: list[str], node: str):
    asked.append(node)
    return Blkid().properties(node)


def test_a_drive_whose_driver_has_died(plug, tmp_path):
    """It keeps no other drive from being shown, and what mends it is said, by doctor too."""
    dead = plug(FIRST).mount()
    plug(SECOND).mount()
    for pid in drivers_of(dead):
        os.kill(pid, signal.SIGKILL)
    wait_until("its driver has ended", lambda: not drivers_of(dead))
    config = tmp_path / "config.yml"
    config.write_text(f"endpoint: http://127.0.0.1:9\nspool: {tmp_path / 'spool'}\n")

    with pytest.raises(DriveError, match="its driver has died") as caught:
        capacity(found(Drives(), dead))
    assert f"umount {dead.mount_point}" in caught.value.hint

    shown = driveprep("drives", "--config", config)
    assert "its driver has died" in shown
    assert f"umount {dead.mount_point}" in shown
    assert f"no manifest waits for {SECOND}" in shown
    found_by_doctor = driveprep("doctor", "--config", config)
    assert f"cannot read {dead.mount_point}: its driver has died" in found_by_doctor


def test_a_drive_that_does_not_answer(plug):
    """A command waits for it only so long."""
    real = plug(FIRST).mount()
    drive = found(Drives(), real)
    pids = drivers_of(real)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DriveError, match="has not answered"):
            capacity(drive, 0.2)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
