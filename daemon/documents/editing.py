"""New values in a YAML text, whose spelling and comments stay as they are, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from daemon.documents import reader
from daemon.documents.nodes import Entry, Node, Scalar, walk
from daemon.documents.offsets import Offsets
from daemon.documents.syntax import PLACEHOLDER, is_typed
from daemon.documents.text import SAVE_AS_UTF8, utf8

# A template may have a placeholder that is no YAML, such as ***Your Name***, in place of a value.
_PLACEHOLDER_LINE = re.compile(
    rf"(?<![^\r\n\ufeff])([ \t]*(?:- +)*[\w.-]+: *)(?!<)({PLACEHOLDER.pattern})"
    r"(?=[ \t]*(?:#[^\r\n]*)?(?:[\r\n]|\Z))"
)
_SAFE_PLAIN = re.compile(r"\w(?:[\w ./@()+-]*[\w./@()+-])?")


@dataclass(frozen=True, slots=True)
class Edit:
    """One value of a text that was replaced. `start` and `end` are offsets before the edit."""

    path: str
    start: int
    end: int
    written: str


@dataclass(frozen=True, slots=True)
class Edited:
    """A text with new values, and where each place of it was before."""

    text: str = field(repr=False)  # it may hold a secret
    original: Offsets
    edits: tuple[Edit, ...]

    def before(self, line: int, column: int) -> tuple[int, int]:
        """Return the line and the column; within a new value those of the old one's start."""
        offset, grown = Offsets(self.text).offset(line, column), 0
        for edit in self.edits:
            if offset < edit.start + grown:
                break
            if offset < edit.start + grown + len(edit.written):
                return self.original.place(edit.start)
            grown += len(edit.written) - (edit.end - edit.start)
        return self.original.place(offset - grown)


class Original:
    """A text whose values can be replaced. Raises DocumentError if it is not YAML.

    A placeholder that stands for a whole value may be there, whether it is YAML or not.
    """

    def __init__(self, data: bytes, name: str) -> None:
        utf8(data, name, SAVE_AS_UTF8)
        self.name = name
        self.text = data.decode()
        self.offsets = Offsets(self.text)
        plain = without_placeholders(self.text)
        root = reader.read(plain.encode(), name, guide_spelling=True)
        self.entries: dict[str, Entry] = {entry.path: entry for entry in walk(root)}
        starts = {found.start(2) for found in _PLACEHOLDER_LINE.finditer(self.text)}
        self.placeholders = frozenset(
            path for path, entry in self.entries.items() if self._start(entry.value) in starts
        )

    def path_at(self, line: int, column: int) -> str:
        """Return the dotted key whose value starts there; "" if none does."""
        places = {(one.value.line, one.value.column): path for path, one in self.entries.items()}
        return places.get((line, column), "")

    def is_text(self, path: str) -> bool:
        """Return whether the key has a text that can be replaced: not a block after | or >."""
        value = self.entries[path].value if path in self.entries else None
        return isinstance(value, Scalar) and self.text[self._start(value)][:1] not in {"|", ">"}

    def place(self, path: str) -> str:
        """Return where a value is, as file:line:column."""
        value = self.entries[path].value
        return f"{self.name}:{value.line}:{value.column}"

    def replaced(self, values: Mapping[str, str]) -> Edited:
        """Return the text with new values, by their dotted keys; which must be texts."""
        edits = [self._edit(path, value) for path, value in values.items()]
        edits.sort(key=lambda edit: edit.start)
        parts: list[str] = []
        end = 0
        for edit in edits:
            parts += [self.text[end : edit.start], edit.written]
            end = edit.end
        return Edited("".join([*parts, self.text[end:]]), self.offsets, tuple(edits))

    def _edit(self, path: str, value: str) -> Edit:
        old = self.entries[path].value
        if not isinstance(old, Scalar):
            raise TypeError(f"{path} is not a text")
        start, end = self._start(old), self.offsets.offset(*old.end)
        space = " " if start == end and self.text[start - 1 : start] in {":", "-"} else ""
        return Edit(path, start, end, space + _spelt(value, self.text[start:end][:1]))

    def _start(self, node: Node) -> int:
        return self.offsets.offset(node.line, node.column)


def without_placeholders(text: str) -> str:
    """Return the text with a plain word of the same length for each one that is no YAML."""
    return _PLACEHOLDER_LINE.sub(lambda found: found[1] + "x" * len(found[2]), text)


def _spelt(value: str, first: str) -> str:
    """Return a value as YAML reads it, between the quotation marks of the old one, if any."""
    if first == "'":
        return "'" + value.replace("'", "''") + "'"
    if first != '"' and _SAFE_PLAIN.fullmatch(value) and not is_typed(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
