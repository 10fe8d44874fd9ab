"""Which drive a deviceId means: rules over values, no file is opened."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.drives.checks import has_file_system
from daemon.drives.drive import Drive, Unmounted
from daemon.drives.identity import Identity
from daemon.drives.mounts import Mount
from daemon.drives.recognition import Recognition
from daemon.drives.sysfs import Device
from daemon.errors import DriveError
from daemon.system.file_systems import FILE_SYSTEMS


def drive(minor: int, *, disk: int = 0, mount_type="fuseblk", options="rw", **known) -> Drive:
    """A drive as it would be found: /dev/sd8-<minor>, NTFS unless said otherwise."""
    number = os.makedev(8, minor)
    node, place = f"/dev/sd8-{minor}", f"/media/{minor}"
    device = Device(number, node, os.makedev(8, disk or minor), 1, 10**12, False)
    mount = Mount(minor, 1, number, "/", place, options, mount_type, node, options)
    return Drive(device, Identity(**{"file_system": "ntfs", **known}), mount)


def unmounted(minor: int, *, disk: int = 0, **known) -> Unmounted:
    """The same drive, but not mounted."""
    one = drive(minor, disk=disk, **known)
    return Unmounted(one.device, one.identity)


KNOWN = {
    "label": "HD001",
    "serial": "WX11",
    "wwn": "0x50014ee2b1",
    "uuid": "4070AA412A6EC482",
    "part_uuid": "6F4E0F4C-01",
}


@pytest.mark.parametrize(
    "entry",
    [
        {"label": "HD001"},
        {"serial": "WX11"},
        {"wwn": "50014EE2B1"},
        {"uuid": "4070aa41-2a6ec482"},
        {"partuuid": "6f4e0f4c-01"},
        {"serial": "WX11", "label": "HD001", "uuid": "4070AA412A6EC482"},
    ],
)
def test_an_entry_matches_when_all_its_keys_hold(entry):
    """Numbers are compared as numbers, whatever the case and the hyphens; names exactly."""
    assert Recognition({"any name": entry}, True).matches(drive(1, **KNOWN), "any name")


@pytest.mark.parametrize(
    "entry",
    [
        {"label": "hd001"},
        {"serial": "wx11"},
        {"serial": "WX11", "label": "HD002"},
        {"uuid": ""},
        {"colour": "red"},
        {},
    ],
)
def test_an_entry_does_not_match_when_one_key_fails(entry):
    """An empty entry, an empty value or a key nobody knows match nothing, not everything."""
    assert not Recognition({"HD001": entry}).matches(drive(1, **KNOWN), "HD001")
    assert not Recognition({"HD001": entry}).matches(drive(1), "HD001")


def test_without_an_entry_label_or_serial_count():
    """Unless a mapping is required; an entry takes its deviceId out of that rule."""
    one = drive(1, **KNOWN)

    assert Recognition().device_ids(one) == {"HD001", "WX11"}
    assert Recognition({}, True).device_ids(one) == frozenset()
    assert Recognition({"HD001": {"serial": "other"}}).device_ids(one) == {"WX11"}
    assert Recognition({"HD009": {"label": "HD001"}}, True).device_ids(one) == {"HD009"}
    assert Recognition().device_ids(drive(2)) == frozenset()


@given(
    st.dictionaries(
        st.sampled_from("ABC"),
        st.dictionaries(st.sampled_from(["label", "serial"]), st.sampled_from("ABC")),
    ),
    st.booleans(),
    st.sampled_from([None, "A", "B"]),
    st.sampled_from([None, "B", "C"]),
)
def test_both_ways_of_asking_agree(devices, require_mapping, label, serial):
    """device_ids() names exactly those deviceIds that answers_to() affirms."""
    one = drive(1, label=label, serial=serial)

    affirmed = {name for name in "ABC" if Recognition(devices, require_mapping).matches(one, name)}
    assert Recognition(devices, require_mapping).device_ids(one) == affirmed


def test_the_one_drive_is_picked():
    """Others on the machine do not matter."""
    drives = [drive(1, label="HD001"), drive(2, label="HD002"), drive(3)]

    assert Recognition().pick("HD002", "NTFS", drives, waiting={"HD001", "HD002"}) is drives[1]


def test_two_disks_for_one_device_id_are_refused_whatever_is_on_them():
    """Never the first match; the file system does not choose between disks."""
    twins = [drive(1, label="HD001"), drive(2, label="HD001", file_system="exfat")]

    with pytest.raises(DriveError, match=r"2 drives match HD001: .*8-1.*8-2") as caught:
        Recognition().pick("HD001", "NTFS", twins)

    assert "uuid" in caught.value.hint


def test_one_drive_for_two_waiting_device_ids_is_refused_for_both():
    """By label the one, by serial the other; harmless as long as just one is asked for."""
    drives = [drive(1, label="HD001", serial="HD002")]

    for device_id in ("HD001", "HD002"):
        with pytest.raises(DriveError, match=r"matches HD00. and HD00.") as caught:
            Recognition().pick(device_id, "NTFS", drives, waiting=["HD001", "HD002"])
        assert "/dev/sd8-1" in str(caught.value)

    assert Recognition().pick("HD001", "NTFS", drives, waiting=["HD001"]) is drives[0]


def test_partitions_compete_only_with_the_file_system_asked_for():
    """A serial fits all partitions of a disk; exactly one of them must hold the file system."""
    efi = drive(1, disk=16, serial="WX11", file_system="vfat", mount_type="vfat")
    first, second = drive(2, disk=16, serial="WX11"), drive(3, disk=16, serial="WX11", label="B")

    assert Recognition().pick("WX11", "NTFS", [efi, first]) is first
    with pytest.raises(DriveError, match="2 drives match WX11"):
        Recognition().pick("WX11", "NTFS", [efi, first, second])
    one_more_key = {"WX11": {"serial": "WX11", "label": "B"}}
    assert Recognition(one_more_key).pick("WX11", "NTFS", [efi, first, second]) is second
    with pytest.raises(DriveError, match=r"asks for NTFS, but .* has vfat, mounted as vfat"):
        Recognition().pick("WX11", "NTFS", [efi])


@pytest.mark.parametrize("mount_type", sorted(FILE_SYSTEMS["NTFS"][1]))
def test_ntfs_goes_by_many_names(mount_type):
    """Each driver's name counts with an NTFS superblock, and none without."""
    assert has_file_system(drive(1, mount_type=mount_type), "NTFS")
    assert not has_file_system(drive(1, mount_type=mount_type, file_system="exfat"), "NTFS")
    assert not has_file_system(drive(1, mount_type=mount_type), "EXT4")


