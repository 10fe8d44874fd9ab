"""Server-sent events: a reader gets each new view, and one that does not read is let go."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from daemon.board.watching import Hub

BEAT_SECONDS = 10.0  # between two signs of life
WRITE_SECONDS = 20.0  # for a reader that does not read


class EventStream(Response):
    """Sends views until the reader leaves, does not read, or `may_go_on` says no."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, *, is_read_only: bool) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._is_read_only = is_read_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer a request; ends when the reader has left."""
        gone = asyncio.ensure_future(_disconnected(receive))
        listener = self._hub.join()
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await _send(send, b"retry: 1000\n\n")
            while not gone.done():
                published = await listener.next(BEAT_SECONDS)
                if published is None:
                    await _send(send, b": still here\n\n")
                    continue
                data = published.of(is_read_only=self._is_read_only)
                head = f"event: view\nid: {published.number}\ndata: ".encode()
                await _send(send, head + data + b"\n\n")
        except (TimeoutError, OSError):
            pass
        finally:
            self._hub.leave(listener)
            gone.cancel()


async def _send(send: Send, data: bytes) -> None:
    message = {"type": "http.response.body", "body": data, "more_body": True}
    await asyncio.wait_for(send(message), WRITE_SECONDS)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
