"""Messages to systemd, by sd_notify(3), and to journald, by its native protocol."""

from __future__ import annotations

import os
import socket
import struct

SEND_SECONDS = 1.0  # for a service manager that does not read; its queue is short
JOURNAL_SOCKET = "/run/systemd/journal/socket"


def is_listening() -> bool:
    """Return whether a service manager wants to be notified."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*assignments: str) -> None:
    """Send assignments such as `READY=1`. Safe to repeat; errors of the socket are ignored.

    Without systemd it does nothing.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract name space, sd_notify(3)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(SEND_SECONDS)
        try:
            sender.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return


def watchdog_seconds() -> float | None:
    """How often to send `WATCHDOG=1`: half the limit that systemd gives, or None."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    process = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not limit.isdecimal() or process != str(os.getpid()):
        return None
    return int(limit) / 2_000_000 or None


def log(**fields: str) -> None:
    """Make one entry in journald's journal. Raises OSError where it is not taken."""
    entry = b"".join(
        _field(name, text.encode("utf-8", "backslashreplace")) for name, text in fields.items()
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(SEND_SECONDS)
        sender.sendto(entry, JOURNAL_SOCKET)


def _field(name: str, value: bytes) -> bytes:
    # systemd.io/JOURNAL_NATIVE_PROTOCOL: a value with a newline is sent with its length.
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
