"""Untrusted text, such as file system labels, made safe to show on a terminal or in a log."""

from __future__ import annotations

import time


def printable(text: str) -> str:
    r"""`text` with every character escaped that could move, hide or reorder others.

    Control characters, terminal escapes, bidirectional marks, line separators, invisible and
    undecodable characters become `\x1b` or `\u202e`; letters of any script and the space stay.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay what they are."""
    return "\n".join(map(printable, text.split("\n")))


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as the service writes times: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
