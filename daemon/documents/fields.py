"""Typed values of a document, taken key by key; everything wrong with them is collected.

A getter returns a usable value even if it found a fault, so that reading continues and the
operator learns of all faults at once. The caller checks `Findings` at the end.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from daemon.documents.nodes import Mapping, Node, Scalar, Sequence
from daemon.documents.redaction import dotted, is_secret, shown
from daemon.documents.syntax import PLACEHOLDER, PLACEHOLDER_LEFT, QUOTE_IT, REPLACE_IT
from daemon.errors import Fault

FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
MAX_UNKNOWN = 50  # keys of one mapping; guessing what each was meant to be takes time


@dataclass(slots=True)
class Findings:
    """The faults and warnings of one file."""

    file: str
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, node: Node, key: str, problem: str, remedy: str) -> None:
        """Record what makes the file unusable."""
        self.faults.append(self._at(node, key, problem, remedy))

    def warn(self, node: Node, key: str, problem: str, remedy: str) -> None:
        """Record what may be a mistake."""
        self.warnings.append(self._at(node, key, problem, remedy))

    def ordered_warnings(self) -> tuple[Fault, ...]:
        """Return the warnings in the order of the text."""
        return tuple(sorted(self.warnings, key=lambda warning: (warning.line, warning.column)))

    def _at(self, node: Node, key: str, problem: str, remedy: str) -> Fault:
        source = "" if is_secret(key) else node.source
        return Fault(self.file, node.line, node.column, key, problem, remedy, source)


class Fields:
    """The keys of one mapping, taken by name.

    `known` are the names that it may have, `path` is its own dotted key, and `head` is the place
    where a missing key is reported.
    """

    def __init__(
        self,
        mapping: Mapping,
        known: Collection[str],
        findings: Findings,
        path: str = "",
        head: Node | None = None,
    ) -> None:
        self.known = known
        self.findings = findings
        self.path = path
        self.head = head or mapping
        self.names = tuple(key.text for key, _ in mapping.entries)  # all keys that it has
        self._entries = {key.text: (key, value) for key, value in mapping.entries}

    def dotted(self, key: str) -> str:
        """Return the dotted name of one of these keys."""
        return dotted(self.path, key)

    def fault(self, key: str, problem: str, remedy: str) -> None:
        """Record a fault of the value of an existing key."""
        self.findings.fault(self._entries[key][1], self.dotted(key), problem, remedy)

    def warn(self, key: str, problem: str, remedy: str) -> None:
        """Record a warning at the value of a key."""
        self.findings.warn(self._entries[key][1], self.dotted(key), problem, remedy)

    def lack(self, problem: str, remedy: str) -> None:
        """Record a fault of this mapping as a whole."""
        self.findings.fault(self.head, self.path, problem, remedy)

    def has(self, key: str) -> bool:
        """Return whether the key exists, with any value."""
        return key in self._entries

    def text(self, key: str) -> str | None:
        """Return its text, never empty; None if the key is missing or its value has a fault."""
        if self.has(key) and not self._is_empty(key):
            return self.optional(key)
        if self.has(key):
            self._report_empty(key)
        return None

    def optional(self, key: str) -> str | None:
        """Return its text; None if it is empty, missing, or not a text (a fault)."""
        if not self.has(key) or self._is_empty(key):
            return None
        value = self._entries[key][1]
        if isinstance(value, Scalar):
            return value.text
        if PLACEHOLDER.fullmatch(value.source[value.column - 1 :].strip()):
            self.fault(key, PLACEHOLDER_LEFT, REPLACE_IT)
            return None
        kind = "a list" if isinstance(value, Sequence) else "a group of keys"
        remedy = "write a text; put one that starts with [ { or - in double quotes"
        self.fault(key, f"expected a text, got {kind}", remedy)
        return None

    def require(self, key: str) -> str:
        """Return its text; a fault and "" if the key is missing or its value has a fault."""
        self.must_have(key, f"add a line `{key}: ...`")
        return self.text(key) or ""

    def must_have(self, key: str, remedy: str) -> None:
        """Record a fault if the key is missing, with a guess what was written instead."""
        if self.has(key):
            return
        head = self.head
        if meant := nearest(key, self._unknown()):
            head = self._entries[meant][0]
            remedy = f"did you mean {shown(meant)} -> {key} on line {head.line}?"
        self.findings.fault(head, self.dotted(key), "is missing", remedy)

    def choice(self, key: str, value: str | None, allowed: Collection[str]) -> str:
        """Return that value; record a fault unless it is exactly one of `allowed`."""
        if value and value not in allowed:
            near = next(
                (one for one in allowed if one.casefold() == value.strip().casefold()), None
            )
            problem = f"expected {' or '.join(allowed)}, got {shown(value)!r}"
            self.fault(key, problem, f"write {near or 'one of these'}")
        return value or ""

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        text = self.text(key)
        if text is None:
            return default
        if text.lower() not in FLAGS:
            self.fault(key, f"expected true or false, got {shown(text)!r}", f"write {key}: true")
        return FLAGS.get(text.lower(), default)

    def number(self, key: str, lowest: float, highest: float) -> float | None:
        """Return a number within bounds; None if the key is missing or its value has a fault."""
        text = self.text(key)
        if text is None:
            return None
        if NUMBER.fullmatch(text) and lowest <= float(text) <= highest:
            return float(text)
        bounds = f"a number from {lowest:g} to {highest:g}"
        self.fault(
            key, f"expected {bounds}, got {shown(text)!r}", "write digits only, without a unit"
        )
        return None

    def group(self, key: str, known: Collection[str] = ()) -> Fields | None:
        """Return the keys below this key; None if it is missing or not a group (a fault)."""
        if key not in self._entries:
            return None
        head, value = self._entries[key]
        if self._is_empty(key) and (lost := self._not_indented(known)):
            self._report_not_indented(key, lost)
            return None
        if self._is_empty(key):  # such as a heading whose lines are all comments
            value = Mapping((), value.line, value.column, value.source)
        if isinstance(value, Mapping):
            return Fields(value, known, self.findings, self.dotted(key), head)
        self.fault(
            key, "expected a group of keys", f"write its keys below `{shown(key)}:`, indented"
        )
        return None

    def groups(self, key: str, known: Collection[str] = ()) -> list[Fields]:
        """Return the groups of a list; record a fault for anything else."""
        value = self._entries[key][1] if self.has(key) else None
        if isinstance(value, Sequence) and value.items:
            return list(self._groups_of(value, self.dotted(key), known))
        if value is not None:
            self.fault(key, "expected a list", f"below `{key}:`, write lines that start with `- `")
        return []

    def groups_by_name(self, key: str, known: Collection[str]) -> Iterator[tuple[str, Fields]]:
        """Yield the groups below a key whose own keys are free names."""
        outer = self.group(key)
        for name in outer.names if outer else ():
            if outer and (inner := outer.group(name, known)):
                yield name, inner

    def one_or_more(self, key: str) -> tuple[str, ...]:
        """Return the text, or the texts of a list; a fault for anything else."""
        if isinstance(self._entries[key][1], Scalar):
            text = self.text(key)
            return (text,) if text else ()
        return self.texts(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts of a list; a fault if it is not a list or an item is not a text."""
        if key not in self._entries:
            return ()
        value = self._entries[key][1]
        items = value.items if isinstance(value, Sequence) else ()
        if not items or not all(isinstance(item, Scalar) for item in items):
            self.fault(
                key, "expected a list of texts", f'write {key}: ["/path/of/command", "word"]'
            )
        return tuple(item.text for item in items if isinstance(item, Scalar))

    def unknown(self) -> Iterator[tuple[Scalar, str, str]]:
        """Yield the unknown keys: where they are, their dotted names, and what to do."""
        for name in self._unknown():
            meant = nearest(name, self.known)
            remedy = f"did you mean {meant}?" if meant else "delete it"
            yield self._entries[name][0], self.dotted(name), remedy

    def _report_empty(self, key: str) -> None:
        value = self._entries[key][1]
        if isinstance(value, Scalar) and value.comment:
            problem = "is empty, since YAML reads # as a comment"
            self.fault(key, problem, QUOTE_IT)
        else:
            self.fault(key, "is empty", "write its value, or delete the line")

    def _not_indented(self, known: Collection[str]) -> list[str]:
        """Return the keys of a group that are written beside it."""
        return [name for name in self.names if name in known and name not in self.known]

    def _report_not_indented(self, key: str, lost: list[str]) -> None:
        lines = [self._entries[name][0].line for name in lost]
        where = f"line {lines[0]}" if len(lines) == 1 else f"lines {lines[0]} to {lines[-1]}"
        problem = f"has its keys beside it: {where} are not indented"
        self.findings.fault(self._entries[key][0], self.dotted(key), problem, "indent them")

    def _is_empty(self, key: str) -> bool:
        value = self._entries[key][1]
        return isinstance(value, Scalar) and not value.text.strip()

    def _unknown(self) -> list[str]:
        return [name for name in self._entries if name not in self.known][:MAX_UNKNOWN]

    def _groups_of(self, value: Sequence, path: str, known: Collection[str]) -> Iterator[Fields]:
        for number, item in enumerate(value.items):
            name = f"{path}[{number}]"
            if isinstance(item, Mapping):
                yield Fields(item, known, self.findings, name)
            else:
                problem, remedy = "expected keys and values", "write `- key: value`"
                self.findings.fault(item, name, problem, remedy)


def nearest(word: str, names: Collection[str]) -> str | None:
    """Return the name most like a misspelt word, or None. Case and `- _` do not count."""
    plain = {_bare(name): name for name in names if len(name) <= 60}
    found = difflib.get_close_matches(_bare(word[:60]), plain, n=1, cutoff=0.75)
    return plain[found[0]] if found else None


def _bare(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
