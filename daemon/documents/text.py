"""A dropped text before YAML reads it: its encoding, its lines, and the guide's spelling.

AWS's guide writes `deviceId:HD001` without a space after the colon, which is not YAML. Such lines
get the space in a copy, and positions in the copy are mapped back to the file.
"""

from __future__ import annotations

import re
import unicodedata
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from daemon.documents.redaction import secret_lines
from daemon.errors import DocumentError, Fault

MAX_BYTES = 65_536  # a manifest has about 1 kB; the service's own limit is not documented
SAVE_AS_UTF8 = "save the file with the encoding UTF-8"
MAX_UNSEEN = 100  # lines with control characters that are reported
UNPRINTABLE = re.compile(
    # What YAML forbids, and its line breaks that no editor shows (NEL, LS, PS), and stray BOMs.
    # Listing what is allowed instead would take seven times as long to compile.
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
)
# Characters that look like a space or like nothing. Between letters of other scripts they can be
# meant (Persian, emoji, Japanese); elsewhere they come from web pages and word processors.
_ODD = (
    "\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u180e\u2000-\u200f\u202a-\u202f\u205f-\u2064"
    "\u2066-\u206f\u2800\u3000\u3164\ufeff\uffa0"
)
MISLEADING = re.compile(f"[{_ODD}]")
_KEY_AND_COLON = re.compile(rf"""[^:#"']*:[\s{_ODD}]*|[\s{_ODD}]*""")
LINE_END = re.compile(r"\r\n|\r|\n")  # what YAML reads as a line break
_GUIDE_KEY = re.compile(r" *(?:- +)*[A-Za-z][A-Za-z0-9]+:(?!//)(?=\S)")  # not the URL http://


class Mark(Protocol):
    """A position as PyYAML gives it, counted from 0."""

    @property
    def line(self) -> int:
        """Lines before this one."""

    @property
    def column(self) -> int:
        """Characters before it in its line."""


class Position(NamedTuple):
    """A mark that is not PyYAML's."""

    line: int
    column: int


# Only PyYAML's type stubs allow None in place of a mark; its parsers always give one.
START = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Text:
    """The lines of a file, and where its copy for YAML has an additional space."""

    name: str
    lines: tuple[str, ...] = field(repr=False)
    spaces: Mapping[int, int] = field(default_factory=dict)  # line -> column, counted from 0
    secret: frozenset[int] = field(default_factory=frozenset)  # lines that are never shown
    has_comments: bool = True  # it may have some

    def for_yaml(self) -> str:
        """Return the copy that YAML reads."""
        if not self.spaces:
            return "\n".join(self.lines)
        return "\n".join(self.copied(number) for number in range(len(self.lines)))

    def copied(self, number: int) -> str:
        """Return a line of that copy; an empty line past the end."""
        if number >= len(self.lines):
            return ""
        line, space = self.lines[number], self.spaces.get(number)
        return line if space is None else f"{line[:space]} {line[space:]}"

    def with_spaces(self, spaces: Mapping[int, int]) -> Text:
        """Return the same file with another copy for YAML."""
        return Text(self.name, self.lines, spaces, self.secret, self.has_comments)

    def place(self, mark: Mark) -> tuple[int, int, str]:
        """Return line and column, from 1, and the line itself unless it may be secret."""
        number, column = mark.line, mark.column
        if number >= len(self.lines):  # YAML's end of text is the line after the last
            number = len(self.lines) - 1
            column = len(self.lines[number])
        elif self.spaces and column > self.spaces.get(number, column):
            column -= 1
        return number + 1, column + 1, self.shown(number)

    def shown(self, number: int) -> str:
        """Return a line; "" if it may be secret."""
        return "" if number in self.secret else self.lines[number]

    def comment(self, end: Mark) -> str:
        """Return the comment that follows on the line, if any: "#" and the rest."""
        line = self.copied(end.line)
        rest = line[end.column :].lstrip() if "#" in line else ""
        return rest if rest.startswith("#") else ""

    def fault(self, mark: Mark, key: str, problem: str, remedy: str) -> Fault:
        """Return a fault at a mark in the copy."""
        line, column, source = self.place(mark)
        return Fault(self.name, line, column, key, problem, remedy, source)

    def guide_keys(self) -> dict[int, int]:
        """Return where a space is missing after a key, if each line that looks like one is one."""
        matches = ((number, _GUIDE_KEY.match(line)) for number, line in enumerate(self.lines))
        return {number: match.end() for number, match in matches if match}


def decode(data: bytes, name: str) -> Text:
    """Return the text of a file, without a byte order mark.

    Raises DocumentError for more than 64 KiB, for anything but UTF-8, and for control characters.
    """
    if len(data) > MAX_BYTES:  # the rest is not read
        problem = f"is larger than the limit of {MAX_BYTES} bytes"
        raise refusal(
            [Fault(name, 1, 1, "", problem, "drop only the manifest, without other data")]
        )
    text = utf8(data, name, SAVE_AS_UTF8)
    lines = tuple(LINE_END.split(text))
    may_hide = not text.isascii() or UNPRINTABLE.search(text)
    if may_hide and (found := list(islice(_invisible(lines), MAX_UNSEEN))):
        raise refusal(_unprintable(name, number, match) for number, match in found)
    return Text(name, lines, secret=secret_lines(lines), has_comments="#" in text)


def refusal(faults: Iterable[Fault], kind: type[DocumentError] = DocumentError) -> DocumentError:
    """Return one error with all these faults, each once, in the order of the text."""
    ordered = tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column)))
    more = len(ordered) - 1
    message = str(ordered[0]) + (f" (and {more} more)" if more else "")
    return kind(message, ordered)


def utf8(data: bytes, name: str, remedy: str) -> str:
    """Return the text, without a byte order mark. Raises DocumentError with this remedy."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise refusal([Fault(name, 1, 1, "", "is not UTF-8, but looks like UTF-16", remedy)])
    data = data.removeprefix(BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        lines = LINE_END.split(data[: error.start].decode())
        problem = f"byte 0x{data[error.start]:02x} is not UTF-8"
        fault = Fault(name, len(lines), len(lines[-1]) + 1, "", problem, remedy)
        raise refusal([fault]) from None  # the cause would show the whole text


def _invisible(lines: Iterable[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield the first invisible character of each line."""
    for number, line in enumerate(lines):
        if found := UNPRINTABLE.search(line) or _misleading(line):
            yield number, found


def _misleading(line: str) -> re.Match[str] | None:
    """Return the first character of a line that only looks like a space, or like nothing."""
    if line.isascii() or line.lstrip().startswith("#"):
        return None
    is_ascii = MISLEADING.sub("", line).isascii()
    start, end = _end(_KEY_AND_COLON.match(line)), len(line.rstrip()) - 1
    found = MISLEADING.finditer(line)
    return next((one for one in found if is_ascii or not start <= one.start() < end), None)


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _unprintable(name: str, number: int, found: re.Match[str]) -> Fault:
    problem = f"the character {named(found[0])} is invisible and not allowed"
    remedy = "delete it; where a space belongs, type it again"
    return Fault(name, number + 1, found.start() + 1, "", problem, remedy)


def named(character: str) -> str:
    """Such as "U+00A0 (NO-BREAK SPACE)"."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
