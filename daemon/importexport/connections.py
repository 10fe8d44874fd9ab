"""Connections that record whether a request was sent, and that another thread can cut.

Built on the connections of urllib3, which does pooling, TLS and proxies.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from urllib3.poolmanager import ProxyManager

_IDLE_SECONDS = 4.0  # less than the common keep-alive limits of servers (5 s and up)


class Line:
    """The connection of one request: whether anything was sent, and a way to cut it."""

    def __init__(self) -> None:
        self.sent = False  # a byte of the request may have left this machine
        self._is_cut = False
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None

    def use(self, connection: socket.socket, *, to_send: bool) -> None:
        """Record the connection, and whether bytes follow. Raises TimeoutError once it is cut."""
        with self._lock:
            if self._is_cut:
                raise TimeoutError("past the deadline")
            self.sent = self.sent or to_send
            if self._connection is None:
                # A duplicate: TLS takes over the original descriptor, and the pool may close it.
                self._connection = socket.fromfd(
                    connection.fileno(), connection.family, connection.type
                )

    def cut(self) -> None:
        """Shut the connection down and let nothing more through, also after `release`."""
        with self._lock:
            self._is_cut = True
            if self._connection is not None:
                with suppress(OSError):  # the other side has closed it already, or it is released
                    self._connection.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give up the connection without closing it down."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()


current_line: ContextVar[Line] = ContextVar("line")


class _Connection(HTTPConnection):
    """A connection that reports to the line of its request."""

    _is_connecting = False  # a proxy's CONNECT is not part of the request
    _used = 0.0  # monotonic seconds

    @property
    def is_stale(self) -> bool:
        """Return whether it was idle for so long that the service may be closing it now.

        A request that is sent over a closing connection would be in doubt for no reason.
        """
        return time.monotonic() - self._used > _IDLE_SECONDS

    def opened(self) -> None:
        """The connection was opened ahead of its request, and is not stale for a while."""
        self._used = time.monotonic()

    def connect(self) -> None:
        """Open the connection; this sends nothing of the request."""
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        try:
            current_line.get().use(connection, to_send=False)
        except TimeoutError:
            connection.close()
            raise
        return connection

    def send(self, data: Any) -> None:  # noqa: ANN401 - whatever http.client takes
        """Send a part of the request: from here on the service may act."""
        if not self._is_connecting:
            if self.sock is None:
                self.connect()
            current_line.get().use(self.sock, to_send=True)
            self._used = time.monotonic()
        super().send(data)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""

    @property
    def is_connected(self) -> bool:
        """Return whether the other side has neither closed the connection nor sent data on it.

        TLS 1.3 sends tickets of its own after the handshake (RFC 8446, 4.6.1). Where they were not
        read yet, urllib3 would take the connection for a closed one.
        """
        connection = self.sock
        if connection is None:
            return False
        timeout = connection.gettimeout()
        try:
            connection.settimeout(0)
            connection.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            with suppress(OSError):
                connection.settimeout(timeout)
        return False


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def open_one(self) -> None:
        """Have a connection open for the next request. Sends nothing of one; never raises."""
        line = Line()
        current_line.set(line)
        with suppress(Exception):  # the request itself reports what is wrong
            connection = self._get_conn(0)
            try:
                self._validate_conn(connection)  # this connects, with TLS
                if connection.sock is None:
                    connection.connect()
                connection.opened()
            finally:
                self._put_conn(connection)
        line.release()

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - like the pool
        connection: Any = super()._get_conn(timeout)
        if connection.is_stale:
            connection.close()  # the next request opens it again
        return connection


class _SecurePool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class Adapter(HTTPAdapter):
    """The adapter of `requests` with connections that report."""

    _pools: ClassVar = {"http": _Pool, "https": _SecurePool}

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **settings: object
    ) -> None:
        """Called by `requests` once, for direct connections."""
        super().init_poolmanager(connections, maxsize, block, **settings)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def open_ahead(self) -> None:
        """Open a direct connection in the background, where one was used before."""
        if not hasattr(HTTPConnection, "is_connected"):  # urllib3 1.26, see _SecureConnection
            return
        pools = self.poolmanager.pools
        for pool in map(pools.get, pools.keys()):
            if isinstance(pool, _Pool):
                threading.Thread(target=pool.open_one, name="connect", daemon=True).start()

    def proxy_manager_for(self, proxy: str, **settings: object) -> ProxyManager:
        """Called by `requests` for each request through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = self._pools
        return manager
