"""Texts that are only lines `key: value`, as nearly all manifests are: read without YAML's parser.

What is read here, YAML's parser reads as the very same nodes. For any other text there is None, and
the parser has to say what it is, or what is wrong with it.
"""

from __future__ import annotations

import re

from daemon.documents.nodes import Mapping, Node, Scalar, Sequence
from daemon.documents.text import Text

_NO_CONTENT = re.compile(r" *(?:#[ -~]*)?")
# So few columns nest less deep than syntax.MAX_DEPTH. Quoted texts have no escapes here.
_LINE = re.compile(
    r" {0,16}(?P<dash>- )?(?P<key>[A-Za-z][A-Za-z0-9]{1,99}):(?: *(?P<value>"
    r"\w(?:[\w ./@()+,-]*[\w./@()+,-])?"
    r"""|'[ -&(-~\w]*'|"[ !#-\[\]-~\w]*"))?"""
)


def read(text: Text) -> Mapping | None:
    """Return the mapping that is the whole text; None if it may be anything but such lines.

    A key needs no space after its colon, as in the guide.
    """
    lines = []
    for number, line in enumerate(text.lines):
        if found := _LINE.fullmatch(line):
            lines.append((number, found))
        elif not _NO_CONTENT.fullmatch(line):
            return None
    try:
        return _Lines(text, lines).root()
    except _OtherError:
        return None


class _OtherError(Exception):
    """The lines are not nested in a way that is known here."""


class _Lines:
    """The lines of a text that have a key, one after the other."""

    def __init__(self, text: Text, lines: list[tuple[int, re.Match[str]]]) -> None:
        self._text = text
        self._lines = lines
        self._next = 0

    def root(self) -> Mapping:
        """Return all lines as one mapping."""
        root = self._mapping(0)
        if self._next < len(self._lines):
            raise _OtherError
        return root

    def _mapping(self, column: int) -> Mapping:
        """Return the next lines whose keys start in that column."""
        entries: dict[str, tuple[Scalar, Node]] = {}
        while self._next < len(self._lines):
            number, line = self._lines[self._next]
            start, end = line.span("key")
            if start != column or (line["dash"] and entries):
                break
            if line["key"] in entries:
                raise _OtherError
            self._next += 1
            source = self._text.shown(number)
            key = Scalar(
                line["key"], number + 1, start + 1, source, True, "", (number + 1, end + 1)
            )
            entries[key.text] = key, self._value(number, line, source) or self._group(column)
        if not entries:
            raise _OtherError
        first, _ = next(iter(entries.values()))
        return Mapping(tuple(entries.values()), first.line, first.column, first.source)

    def _value(self, number: int, line: re.Match[str], source: str) -> Scalar | None:
        """Return what is on the line of its key."""
        value = line["value"]
        if value is None:
            return None
        start, end = line.span("value")
        is_plain = value[0] not in "\"'"
        value = value if is_plain else value[1:-1]
        return Scalar(value, number + 1, start + 1, source, is_plain, "", (number + 1, end + 1))

    def _group(self, column: int) -> Mapping | Sequence:
        """Return what is below a key in that column: keys, or a list of such groups."""
        if self._next == len(self._lines):
            raise _OtherError
        number, line = self._lines[self._next]
        start = line.start("dash") if line["dash"] else line.start("key")
        if start <= column:
            raise _OtherError
        if not line["dash"]:
            return self._mapping(start)
        items = []
        while self._next < len(self._lines) and self._lines[self._next][1].start("dash") == start:
            items.append(self._mapping(start + len("- ")))
        return Sequence(tuple(items), number + 1, start + 1, self._text.shown(number))
