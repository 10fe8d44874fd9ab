"""A server without manners: it does to one connection after another what a test tells it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

SIGNED = """<GetStatusResponse><GetStatusResult><JobId>K7M3X</JobId></GetStatusResult>
</GetStatusResponse>"""


def http(body: str = SIGNED, *headers: str, status: str = "200 OK", length: int | None = None):
    """An answer as bytes."""
    size = f"Content-Length: {len(body) if length is None else length}"
    return "\r\n".join([f"HTTP/1.1 {status}", size, *headers, "", body]).encode()


def request(connection: socket.socket) -> bytes:
    """One whole request, or what came of it before the client went away."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        if not (more := connection.recv(65536)):
            break
        body += more
    return head + b"\r\n\r\n" + body


class Server:
    """Where it listens, and how often somebody came."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.connections = 0


@contextmanager
def serving(
    act: Callable[[socket.socket], object], context: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Serve each connection with `act` on a thread of its own, until the block ends."""
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = Server(listener)

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), closing(connection):
                if context is not None:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        act(secured)
                else:
                    act(connection)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    server.connections += 1
                    opened.append(connection)
                    threads.append(threading.Thread(target=serve, args=[connection]))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in opened:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
