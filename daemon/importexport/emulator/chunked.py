"""A request's body in chunks, RFC 9112, section 7.1: what some HTTP libraries send."""

from __future__ import annotations

import re
from io import BufferedIOBase

LINE_LIMIT = 8192  # bytes, of a chunk's first line and of a trailer
SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?")


def read(stream: BufferedIOBase, limit: int) -> bytes | None:
    """Return the whole body; None if it is longer than `limit`. Raises ValueError if broken."""
    body = b""
    while size := _size(stream):
        if len(body) + size > limit:
            return None
        body += _exactly(stream, size)
        if _line(stream):
            raise ValueError("a chunk is longer than it says")
    while _line(stream):  # trailers, which mean nothing here
        pass
    return body


def _size(stream: BufferedIOBase) -> int:
    found = SIZE.fullmatch(_line(stream))
    if not found:
        raise ValueError("a chunk has no size")
    return int(found[1], 16)


def _line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(LINE_LIMIT)
    if not line.endswith(b"\n"):
        raise ValueError("a line has no end")
    return line.rstrip(b"\r\n")


def _exactly(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("the body ends within a chunk")
    return data
