"""Connections of the HTTP server, with limits: how many, how slow, and how long in silence."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

EVENTS = "/events"
MAX_CONNECTIONS = 200
HEAD_SECONDS = 5.0  # for a request's head, and for the rest of a body that no one wants
WRITE_SECONDS = 20.0  # for a client that does not read what it asked for


class Connection(H11Protocol):
    """uvicorn's connection; one that takes too long, or is one too many, is cut."""

    open_ones: ClassVar[dict[Connection, None]] = {}  # oldest first
    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room if there are too many: the oldest that asks for nothing goes, else this one."""
        super().connection_made(transport)
        if len(self.open_ones) >= MAX_CONNECTIONS:
            (next((one for one in self.open_ones if one.is_idle), None) or self).cut()
        self.open_ones[self] = None
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.open_ones.pop(self, None)
        for timer in (self._head, self._write):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data; the time for a head begins with its first byte."""
        super().data_received(data)
        self._time_head()

    def pause_writing(self) -> None:
        """The client does not read: from now on it has WRITE_SECONDS."""
        super().pause_writing()
        self._write = self.loop.call_later(WRITE_SECONDS, self.cut)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._write:
            self._write.cancel()
            self._write = None

    @property
    def is_stream(self) -> bool:
        """Whether it gets events, which end only with the board."""
        return not self.is_idle and self.scope["path"] == EVENTS

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return is_answered and self.conn.their_state in {h11.IDLE, h11.SEND_BODY}

    def cut(self) -> None:
        """End it at once, whatever is still to be sent."""
        self.transport.abort()

    def _time_head(self) -> None:
        if not self.is_idle and self._head:
            self._head.cancel()
            self._head = None
        elif self.is_idle and not self._head:
            self._head = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _expire(self) -> None:
        self._head = None
        if self.is_idle:
            self.cut()
