"""Messages of the kernel and of udev about block devices, which come, go and are described."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from typing import Self

NETLINK_KOBJECT_UEVENT = 15  # linux/netlink.h
# Multicast groups: the kernel's own messages, and udevd's, which it sends once it has described the
# device (libudev's MONITOR_GROUP_UDEV).
KERNEL, UDEV = 1, 2
MESSAGE_BYTES = 16 * 1024  # udev's are longer than the kernel's, which have at most 2,048
BLOCK = b"SUBSYSTEM=block\0"


class BlockEvents:
    """A descriptor to poll for POLLIN. What the messages say is not trusted, only that they came.

    Where no such socket is allowed, there are no events, and `fileno` returns None.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with suppress(OSError), ExitStack() as stack:  # a sandbox without AF_NETLINK
            opened = socket.socket(socket.AF_NETLINK, kind, NETLINK_KOBJECT_UEVENT)
            stack.enter_context(opened)
            opened.bind((0, KERNEL | UDEV))
            stack.pop_all()
            self._socket = opened

    def fileno(self) -> int | None:
        """The descriptor, for select.poll(), or None."""
        return self._socket.fileno() if self._socket else None

    def take(self) -> bool:
        """Take all messages that have come; return whether any concerns a block device."""
        is_block = False
        while self._socket:
            try:
                is_block = BLOCK in self._socket.recv(MESSAGE_BYTES) or is_block
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: messages were lost
                is_block = True
        return is_block

    def close(self) -> None:
        """Close the descriptor. Safe to repeat."""
        if self._socket:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