def test_fuseblk_alone_proves_nothing():
    """exFAT through FUSE looks like ntfs-3g in the mount table."""
    with pytest.raises(DriveError, match=r"asks for NTFS, but .* has exfat, mounted as fuseblk"):
        Recognition().pick("HD001", "NTFS", [drive(1, label="HD001", file_system="exfat")])


def test_absence_says_how_a_drive_would_be_recognised():
    """By default rule, by its entry, or not at all until it has one."""
    entry = {"HD001": {"serial": "WX11", "label": "A"}}

    by_rule = Recognition().explain_absent("HD001", [])
    by_entry = Recognition(entry).explain_absent("HD001", [])
    not_yet = Recognition({}, True).explain_absent("HD001", [])

    assert str(by_rule) == "no mounted drive matches HD001"
    assert "label or serial HD001" in by_rule.hint
    assert "serial WX11, label A" in by_entry.hint
    assert "require_mapping is on" in not_yet.hint


def test_absence_names_drives_that_could_not_be_identified():
    """The one waited for may be among them."""
    unknown = drive(1, file_system=None, trouble="/dev/sd8-1 gave no answer in 5 s")

    told = str(Recognition().explain_absent("HD001", [unknown, drive(2)]))

    assert "/dev/sd8-1" in told
    assert "gave no answer in 5 s" in told
    assert "/dev/sd8-2" not in told


def test_absence_does_not_name_the_running_systems_own_disk():
    """It is never the drive that is waited for."""
    root = drive(1, file_system=None, trouble="no file system is found")
    root = replace(root, mount=replace(root.mount, mount_point="/"))

    told = str(Recognition().explain_absent("HD001", [root]))

    assert told == "no mounted drive matches HD001"


def test_a_serial_that_only_udev_could_know_is_no_riddle():
    """On a machine without udev an entry by serial never holds; the hint says why."""
    by_serial, by_label = {"A": {"serial": "WX11"}}, {"A": {"label": "A"}}
    without, described = drive(1, label="B"), drive(2, label="C", by_udev=True)

    hint = Recognition(by_serial).explain_absent("A", [without, described]).hint

    assert "Only udev knows serial and wwn" in hint
    assert "8-1" in hint
    assert "8-2" not in hint
    assert "udev" not in Recognition(by_label).explain_absent("A", [without]).hint


def test_absence_names_the_device_that_is_not_mounted():
    """Mount it, is all there is to do."""
    other, ours = drive(1, label="other"), drive(2, label="HD001")
    present = [Unmounted(one.device, one.identity) for one in (other, ours)]

    told = Recognition().explain_absent("HD001", [], present)

    assert str(told) == ("HD001 is present but not mounted: /dev/sd8-2 (label HD001)")
    assert told.hint.endswith("udisksctl mount -b /dev/sd8-2")


