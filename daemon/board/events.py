"""Server-sent events: a reader gets each new view. One that does not read is cut, `connections`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from daemon.board.watching import Hub

BEAT_SECONDS = 10.0  # between two signs of life


class EventStream(Response):
    """Sends views to the reader `name` until it leaves, or no longer `lasts`."""

    media_type = "text/event-stream"

    def __init__(
        self, hub: Hub, name: str, lasts: Callable[[], bool], *, is_read_only: bool
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub, self._name, self._lasts = hub, name, lasts
        self._is_read_only = is_read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer a request; ends when the reader has left."""
        gone = asyncio.ensure_future(_disconnected(receive))
        listener = self._hub.join(self._name)
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await _send(send, b"retry: 1000\n\n")
            while not gone.done() and self._lasts():
                published = await listener.next(BEAT_SECONDS)
                if not self._lasts():
                    break
                if published is None:
                    await _send(send, b": still here\n\n")
                    continue
                data = published.of(is_read_only=self._is_read_only)
                head = f"event: view\nid: {published.number}\ndata: ".encode()
                await _send(send, head + data + b"\n\n")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._hub.leave(listener)
            gone.cancel()


async def _send(send: Send, data: bytes) -> None:
    message = {"type": "http.response.body", "body": data, "more_body": True}
    await send(message)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
