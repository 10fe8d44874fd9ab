"""A dropped text before YAML sees it: its encoding, its lines, its secrets, the guide's spelling.

AWS's guide writes `deviceId:HD001` without a blank after the colon, which is not YAML. Here such
lines get their blank in a copy, and positions in the copy are led back to the file.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, Protocol

from daemon.errors import DocumentError, Fault

MAX_BYTES = 65_536  # a manifest has about 1 kB; the service's own limit is not documented
MAX_UNSEEN = 100  # lines with control characters that are told of
UNPRINTABLE = re.compile(
    # What YAML forbids, and its line breaks that no editor shows (NEL, LS, PS), and stray BOMs.
    # Not as all but what is allowed, which takes seven times as long to compile.
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
)
LINE_END = re.compile(r"\r\n|\r|\n")  # what YAML takes for one
_GUIDE_KEY = re.compile(r" *(?:- +)*[A-Za-z][A-Za-z0-9]+:(?!//)(?=\S)")  # not the URL http://
_SECRET = re.compile(r"pass|pwd|\bpin|secret|session_?token|://.*@", re.IGNORECASE)
_QUOTATION = re.compile(r"""[^"']*:\s*(?P<mark>["'])""")
_KEY = re.compile(r"(?P<indent> *)(?:- +)*[\w.-]+ *:")


class Mark(Protocol):
    """A position as PyYAML gives it, counted from 0."""

    @property
    def line(self) -> int:
        """Lines before this one."""

    @property
    def column(self) -> int:
        """Characters before it in its line."""


class Position(NamedTuple):
    """A mark of our own."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Text:
    """The lines of a file, and where its copy for YAML has a blank that the file has not."""

    name: str
    lines: tuple[str, ...] = field(repr=False)
    blanks: Mapping[int, int] = field(default_factory=dict)  # line -> column, counted from 0
    secret: frozenset[int] = field(default_factory=frozenset)  # lines that are never shown

    def for_yaml(self) -> str:
        """The copy that YAML reads."""
        return "\n".join(self.copied(number) for number in range(len(self.lines)))

    def copied(self, number: int) -> str:
        """A line of that copy; a number past the end gives an empty line."""
        if number >= len(self.lines):
            return ""
        line, blank = self.lines[number], self.blanks.get(number)
        return line if blank is None else f"{line[:blank]} {line[blank:]}"

    def with_blanks(self, blanks: Mapping[int, int]) -> Text:
        """The same file, another copy for YAML."""
        return replace(self, blanks=blanks)

    def place(self, mark: Mark) -> tuple[int, int, str]:
        """Line and column of the file, from 1, and the line itself unless it may be secret."""
        if mark.line >= len(self.lines):  # YAML's end of text is the line after the last
            last = len(self.lines) - 1
            return last + 1, len(self.lines[last]) + 1, self._shown(last)
        added = mark.column > self.blanks.get(mark.line, mark.column)
        return mark.line + 1, mark.column + 1 - added, self._shown(mark.line)

    def fault(self, mark: Mark, key: str, problem: str, remedy: str) -> Fault:
        """A fault at a mark in the copy."""
        line, column, source = self.place(mark)
        return Fault(self.name, line, column, key, problem, remedy, source)

    def guide_keys(self) -> dict[int, int]:
        """Where a blank is missing behind a key, if each line that looks so is a key."""
        matches = ((number, _GUIDE_KEY.match(line)) for number, line in enumerate(self.lines))
        return {number: match.end() for number, match in matches if match}

    def _shown(self, number: int) -> str:
        return "" if number in self.secret else self.lines[number]


def decode(data: bytes, name: str) -> Text:
    """The text of a file. A byte order mark is no part of it.

    Raises DocumentError for more than 64 KiB, for anything but UTF-8, and for control characters.
    """
    if len(data) > MAX_BYTES:  # how many more is not known: nobody reads on
        problem = f"has more than {MAX_BYTES} bytes, the most that is read"
        raise refusal([Fault(name, 1, 1, "", problem, "drop the manifest alone")])
    lines = tuple(LINE_END.split(_utf8(data, name)))
    if found := list(islice(_invisible(lines), MAX_UNSEEN)):
        raise refusal(_unprintable(name, number, match) for number, match in found)
    return Text(name, lines, secret=_secret_lines(lines))


def is_secret(key: str) -> bool:
    """Whether the value of a key with this name is kept out of every message."""
    return _SECRET.search(key) is not None


def dotted(path: str, key: str) -> str:
    """The name of a key below `path`. What lies below a secret key may be the secret."""
    if is_secret(path):
        return path
    return f"{path}.{shown(key)}" if path else shown(key)


def shown(value: str) -> str:
    """A value of any length and content, fit to stand within a line of a message."""
    return value if len(value) <= 60 and value.isprintable() else f"{value[:57]!a}..."


def refusal(faults: Iterable[Fault], kind: type[DocumentError] = DocumentError) -> DocumentError:
    """One error of all these faults, each once, put in the order of the text."""
    ordered = tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column)))
    more = len(ordered) - 1
    message = str(ordered[0]) + (f" (and {more} more)" if more else "")
    return kind(message, ordered)


def _utf8(data: bytes, name: str) -> str:
    remedy = "save the file again with the encoding UTF-8"
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise refusal([Fault(name, 1, 1, "", "is no UTF-8, but looks like UTF-16", remedy)])
    data = data.removeprefix(BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        lines = LINE_END.split(data[: error.start].decode())
        problem = f"byte 0x{data[error.start]:02x} is no UTF-8"
        fault = Fault(name, len(lines), len(lines[-1]) + 1, "", problem, remedy)
        raise refusal([fault]) from None  # the cause would show the whole text


def _invisible(lines: Iterable[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """The first character of each line that cannot be seen."""
    for number, line in enumerate(lines):
        if found := UNPRINTABLE.search(line):
            yield number, found


def _unprintable(name: str, number: int, found: re.Match[str]) -> Fault:
    problem = f"the character U+{ord(found[0]):04X} cannot be seen and is not allowed"
    return Fault(name, number + 1, found.start() + 1, "", problem, "delete it")


def _secret_lines(lines: Iterable[str]) -> frozenset[int]:
    """Lines that name a secret, each with what follows up to the next key at its depth."""
    secret: set[int] = set()
    depth: int | None = None  # of the key whose secret we are in
    mark = ""  # the quotation mark that the secret still lacks
    for number, line in enumerate(lines):
        key = _KEY.match(line)
        if _SECRET.search(line):
            depth = len(key["indent"]) if key else len(line)
        elif depth is not None and key and len(key["indent"]) <= depth and not mark:
            depth = None
        if depth is not None:
            secret.add(number)
            mark = _open_mark(line, mark)
    return frozenset(secret)


def _open_mark(line: str, mark: str) -> str:
    """The quotation mark that is open at the end of a line, if one is."""
    if not mark:
        found = _QUOTATION.match(line)
        if not found:
            return ""
        mark, line = found["mark"], line[found.end() :]
    inner = re.sub(r"\\.", "", line) if mark == '"' else line
    return "" if inner.count(mark) % 2 else mark
