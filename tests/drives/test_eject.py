"""A drive is unmounted and powered off by udisks2, whose refusal is told in one line."""

import re

import pytest

from daemon.drives.eject import eject
from daemon.errors import DriveError


@pytest.fixture
def udisksctl(tmp_path, monkeypatch):
    """Stands in for udisksctl(1): writes down what it is called with, then does as told."""

    def make(script):
        program = tmp_path / "udisksctl"
        program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called\n{script}\n')
        program.chmod(0o755)
        return tmp_path / "called"

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return make


def test_unmounted_and_then_powered_off(udisksctl):
    """In this order, and nobody is asked for a password."""
    called = udisksctl("exit 0")

    eject("/dev/sdb1")

    lines = called.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["unmount", "power-off"]
    assert all("--no-user-interaction" in line and "/dev/sdb1" in line for line in lines)


def test_a_refusal_is_one_line(udisksctl):
    """What stands above the reason is about a terminal that a service does not have."""
    called = udisksctl("echo 'no terminal' >&2; echo 'Not authorized' >&2; exit 1")

    with pytest.raises(DriveError, match=r"did not unmount it: Not authorized$") as refused:
        eject("/dev/sdb1")

    assert re.search("udisksctl unmount -b /dev/sdb1", refused.value.hint)
    assert len(called.read_text().splitlines()) == 1


def test_no_udisks(tmp_path, monkeypatch):
    """Where it is not installed, that is said."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DriveError, match="udisksctl"):
        eject("/dev/sdb1")
