"""The mount table's text, as the kernel writes it."""

import contextlib
import os
import select
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.drives import mounts
from daemon.errors import DriveError

TABLE = rb"""27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:44 / /srv rw - nfs4 dead:/srv rw,addr=10.0.0.1
42 27 8:17 / /media/AWS\040EXP\04001 rw,nosuid shared:7 master:2 - fuseblk /dev/sdb1 rw,blksize=4096
43 27 8:17 /folder /mnt/bound ro,relatime - fuseblk /dev/sdb1 rw,blksize=4096
44 27 8:33 / /media/b ro - ext4 /dev/sdc1 ro,context="a,rw"
"""


def test_a_line_is_read_field_by_field():
    """Escapes are decoded, optional fields skipped, the device number is st_dev's."""
    mount = mounts.parse(TABLE)[2]

    assert mount == mounts.Mount(
        mount_id=42,
        parent_id=27,
        device_number=os.makedev(8, 17),
        root="/",
        mount_point="/media/AWS EXP 01",
        options="rw,nosuid",
        mount_type="fuseblk",
        source="/dev/sdb1",
        super_options="rw,blksize=4096",
    )


def test_read_only_is_told_apart_for_mount_and_file_system():
    """Only the first option counts: "rw" within another's value is not a permission."""
    _, _, writable, bound, both = mounts.parse(TABLE)

    assert (writable.is_read_only, writable.is_super_read_only) == (False, False)
    assert (bound.is_read_only, bound.is_super_read_only) == (True, False)
    assert (both.is_read_only, both.is_super_read_only) == (True, True)


def test_an_empty_source_is_read():
    """mount("", ...) leaves two spaces in a row."""
    (mount,) = mounts.parse(b"50 27 8:1 / /x rw -  ext4 rw\n".replace(b"-  ext4", b"- ext4 "))

    assert (mount.mount_type, mount.source, mount.super_options) == ("ext4", "", "rw")


ESCAPED = b" \t\n\\#"  # fs/proc_namespace.c and fs/seq_file.c: what the kernel writes in octal


def mangled(data: bytes) -> bytes:
    """A field as the kernel writes it."""
    return b"".join(b"\\%03o" % byte if byte in ESCAPED else bytes([byte]) for byte in data)


@given(st.binary(min_size=1).map(lambda data: b"/" + data.replace(b"\0", b"")))
def test_every_path_survives_the_escapes(path):
    """Spaces, newlines, carriage returns, backslashes and bytes that are not UTF-8 are kept."""
    (mount,) = mounts.parse(b"9 1 8:1 / " + mangled(path) + b" rw - ext4 /dev/sda1 rw\n")

    assert os.fsencode(mount.mount_point) == path


@given(st.binary() | st.text(" -0123456789:/\\rw\n").map(str.encode))
def test_any_text_is_read_or_refused_by_our_error(text):
    """No line can end the daemon with an error that is not ours."""
    with contextlib.suppress(DriveError):
        assert len(mounts.parse(text)) <= text.count(b"\n") + 1


def test_a_line_that_cannot_be_read_is_named():
    """Never skipped: a drive could be behind it."""
    with pytest.raises(DriveError, match="line 2 of the mount table") as caught:
        mounts.parse(TABLE.splitlines()[0] + b"\n\x1bnonsense\n")

    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("later", "hidden"),
    [
        (b"50 42 0:50 / /media/a rw - tmpfs t rw", {42}),  # on the mount itself
        (b"50 27 0:50 / /media rw - tmpfs t rw", {42}),  # on a folder above it
        (b"50 27 0:50 / /media/ab rw - tmpfs t rw", set()),  # beside it
        (b"50 42 0:50 / /media/a/in rw - tmpfs t rw", set()),  # inside it
        (b"50 27 0:50 / / rw - tmpfs t rw", {42}),  # on the root of all
    ],
)
def test_what_a_later_mount_hides_is_known_without_touching_it(later, hidden):
    """From parents and paths alone."""
    table = mounts.parse(
        b"27 1 254:0 / / rw - ext4 /dev/vda rw\n42 27 8:1 / /media/a rw - fuseblk s rw\n" + later
    )

    assert {m.mount_id for m in table if mounts.is_covered(m, table)} - {27} == hidden


def test_the_kernels_own_table_has_our_root():
    """The real thing is read, and its root is where st_dev says it is."""
    roots = [mount for mount in mounts.read() if mount.mount_point == "/"]

    assert Path("/").stat().st_dev in {mount.device_number for mount in roots}


def test_no_table_is_our_error(tmp_path, monkeypatch):
    """Without /proc there is a sentence, not a traceback."""
    monkeypatch.setattr(mounts, "PROC_MOUNTINFO", tmp_path / "none")

    with pytest.raises(DriveError, match="mount table cannot be read"):
        mounts.read()


def test_the_descriptor_is_quiet_between_changes():
    """Idle means idle: an unchanged table does not wake the poll a second time."""
    with mounts.MountTable() as table:
        poll = select.poll()
        poll.register(table, select.POLLPRI | select.POLLERR)
        before = mounts.read()
        rung = [bool(poll.poll(0)) for _ in range(5)]

    assert not all(rung) or mounts.read() != before


@pytest.mark.parametrize(
    ("mount_type", "expected"),
    [
        ("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("fuse.rclone", True),
        ("vboxsf", True), ("fuse.vmhgfs-fuse", True), ("fuse", True), ("fuse.of-tomorrow", True),
        ("ext4", False), ("btrfs", False), ("fuseblk", False), ("tmpfs", False),
    ],
)  # fmt: skip
def test_folders_that_do_not_report_changes(monkeypatch, tmp_path, mount_type, expected):
    """What is mounted at the folder itself counts, and of several mounts the last one."""
    table = tmp_path / "mountinfo"
    pending = tmp_path / "pending"
    table.write_text(
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        f"40 27 0:43 / {pending} rw - tmpfs tmpfs rw\n"
        f"41 40 0:44 / {pending} rw - {mount_type} x rw\n"
    )
    monkeypatch.setattr(mounts, "PROC_MOUNTINFO", table)

    assert mounts.is_remote(pending) is expected
    assert not mounts.is_remote(tmp_path)
