"""A line to the service that can hold back a CreateJob, like a network does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

REAL = b"ValidateOnly=false"


class Wire:
    """Passes connections on, from `start` to `stop`. What it holds leaves when it is let go."""

    def __init__(self, endpoint: str) -> None:
        url = urlsplit(endpoint)
        self._target = (url.hostname or "", url.port or 0)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.is_holding = threading.Event()  # a request is held back now
        self._let_go = threading.Event()
        self._let_go.set()

    def start(self) -> Self:
        """Begin to pass connections on."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def hold(self) -> None:
        """Hold back every real CreateJob from now on."""
        self._let_go.clear()

    def let_go(self) -> None:
        """Pass on what was held back, also if its sender has gone."""
        self._let_go.set()

    def stop(self) -> None:
        """End it. Safe to repeat."""
        self._let_go.set()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._carry, args=[client], daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            back = threading.Thread(target=_copy, args=[server, client], daemon=True)
            back.start()
            while data := client.recv(1 << 16):
                if REAL in data and not self._let_go.is_set():
                    self.is_holding.set()
                    self._let_go.wait()
                server.sendall(data)
            back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
