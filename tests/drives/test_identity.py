"""Who a block device is, from udev's words and from blkid's."""

import os
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.drives import identity
from daemon.drives.identity import Blkid, Identities, Identity, Udev, decode, parse, read
from daemon.errors import DriveError

BLKID = rb"""ID_FS_LABEL=AWS_"x"_01
ID_FS_LABEL_ENC=AWS\x20\x22x\x22\x2001
ID_FS_UUID=4070AA412A6EC482
ID_FS_UUID_ENC=4070AA412A6EC482
ID_FS_TYPE=ntfs
ID_PART_ENTRY_UUID=6f4e0f4c-01
"""
UDEV = {"SUBSYSTEM": "block", "DEVNAME": "/dev/sdb1"}
DISK = {"ID_SERIAL_SHORT": "WX11", "ID_SERIAL": "WD_WX11", "ID_WWN": "0x5001"}
NTFS = {"ID_FS_TYPE": "ntfs", "ID_FS_LABEL": "A_B", "ID_FS_LABEL_ENC": r"A\x20B"}


def test_blkids_words_are_read():
    """The encoded label is the true one; what a partition has not is None."""
    assert read(parse(BLKID), {}) == Identity(
        file_system="ntfs", label='AWS "x" 01', uuid="4070AA412A6EC482", part_uuid="6f4e0f4c-01"
    )


def test_the_disks_serial_counts_for_its_partition():
    """The disk's short serial and WWN are the partition's; udev's word is marked as such."""
    one = read({**UDEV, **NTFS, "ID_SERIAL_SHORT": "partition"}, {**DISK, "ID_MODEL_ENC": r"M\x20"})

    assert (one.serial, one.wwn, one.model, one.by_udev) == ("WX11", "0x5001", "M", True)


def test_a_disk_without_a_short_serial_has_the_long_one():
    """virtio and MMC have just one."""
    assert read({}, {"ID_SERIAL": "vd-1"}).serial == "vd-1"


def enc(data: bytes) -> str:
    """udev's encoding: what is not plain, backslash too, as two digits of hex."""
    plain = b"#+-.:=@_/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in data)


@given(st.binary())
def test_every_label_survives_the_encoding(label):
    """Blanks, newlines, backslashes and bytes that are no UTF-8 come back."""
    assert os.fsencode(decode(enc(label))) == label


@given(st.binary() | st.text().map(str.encode))
def test_any_output_of_blkid_gives_some_identity(text):
    """A label can hold anything; the parser refuses nothing and never raises."""
    one = read(parse(text), {})

    assert all(value is None or value for value in (one.label, one.uuid, one.serial))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_label_cannot_forge_another_line(label):
    """A newline in a label is encoded, so that it cannot pretend to be a UUID."""
    text = f"ID_FS_LABEL_ENC={enc(label.encode())}\nID_FS_TYPE=ntfs\n"

    assert read(parse(text.encode()), {}) == Identity(file_system="ntfs", label=label or None)


def test_what_is_on_the_medium_wins_over_udevs_memory():
    """After mkfs udev's database is late by a moment: nothing of the old file system is kept."""
    ask = Identities(udev=lambda number: {**UDEV, **NTFS, **DISK}, blkid=lambda node: parse(BLKID))

    assert ask.described(1, 1).label == "A B"
    assert ask.probed(1, 1, "/dev/sdb1").label == 'AWS "x" 01'
    assert ask.probed(1, 1, "/dev/sdb1").serial == "WX11"


def test_a_label_that_mkfs_took_away_is_gone():
    """A new file system without a label does not inherit the old one's from udev."""
    ask = Identities(
        udev=lambda number: {**UDEV, **NTFS}, blkid=lambda node: {"ID_FS_TYPE": "ext4"}
    )

    assert ask.probed(1, 1, "/dev/sdb1") == Identity(file_system="ext4", by_udev=True)


def test_udevs_word_counts_where_there_are_no_device_nodes():
    """In a sandbox with PrivateDevices blkid may not look."""
    ask = Identities(udev=lambda number: {**UDEV, **NTFS}, blkid=lambda node: {})

    assert ask.probed(1, 1, "/dev/sdb1").label == "A B"


