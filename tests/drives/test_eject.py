"""udisks2 unmounts a drive and powers it off; if it refuses, its reason is shown in one line."""

import re

import pytest

from daemon.drives.eject import eject
from daemon.errors import DriveError
from daemon.system import programs


@pytest.fixture
def path(tmp_path):
    """An environment in which the stand-in is found."""
    return programs.environment(f"{tmp_path}:/usr/bin:/bin")


@pytest.fixture
def udisksctl(tmp_path):
    """A stand-in for udisksctl(1): it records its arguments, then runs the given script."""

    def make(script):
        program = tmp_path / "udisksctl"
        program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\n{script}\n')
        program.chmod(0o755)
        return tmp_path / "called"

    return make


def test_unmounted_and_then_powered_off(udisksctl, path):
    """In this order, and without asking for a password."""
    called = udisksctl("exit 0")

    eject("/dev/sdb1", path)

    lines = called.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["unmount", "power-off"]
    assert all("--no-user-interaction" in line and "/dev/sdb1" in line for line in lines)


def test_a_refusal_is_one_line(udisksctl, path):
    """The lines above the reason are about a terminal, which a service does not have."""
    called = udisksctl("echo 'no terminal' >&2; echo 'Not authorized' >&2; exit 1")

    with pytest.raises(DriveError, match=r"did not unmount it: Not authorized$") as refused:
        eject("/dev/sdb1", path)

    assert re.search("udisksctl unmount -b /dev/sdb1", refused.value.hint)
    assert len(called.read_text().splitlines()) == 1


def test_no_udisks():
    """If it is not installed, the error says so."""
    path = {"PATH": "/nonexistent"}

    with pytest.raises(DriveError, match="udisksctl"):
        eject("/dev/sdb1", path)
