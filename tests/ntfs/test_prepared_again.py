"""A prepared drive that is mounted again is checked, and a job belongs to one drive."""

import os

import daemon_process
from as_operator import jobs_for, new_device_id, prepared_once
from loop_drives import wait_until

service, start = daemon_process.service, daemon_process.start


def test_a_prepared_drive_without_its_signature_is_signed_again(plug, service, start):
    """After a power cut SIGNATURE can be missing: no second job, the same text is written again."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    prepared_once(service, daemon, drive.mount_point, drive.label)
    signature = drive.mount_point / "SIGNATURE"
    text = signature.read_bytes()
    signature.unlink()
    drive.unmount()

    drive.mount()

    wait_until("SIGNATURE is there again", lambda: signature.exists() and signature.read_bytes())
    assert signature.read_bytes() == text
    assert len(jobs_for(service, drive.label)) == 1
    daemon.until("it is prepared again", lambda: daemon.job(drive.label)["state"] == "Signed")
    assert "SIGNATURE is missing or changed" in daemon.log


def test_a_prepared_drive_that_is_as_it_was(plug, service, start):
    """Its SIGNATURE is read, and nothing else happens."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    prepared_once(service, daemon, drive.mount_point, drive.label)
    before = (drive.mount_point / "SIGNATURE").stat()
    drive.unmount()

    drive.mount()
    other = plug(new_device_id()).mount()
    daemon.drop(other.label)
    prepared_once(service, daemon, other.mount_point, other.label)

    after = (drive.mount_point / "SIGNATURE").stat()
    assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)
    assert len(jobs_for(service, drive.label)) == 1


def test_a_twin_that_is_not_mounted(plug, service, start):
    """Two drives with one label, one of them mounted: neither is signed, both are named."""
    mounted = plug(new_device_id())
    twin = plug(mounted.label)
    mounted.mount()
    daemon = start()

    daemon.drop(mounted.label)
    told = daemon.obstacle(mounted.label, "2 drives match", mounted.device, twin.device)

    assert told["code"] == "ambiguous-drive"
    assert os.listdir(mounted.mount_point) == []
    assert jobs_for(service, mounted.label) == []

    twin.pull()
    daemon.command("retry", mounted.label)
    prepared_once(service, daemon, mounted.mount_point, mounted.label)
