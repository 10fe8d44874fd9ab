"""sd_notify(3) on real sockets."""

import os
import socket
import time
from contextlib import closing

import pytest

from daemon.system import systemd


@pytest.fixture
def manager():
    """A service manager's socket, with a deadline for those who wait at it."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.settimeout(10)
        yield listener


def test_notify_tells_the_manager(manager, tmp_path, monkeypatch):
    """Assignments arrive as one datagram, a line each."""
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

    systemd.notify("READY=1", "STATUS=Ä 3 jobs")

    assert manager.recv(1000) == "READY=1\nSTATUS=Ä 3 jobs".encode()


def test_notify_in_the_abstract_name_space(manager, monkeypatch):
    """An address that begins with @ has no file, sd_notify(3)."""
    name = f"driveprep-test-{os.getpid()}"
    manager.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

    systemd.notify("WATCHDOG=1")

    assert manager.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", None])
def test_notify_without_systemd(address, monkeypatch):
    """Where no manager listens to anything, nothing is told and nothing fails."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.notify("READY=1")


@pytest.mark.parametrize("address", ["/nowhere/notify", "x" * 200, "@" + "x" * 200])
def test_notify_to_a_wrong_address(address, monkeypatch):
    """An address that leads nowhere, or is none, stops nobody."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.notify("READY=1")


def test_notify_to_a_manager_that_does_not_read(manager, tmp_path, monkeypatch):
    """A manager with a full queue is given a moment, and the daemon goes on."""
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(systemd, "SEND_SECONDS", 0.01)

    for _ in range(2000):  # net.unix.max_dgram_qlen is 10 to 512
        started = time.monotonic()
        systemd.notify("WATCHDOG=1")
        if (taken := time.monotonic() - started) >= 0.01:
            break

    assert 0.01 <= taken < 5


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("60000000", 30.0), ("1", 0.0000005), ("0", None), ("", None), ("-5", None), ("soon", None)],
)
def test_watchdog_is_fed_at_half_its_limit(limit, seconds, monkeypatch):
    """Half of WATCHDOG_USEC, in seconds; none for what is no limit."""
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    assert systemd.watchdog_seconds() == seconds


def test_watchdog_of_another_process(monkeypatch):
    """A watchdog that is meant for another process is not ours to feed, sd_watchdog_enabled(3)."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_seconds() == 30.0

    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert systemd.watchdog_seconds() is None


def test_no_watchdog(monkeypatch):
    """Without systemd there is no watchdog."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    assert systemd.watchdog_seconds() is None
