"""The identity of a block device, read from the properties of udev and blkid."""

import os

from hypothesis import given
from hypothesis import strategies as st
from udev_properties import BLKID, DISK, NTFS, UDEV

from daemon.drives.identity import Identity, decode, parse, read


def test_the_output_of_blkid_is_read():
    """The encoded label is the true one; what a partition does not have is None."""
    assert read(parse(BLKID), {}) == Identity(
        file_system="ntfs", label='AWS "x" 01', uuid="4070AA412A6EC482", part_uuid="6f4e0f4c-01"
    )


def test_the_disks_serial_counts_for_its_partition():
    """The disk's short serial and WWN are the partition's; an identity from udev is marked."""
    one = read({**UDEV, **NTFS, "ID_SERIAL_SHORT": "partition"}, {**DISK, "ID_MODEL_ENC": r"M\x20"})

    assert (one.serial, one.wwn, one.model, one.by_udev) == ("WX11", "0x5001", "M", True)


def test_a_disk_without_a_short_serial_has_the_long_one():
    """virtio and MMC disks have only one."""
    assert read({}, {"ID_SERIAL": "vd-1"}).serial == "vd-1"


def enc(data: bytes) -> str:
    """udev's encoding: every unsafe byte, backslash included, as two hexadecimal digits."""
    plain = b"#+-.:=@_/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in data)


@given(st.binary())
def test_every_label_survives_the_encoding(label):
    """Spaces, newlines, backslashes and bytes that are not UTF-8 are restored."""
    assert os.fsencode(decode(enc(label))) == label


@given(st.binary() | st.text().map(str.encode))
def test_any_output_of_blkid_gives_some_identity(text):
    """A label can contain anything; the parser accepts everything and never raises."""
    one = read(parse(text), {})

    assert all(value is None or value for value in (one.label, one.uuid, one.serial))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_label_cannot_forge_another_line(label):
    """A newline in a label is encoded, so it cannot pretend to be a UUID."""
    text = f"ID_FS_LABEL_ENC={enc(label.encode())}\nID_FS_TYPE=ntfs\n"

    assert read(parse(text.encode()), {}) == Identity(file_system="ntfs", label=label or None)
