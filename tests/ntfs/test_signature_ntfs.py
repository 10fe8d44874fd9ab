"""SIGNATURE on real NTFS: hidden, listed in another case, never over another file."""

import os
import struct
import subprocess

import daemon_process
import pytest
from as_operator import jobs_for, new_device_id, prepared_once

from daemon.drives import signature
from daemon.errors import DriveError

service, start = daemon_process.service, daemon_process.start

TEXT = "version:2.0\nsigningMethod:HmacSHA1\njobId:K7M3X\nsignature:zOjsbR+r4qmmxYRUiceu+1zWfCM=\n"
FOREIGN = TEXT.replace("K7M3X", "OTHER")
HIDDEN = 0x2  # FILE_ATTRIBUTE_HIDDEN, system.ntfs_attrib of ntfs-3g(8)


def hide(path):
    """Give a file NTFS's hidden attribute."""
    (before,) = struct.unpack("<I", os.getxattr(path, "system.ntfs_attrib"))
    os.setxattr(path, "system.ntfs_attrib", struct.pack("<I", before | HIDDEN))


def root(drive):
    """The drive's root, opened."""
    place = drive.mount_point
    return signature.root(str(place), place.stat().st_dev)


def test_a_hidden_foreign_signature_is_never_overwritten(plug, service, start):
    """No listing shows it (hide_hid_files); the obstacle names its job, and no job is made."""
    drive = plug(new_device_id()).mount()
    (drive.mount_point / "SIGNATURE").write_text(FOREIGN)
    hide(drive.mount_point / "SIGNATURE")
    drive.unmount()
    drive.mount("hide_hid_files")
    assert os.listdir(drive.mount_point) == []
    daemon = start()

    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "already has a SIGNATURE of job OTHER")

    assert jobs_for(service, drive.label) == []
    assert (drive.mount_point / "SIGNATURE").read_text() == FOREIGN


def test_the_last_step_cannot_replace_a_file(plug):
    """Even if a SIGNATURE appears after the check, it stays as it is, and nothing is left over."""
    drive = plug(new_device_id()).mount()

    with root(drive) as held:
        held.found = lambda: None
        (drive.mount_point / "SIGNATURE").write_text(FOREIGN)
        with pytest.raises(DriveError, match="File exists"):
            held.sign(TEXT, None)

    assert (drive.mount_point / "SIGNATURE").read_text() == FOREIGN
    assert os.listdir(drive.mount_point) == ["SIGNATURE"]


def test_signature_has_one_name_after_a_remount(plug):
    """ntfs-3g gets it by a second name; only the right one is on the medium, with one link."""
    drive = plug(new_device_id()).mount()
    with root(drive) as held:
        held.sign(TEXT, None)
    drive.unmount()

    drive.mount()

    assert os.listdir(drive.mount_point) == ["SIGNATURE"]
    assert (drive.mount_point / "SIGNATURE").read_text() == TEXT
    assert (drive.mount_point / "SIGNATURE").stat().st_nlink == 1


def test_a_crash_between_the_two_names_is_mended(plug):
    """SIGNATURE and the temporary name are one file: the next attempt leaves only SIGNATURE."""
    drive = plug(new_device_id()).mount()
    partial = drive.mount_point / signature.PARTIAL_NAME
    partial.write_text(TEXT)
    os.link(partial, drive.mount_point / "SIGNATURE")

    with root(drive) as held:
        held.sign(TEXT, TEXT.encode())

    assert os.listdir(drive.mount_point) == ["SIGNATURE"]
    assert (drive.mount_point / "SIGNATURE").read_text() == TEXT


def test_a_mount_that_ignores_case(plug, service, start):
    """lowntfs-3g lists our own SIGNATURE as `signature`: it is the same file, not a twin of it."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    job = prepared_once(service, daemon, drive.mount_point, drive.label)
    text = (drive.mount_point / "SIGNATURE").read_bytes()
    drive.unmount()
    drive.mount_point.mkdir(exist_ok=True)
    command = ["lowntfs-3g", "-o", "ignore_case", drive.device, str(drive.mount_point)]
    subprocess.run(command, check=True, capture_output=True)
    drive.places.append(drive.mount_point)
    assert os.listdir(drive.mount_point) == ["signature"]

    with root(drive) as held:
        assert held.found() == text

    assert job is not None
