"""A disk with a write cache that a power cut empties: an NBD server in a thread.

What the machine writes is durable only after a flush, or with FUA (the NBD protocol, doc/proto.md
of NetworkBlockDevice/nbd). A cut loses the rest, block by block, as a real cache loses it.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterable
from pathlib import Path

BLOCK = 4096
MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST_MAGIC, ANSWER_MAGIC = 0x25609513, 0x67446698
EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
ACK, EXPORT, UNSUPPORTED = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
FLAGS = 1 | 4 | 8  # has flags, takes FLUSH, takes FUA


class VolatileDisk:
    """Serves a file at a Unix socket. The file has what is durable."""

    def __init__(self, file: Path, place: Path) -> None:
        self.file, self.socket = file, place
        self._lock = threading.Lock()
        self._dirty: dict[int, bytes] = {}  # number of a block -> what was written there
        self._medium = os.open(file, os.O_RDWR)
        self._size = os.fstat(self._medium).st_size // BLOCK * BLOCK
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen()
        self._power = object()  # another one after each cut
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """End the server; nothing more is kept."""
        self._listener.close()
        os.close(self._medium)

    def cut(self, chance: random.Random, kept: float) -> int:
        """Cut the power: of the blocks in the cache this share survives; return how many it had.

        What comes later by the old connections has no effect: QEMU flushes a drive it lets go of.
        """
        with self._lock:
            self._power = object()
            lost, self._dirty = self._dirty, {}
            for number, data in lost.items():
                if chance.random() < kept:
                    os.pwrite(self._medium, data, number * BLOCK)
            return len(lost)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        power = self._power
        with client:
            try:
                if self._negotiate(client):
                    while self._answer(client, power):
                        pass
            except (OSError, EOFError):  # the machine was killed
                pass

    def _negotiate(self, client: socket.socket) -> bool:
        client.sendall(MAGIC + OPTION_MAGIC + struct.pack(">H", 3))
        _receive(client, 4)
        while True:
            _, option, length = struct.unpack(">8sII", _receive(client, 16))
            _receive(client, length)
            if option == EXPORT_NAME:
                client.sendall(struct.pack(">QH", self._size, FLAGS))
                return True
            if option in {INFO, GO}:
                info = struct.pack(">HQH", 0, self._size, FLAGS)
                _reply(client, option, EXPORT, info)
                _reply(client, option, ACK)
                if option == GO:
                    return True
            elif option == ABORT:
                _reply(client, option, ACK)
                return False
            else:
                _reply(client, option, UNSUPPORTED)

    def _answer(self, client: socket.socket, power: object) -> bool:
        head = _receive(client, 28)
        magic, flags, kind, handle, start, length = struct.unpack(">IHHQQI", head)
        assert magic == REQUEST_MAGIC
        data = b""
        sent = _receive(client, length) if kind == WRITE else b""
        with self._lock:
            if power is not self._power or kind == DISCONNECT:
                return False
            if kind == WRITE:
                self._write(start, sent)
                if flags & FUA:
                    self._flush(range(start // BLOCK, (start + length - 1) // BLOCK + 1))
            elif kind == READ:
                data = self._read(start, length)
            elif kind == FLUSH:
                self._flush(list(self._dirty))
        client.sendall(struct.pack(">IIQ", ANSWER_MAGIC, 0, handle) + data)
        return True

    def _block(self, number: int) -> bytes:
        return self._dirty.get(number) or os.pread(self._medium, BLOCK, number * BLOCK)

    def _read(self, start: int, length: int) -> bytes:
        first, last = start // BLOCK, (start + length - 1) // BLOCK
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[start - first * BLOCK :][:length]

    def _write(self, start: int, data: bytes) -> None:
        while data:
            number, inside = divmod(start, BLOCK)
            part = data[: BLOCK - inside]
            old = self._block(number)
            self._dirty[number] = old[:inside] + part + old[inside + len(part) :]
            start, data = start + len(part), data[len(part) :]

    def _flush(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if (data := self._dirty.pop(number, None)) is not None:
                os.pwrite(self._medium, data, number * BLOCK)


def _reply(client: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    client.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)


def _receive(client: socket.socket, length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        if not (part := client.recv(length - len(parts))):
            raise EOFError
        parts += part
    return parts
