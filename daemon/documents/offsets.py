"""Places in a text, as a person counts them, and offsets, as a program does."""

from __future__ import annotations

from bisect import bisect_right

from daemon.documents.text import LINE_END


class Offsets:
    """Translates between offsets in a text and lines and columns, which count from 1.

    A byte order mark at the start of the text has an offset, but no column.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        first = len(text) - len(text.removeprefix("\ufeff"))
        self._starts = [first, *(end.end() for end in LINE_END.finditer(text))]

    def place(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset."""
        line = max(bisect_right(self._starts, offset), 1)
        return line, max(offset - self._starts[line - 1], 0) + 1

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a place."""
        return self._starts[line - 1] + column - 1

    def line(self, number: int) -> str:
        """Return a line of the text, without its end; an empty one past the last."""
        if number > len(self._starts):
            return ""
        end = LINE_END.search(self._text, self._starts[number - 1])
        return self._text[self._starts[number - 1] : end.start() if end else None]
