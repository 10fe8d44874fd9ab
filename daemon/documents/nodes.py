"""What a document consists of: scalars, sequences and mappings, each with its position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from daemon.documents.redaction import dotted

Plain: TypeAlias = "str | list[Plain] | dict[str, Plain]"
Node: TypeAlias = "Scalar | Sequence | Mapping"


@dataclass(slots=True, unsafe_hash=True)  # not frozen: making one would take three times as long
class Scalar:
    """A text. Positions count from 1, as in every editor."""

    text: str = field(repr=False)  # it may be a secret
    line: int
    column: int
    source: str = field(default="", repr=False)  # its line; "" where that may hold a secret
    is_plain: bool = False  # it is written without quotation marks
    comment: str = field(default="", repr=False)  # what YAML cut off its line: "#" and the rest
    end: tuple[int, int] = field(default=(0, 0), compare=False)  # line and column behind it

    def plain(self) -> str:
        """Return the text itself."""
        return self.text


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    items: tuple[Node, ...]
    line: int
    column: int
    source: str = field(default="", repr=False)

    def plain(self) -> list[Plain]:
        """Return the items as texts, lists and dicts."""
        return [item.plain() for item in self.items]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and their values, in the order of the text; no key occurs twice."""

    entries: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int
    source: str = field(default="", repr=False)

    def plain(self) -> dict[str, Plain]:
        """Return the entries as texts, lists and dicts."""
        return {key.text: value.plain() for key, value in self.entries}


class Entry(NamedTuple):
    """A value in a document, with its key (None for an item of a list) and its dotted key."""

    path: str
    key: Scalar | None
    value: Node


def walk(node: Node, path: str = "") -> list[Entry]:
    """Return every value below a node, in the order of the text.

    The dotted key hides what is below a secret key, because that may be the secret.
    """
    found: list[Entry] = []
    for entry in _children(node, path):
        found.append(entry)
        if not isinstance(entry.value, Scalar):
            found += walk(entry.value, entry.path)
    return found


def _children(node: Node, path: str) -> list[Entry]:
    match node:
        case Mapping(entries=entries):
            return [Entry(dotted(path, key.text), key, value) for key, value in entries]
        case Sequence(items=items):
            return [Entry(f"{path}[{number}]", None, item) for number, item in enumerate(items)]
    return []
