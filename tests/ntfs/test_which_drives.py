"""Which drives are prepared, which are refused with a reason, and which are left alone.

Real daemon, real drives, the service on loopback.
"""

from __future__ import annotations

import hashlib
import os
import subprocess

import daemon_process
from as_operator import (
    give_own_uuid,
    jobs_for,
    look_again,
    mount,
    new_device_id,
    prepared_once,
    unmount,
    uuid_of,
)

service, start = daemon_process.service, daemon_process.start


def test_ext4_is_refused_by_name(plug, service, start):
    """The obstacle names both the actual and the requested file system; no job is made."""
    drive = plug(new_device_id(), "ext4").mount()
    daemon = start()
    daemon.drop(drive.label)

    daemon.obstacle(drive.label, "asks for NTFS", "has ext4")

    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)
    assert os.listdir(drive.mount_point) == ["lost+found"]


def test_vfat_is_refused_by_name(plug, service, start):
    """Like ext4."""
    drive = plug(new_device_id(), "vfat").mount()
    daemon = start()
    daemon.drop(drive.label)

    daemon.obstacle(drive.label, "asks for NTFS", "has vfat")

    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)
    assert os.listdir(drive.mount_point) == []


def test_a_read_only_drive(plug, service, start):
    """No job is made for a drive that cannot be signed, until it is mounted writable."""
    drive = plug(new_device_id()).mount("ro")
    daemon = start()
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "read-only")
    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)

    unmount(drive)
    mount(drive)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_twins(plug, service, start):
    """If two drives have one label, both are named and neither is used until one is gone."""
    device_id = new_device_id()
    right, twin = plug(device_id).mount(), plug(device_id).mount()
    daemon = start()
    daemon.drop(device_id)
    daemon.obstacle(device_id, right.device, twin.device)
    look_again(service, daemon, plug)
    assert not jobs_for(service, device_id)
    assert os.listdir(right.mount_point) == os.listdir(twin.mount_point) == []

    twin.pull()
    look_again(service, daemon, plug)  # its mounts are noticed at once, a detached device is not

    prepared_once(service, daemon, right.mount_point, device_id)


def test_a_bind_mount_of_a_subfolder(plug, service, start, tmp_path):
    """It has the drive's label but is not its root: it is not used until the root is mounted."""
    drive = plug(new_device_id()).mount()
    (drive.mount_point / "folder").mkdir()
    drive.bind(tmp_path / "bound", "folder")
    subprocess.run(["umount", drive.mount_point], check=True)
    daemon = start()
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, drive.device, "only its folder /folder is mounted")
    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)
    assert os.listdir(tmp_path / "bound") == []

    subprocess.run(["umount", tmp_path / "bound"], check=True)
    mount(drive)

    daemon.until("SIGNATURE is written", (drive.mount_point / "SIGNATURE").exists)
    assert sorted(os.listdir(drive.mount_point)) == ["SIGNATURE", "folder"]
    assert os.listdir(drive.mount_point / "folder") == []


def test_drives_nobody_asked_for(plug, service, start):
    """No byte of them is changed while other drives are prepared."""
    others = [plug(new_device_id()).mount(), plug(new_device_id(), "ext4").mount()]
    for other in others:
        (other.mount_point / "SIGNATURE").write_text("somebody else's")
    os.sync()
    before = [hashlib.sha256(other.image.read_bytes()).hexdigest() for other in others]

    daemon = start()
    look_again(service, daemon, plug)
    daemon.restart()
    look_again(service, daemon, plug)

    os.sync()
    assert [hashlib.sha256(other.image.read_bytes()).hexdigest() for other in others] == before


def test_a_foreign_signature(plug, service, start):
    """It is never overwritten; when the operator has removed it, `retry` works at once."""
    drive = plug(new_device_id()).mount()
    foreign = "version:2.0\nsigningMethod:HmacSHA1\njobId:OTHER\nsignature:x=\n"
    (drive.mount_point / "SIGNATURE").write_text(foreign)
    daemon = start()
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "already has a SIGNATURE", "OTHER")
    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)
    assert (drive.mount_point / "SIGNATURE").read_text() == foreign
    assert os.listdir(drive.mount_point) == ["SIGNATURE"]

    (drive.mount_point / "SIGNATURE").unlink()
    assert daemon.command("retry", drive.label).returncode == 0

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_a_drive_known_by_its_uuid_alone(plug, service, start):
    """With require_mapping a label does not count, and an entry in `devices` is enough."""
    forged, real = plug(new_device_id()), plug("no name")
    give_own_uuid(forged)
    forged.mount()
    real.mount()
    daemon = start(require_mapping=True, devices={forged.label: {"uuid": uuid_of(real)}})

    daemon.drop(forged.label)

    prepared_once(service, daemon, real.mount_point, forged.label)
    assert os.listdir(forged.mount_point) == []


def test_require_mapping_without_a_mapping(plug, service, start):
    """The obstacle says where to describe the drive; once it is described, it is prepared."""
    drive = plug(new_device_id()).mount()
    daemon = start(require_mapping=True)
    daemon.drop(drive.label)
    told = daemon.obstacle(drive.label, "no mounted drive")
    assert "require_mapping" in told["hint"]
    assert not jobs_for(service, drive.label)

    daemon.configure(require_mapping=True, devices={drive.label: {"uuid": uuid_of(drive)}})

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_an_obstacle_follows_the_drives_that_it_names(plug, service, start):
    """A drive that nearly fits is named when it comes, and no longer when it has gone."""
    device_id = new_device_id()
    daemon = start()
    daemon.drop(device_id)
    daemon.obstacle(device_id, f"no mounted drive matches {device_id}")

    near = plug(device_id.lower()).mount()
    daemon.obstacle(device_id, f"it nearly fits {near.device}")

    near.pull()
    look_again(service, daemon, plug)

    def has_followed() -> bool:
        return near.device not in daemon.job(device_id)["obstacle"]

    daemon.until("the obstacle names the drive no longer", has_followed)
    assert not jobs_for(service, device_id)