def test_a_twin_that_is_not_mounted_makes_it_ambiguous():
    """Never the first match, even if only one of the two is mounted; both are named."""
    mounted = drive(1, label="HD001", serial="WX11", uuid="AA")
    twin = unmounted(2, label="HD001", serial="WX12", uuid="BB")

    with pytest.raises(DriveError, match="2 drives match HD001") as caught:
        Recognition().pick("HD001", "NTFS", [mounted], present=[twin])

    assert caught.value.code == "ambiguous-drive"
    for name in ("/dev/sd8-1", "WX11", "AA", "/dev/sd8-2", "WX12", "BB"):
        assert name in str(caught.value)


def test_two_partitions_of_one_disk_are_not_two_drives():
    """A deviceId that is the disk's serial means its mounted NTFS partition."""
    ntfs = drive(1, disk=16, serial="WX11")
    other = unmounted(2, disk=16, serial="WX11", file_system="ext4")

    assert Recognition().pick("WX11", "NTFS", [ntfs], present=[other]) is ntfs


def test_two_drives_that_are_not_mounted_are_both_named():
    """The advice is not to mount the first of several."""
    twins = [unmounted(1, label="HD001"), unmounted(2, label="HD001")]

    reason = Recognition().explain_absent("HD001", [], twins)

    assert reason.code == "ambiguous-drive"
    assert "udisksctl" not in reason.hint


def test_erasing_is_never_advised_beside_an_ntfs_partition():
    """A mounted FAT partition does not hide the NTFS partition of the same disk."""
    fat = drive(1, disk=16, serial="WX11", file_system="vfat", mount_type="vfat")
    ntfs = unmounted(2, disk=16, serial="WX11")
    sealed = unmounted(3, disk=16, serial="WX11", file_system="BitLocker")

    with pytest.raises(DriveError, match=r"NTFS partition /dev/sd8-2 .* is not mounted") as caught:
        Recognition().pick("WX11", "NTFS", [fat], present=[ntfs])
    assert "udisksctl mount -b /dev/sd8-2" in caught.value.hint

    for present in ([sealed], [unmounted(4, disk=16, serial="WX11", file_system=None)]):
        with pytest.raises(DriveError, match="is not known") as caught:
            Recognition().pick("WX11", "NTFS", [fat], present=present)
        assert "format" not in caught.value.hint


@pytest.mark.parametrize("known", ["is_empty", "is_reserved"])
def test_a_partition_without_a_file_system_is_known(known):
    """It was read and is empty, or is of a type that never has one."""
    fat = drive(1, disk=16, serial="WX11", file_system="vfat", mount_type="vfat")
    beside = unmounted(2, disk=16, serial="WX11", file_system=None, **{known: True})

    with pytest.raises(DriveError) as caught:
        Recognition().pick("WX11", "NTFS", [fat], present=[beside])

    assert caught.value.code == "wrong-file-system"
    assert "is not known" not in str(caught.value)


@pytest.mark.parametrize(
    ("file_system", "advice"),
    [
        ("BitLocker", "locked by BitLocker"),
        ("crypto_LUKS", "only ciphertext"),
        ("LVM2_member", "a part of LVM"),
        ("ddf_raid_member", "a part of ddf_raid_member"),
        ("swap", "swap space"),
        ("vfat", "it holds vfat"),
        ("iso9660", "it holds iso9660"),
    ],
)
def test_only_advice_that_can_work_is_given(file_system, advice):
    """A volume that cannot be mounted as NTFS is not to be mounted."""
    reason = Recognition().explain_absent(
        "HD001", [], [unmounted(1, label="HD001", file_system=file_system)]
    )

    assert advice in f"{reason} {reason.hint}"
    for command in ("udisksctl", "umount", "driveprep format /dev", "mkfs", "ntfsfix"):
        assert command not in reason.hint


def test_what_an_operator_reads_holds_no_terminal_codes():
    """Labels are strangers' text, and so are mount points and deviceIds."""
    hostile = drive(1, label="\x1b[2J\u202e", serial="a\nb", mount_type="x", options="ro")

    with pytest.raises(DriveError) as caught:
        Recognition().pick("\x1b[2J\u202e", "NTFS", [hostile])

    assert str(caught.value).isprintable()
    assert caught.value.hint.isprintable()


def test_identities_hold_what_is_known_as_text():
    """For receipts and JSON: nothing that is not there, nothing that cannot be encoded."""
    named = drive(1, label="A\udcff", serial="WX11").identities()

    assert named == {
        "deviceNode": "/dev/sd8-1",
        "mountPoint": "/media/1",
        "mountType": "fuseblk",
        "fileSystem": "ntfs",
        "label": r"A\udcff",
        "serial": "WX11",
    }
