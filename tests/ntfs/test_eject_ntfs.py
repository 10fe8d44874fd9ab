"""Ejecting: only the drive that was signed, by its identity, and success is checked."""

import shutil

import pytest
from as_operator import new_device_id
from loop_drives import is_mounted, run

from daemon.drives import mounts
from daemon.drives.eject import eject
from daemon.drives.inventory import Drives
from daemon.errors import DriveError
from daemon.system import programs

# What udisksctl(1) does: the last argument is the device node.
UNMOUNT = 'for node; do :; done; [ "$1" != unmount ] || umount "$node"'
POWER_OFF = '[ "$1" != power-off ] || losetup -d "$node"'


@pytest.fixture
def udisksctl(tmp_path):
    """A stand-in that records its arguments and then runs the given script."""

    def make(*script):
        program = tmp_path / "udisksctl"
        program.write_text("\n".join(["#!/bin/sh", f'echo "$@" >>{tmp_path}/called', *script, ""]))
        program.chmod(0o755)
        return programs.environment(f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")

    return make


def signed(drive):
    """The identities of a mounted drive, as its job has them."""
    return next(one for one in Drives().mounted() if one.device_node == drive.device).identities()


def test_unmounted_and_powered_off(plug, udisksctl, tmp_path):
    """In this order, without asking for a password; "powered off" only once it has gone."""
    drive = plug(new_device_id()).mount()

    ended = eject(signed(drive), Drives(), udisksctl(UNMOUNT, POWER_OFF))

    assert ended == "unmounted and powered off"
    assert not is_mounted(drive.mount_point)
    lines = (tmp_path / "called").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["unmount", "power-off"]
    assert all("--no-user-interaction" in line and drive.device in line for line in lines)


def test_the_drive_that_was_signed_not_its_old_node(plug, udisksctl):
    """After a replug another drive can have the node that was recorded: it is left alone."""
    ours, other = plug(new_device_id()).mount(), plug(new_device_id()).mount()
    recorded = signed(ours) | {"deviceNode": other.device}

    eject(recorded, Drives(), udisksctl(UNMOUNT, POWER_OFF))

    assert not is_mounted(ours.mount_point)
    assert is_mounted(other.mount_point)


def test_a_drive_that_is_mounted_twice_is_only_unmounted(plug, udisksctl, tmp_path):
    """Someone else uses it: its power stays on, and the sentence says why."""
    drive = plug(new_device_id()).mount()
    drive.bind(tmp_path / "second")

    ended = eject(
        signed(drive),
        Drives(),
        udisksctl('[ "$1" = unmount ]', "for node; do :; done", f"umount {drive.mount_point}"),
    )

    assert ended == "unmounted, but not powered off: it is mounted a second time"


def test_a_mount_that_the_sandbox_shows_twice(plug, udisksctl):
    """Below /media the service sees the mount, and the same again under a bind mount of /media."""
    drive = plug(new_device_id())
    media = drive.mount_point.parent
    media.mkdir(parents=True, exist_ok=True)
    run("mount", "--bind", media, media)
    run("mount", "--make-shared", media)
    run("mount", "--bind", media, media)
    try:
        drive.mount()
        shown = [one for one in mounts.read() if one.mount_point == str(drive.mount_point)]
        assert len(shown) == 2

        ended = eject(signed(drive), Drives(), udisksctl(UNMOUNT, POWER_OFF))

        assert ended == "unmounted and powered off"
    finally:
        drive.unmount(lazily=True)
        run("umount", "--lazy", media)
        run("umount", "--lazy", media)


def test_success_is_not_believed(plug, udisksctl, monkeypatch):
    """A command that reports success, and has done nothing to our drive, is not a success."""
    monkeypatch.setattr("daemon.drives.eject.GONE_SECONDS", 0.1)
    drive = plug(new_device_id()).mount()

    with pytest.raises(DriveError, match="but it is still mounted"):
        eject(signed(drive), Drives(), udisksctl("exit 0"))
    with pytest.raises(DriveError, match="but the drive is still there"):
        eject(signed(drive), Drives(), udisksctl(UNMOUNT))


def test_a_drive_that_has_gone(plug, udisksctl, tmp_path):
    """Nothing is unmounted in its place."""
    drive, other = plug(new_device_id()).mount(), plug(new_device_id()).mount()
    recorded = signed(drive)
    drive.unmount()

    with pytest.raises(DriveError, match="it is not mounted any more"):
        eject(recorded, Drives(), udisksctl(UNMOUNT, POWER_OFF))

    assert is_mounted(other.mount_point)
    assert not (tmp_path / "called").exists()


def test_a_refusal_is_one_line(plug, udisksctl):
    """The lines above the reason are about a terminal, which a service does not have."""
    drive = plug(new_device_id()).mount()
    refusing = udisksctl("echo 'no terminal' >&2; echo 'Not authorized' >&2; exit 1")

    with pytest.raises(DriveError, match=r"did not unmount it: Not authorized$") as refused:
        eject(signed(drive), Drives(), refusing)

    assert f"udisksctl unmount -b {drive.device}" in refused.value.hint
    assert is_mounted(drive.mount_point)


def test_no_udisks(plug):
    """If it is not installed, the error says so."""
    drive = plug(new_device_id()).mount()
    assert shutil.which("udisksctl", path="/nonexistent") is None

    with pytest.raises(DriveError, match="udisksctl"):
        eject(signed(drive), Drives(), {"PATH": "/nonexistent"})