def test_a_drive_nobody_knows_is_trouble_not_silence():
    """Neither udev nor blkid: the identity says so."""
    ask = Identities(udev=lambda number: {}, blkid=lambda node: {})

    assert ask.described(1, 1) is None
    assert ask.probed(1, 1, "/dev/sdb1").trouble == (
        "neither udev nor blkid knows a file system on /dev/sdb1"
    )


def test_an_identity_is_final_once_udev_has_spoken(tmp_path, monkeypatch):
    """While udev runs, blkid's word lacks the serial and is asked for again."""
    control = tmp_path / "control"
    monkeypatch.setattr(identity, "UDEV_CONTROL", control)
    by_udev, by_blkid = read({**UDEV, **NTFS}, DISK), read(parse(BLKID), {})
    ask = Identities(udev=lambda number: {}, blkid=lambda node: {})

    assert ask.is_final(by_blkid)
    control.touch()
    assert not ask.is_final(by_blkid)
    assert ask.is_final(by_udev)
    assert not ask.is_final(Identity(by_udev=True, trouble="hung"))


def test_udev_knows_nothing_of_a_number_that_is_no_device():
    """Pulled out between two looks."""
    assert Udev().properties(os.makedev(4095, 4095)) == {}


def test_blkid_finds_nothing_on_what_is_no_device(tmp_path, monkeypatch):
    """No node: nothing, not an error, and no child is sent to find that out."""
    monkeypatch.setattr(identity.subprocess, "Popen", None)

    assert Blkid().properties(str(tmp_path / "none")) == {}


def test_blkid_finds_nothing_in_an_empty_file(tmp_path):
    """What holds no file system has no properties."""
    (tmp_path / "empty").touch()

    assert Blkid().properties(str(tmp_path / "empty")) == {}


def test_a_machine_without_blkid_has_udev(tmp_path, monkeypatch):
    """Not installed, or not to be run, is the same as not allowed."""
    node, broken = tmp_path / "sdb1", tmp_path / "blkid"
    node.write_text("awake")
    broken.write_text("no program")
    broken.chmod(0o755)

    for program in ("driveprep-no-such-program", str(broken)):
        monkeypatch.setattr(identity, "BLKID", [program])
        assert Blkid().properties(str(node)) == {}


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A blkid that does not answer as long as the file it was asked for is empty."""
    program = tmp_path / "blkid"
    program.write_text(
        f'#!/bin/sh\necho $$ >> {tmp_path}/started\nwhile [ ! -s "$1" ]; do sleep 0.01; done\n'
        "echo ID_FS_TYPE=ntfs\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(identity, "BLKID", [str(program)])
    monkeypatch.setattr(identity, "BLKID_SECONDS", 0.2)
    monkeypatch.setattr(identity, "KILL_SECONDS", 0.2)
    return tmp_path / "started"


def test_a_drive_that_never_answers_is_left_behind(hanging, tmp_path):
    """The look ends in time, whole; the drive is trouble, its serial known, its label not."""
    node = tmp_path / "sdb1"
    node.touch()
    ask = Identities(udev=lambda number: {**UDEV, **NTFS, **DISK}, blkid=Blkid().properties)

    before = time.monotonic()
    one = ask.probed(1, 1, str(node))

    assert time.monotonic() - before < 2
    assert "gave no answer in 0.2 s" in one.trouble
    assert (one.label, one.serial) == (None, "WX11")


def test_no_second_child_is_sent_after_one_that_hangs(hanging, tmp_path, monkeypatch):
    """Asked again while the first hangs in the kernel: no at once. When it is gone: asked anew."""
    node = tmp_path / "sdb1"
    node.touch()
    blkid = Blkid()
    killed = threading.Event()
    kill = identity.subprocess.Popen.kill
    # A child in the kernel's D state does not die of this; ours dies when we let it.
    monkeypatch.setattr(identity.subprocess.Popen, "kill", lambda child: killed.set())
    with pytest.raises(DriveError, match="gave no answer"):
        blkid.properties(str(node))
    assert killed.is_set()

    with pytest.raises(DriveError, match="still does not answer"):
        blkid.properties(str(node))
    assert len(hanging.read_text().split()) == 1

    child = blkid._hung[str(node)]
    kill(child)
    child.wait(10)
    node.write_text("awake")
    assert blkid.properties(str(node)) == {"ID_FS_TYPE": "ntfs"}
