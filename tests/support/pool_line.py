"""The way from the stations to the pool's database: it can be cut, and led to another server."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path

from postgres import USER, Postgres

SOCKET = ".s.PGSQL.5432"


class PoolLine:
    """Passes connections on to a server, at a socket in `folder`, until `stop`."""

    def __init__(self, folder: Path, server: Postgres) -> None:
        folder.mkdir()
        self.url = f"postgresql:///pool?host={folder}&user={USER}"
        self.server = server  # where new connections lead
        self._is_cut = False
        self._lines: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ear = socket.socket(socket.AF_UNIX)
        self._ear.bind(str(folder / SOCKET))
        self._ear.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut all connections, and let none through until it is mended."""
        with self._lock:
            self._is_cut = True
            for line in self._lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let new connections through again."""
        self._is_cut = False

    def stop(self) -> None:
        """End it. Safe to repeat."""
        self.cut()
        self._ear.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._ear.accept()
                threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            with self._lock:
                if self._is_cut:
                    return
                self._lines |= {client, server}
            try:
                server.connect(str(self.server.folder / SOCKET))
                _pass_on(client, server)
            finally:
                with self._lock:
                    self._lines -= {client, server}


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Pass on what each of two connections sends, until one of them ends."""
    ends = {one: other, other: one}
    while True:
        for ready in select.select([*ends], [], [])[0]:
            data = ready.recv(1 << 16)
            if not data:
                return
            ends[ready].sendall(data)
