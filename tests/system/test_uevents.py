"""Messages about block devices ring, all others do not."""

from __future__ import annotations

import errno
import socket

import pytest

from daemon.system import uevents
from daemon.system.uevents import BlockEvents


@pytest.fixture
def heard(monkeypatch):
    """The events and a socket that stands for their sender: sending needs the kernel or udev."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with ours, theirs, BlockEvents() as events:
        events.close()
        monkeypatch.setattr(events, "_socket", ours)
        yield events, theirs


def test_only_block_devices_ring(heard):
    """Whatever comes before or after; all messages that have come are taken at once."""
    events, sender = heard
    sender.send(b"add@/devices/x\0ACTION=add\0SUBSYSTEM=power_supply\0")
    assert not events.take()

    sender.send(b"libudev\0\xfe\xedSUBSYSTEM=block\0DEVTYPE=disk\0")
    sender.send(b"add@/devices/x\0ACTION=add\0SUBSYSTEM=net\0")
    assert events.take()
    assert not events.take()


def test_a_lost_message_rings(heard, monkeypatch):
    """When the kernel's buffer has overflowed, any disk may have come or gone."""
    answers = iter([OSError(errno.ENOBUFS, "no buffer space"), BlockingIOError()])

    class Overflowed(socket.socket):
        def recv(self, *_: int) -> bytes:
            raise next(answers)

    events, _ = heard
    with Overflowed() as overflowed:
        monkeypatch.setattr(events, "_socket", overflowed)

        assert events.take()


def test_a_sandbox_without_netlink_has_no_events(monkeypatch):
    """Then the timer alone notices."""

    def refuse(*_: int) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(uevents.socket, "socket", refuse)

    with BlockEvents() as events:
        assert events.fileno() is None
        assert not events.take()
