"""Lists as spreadsheets save them: CSV, with the place of every cell.

Commas, semicolons or tabs separate the cells; which of them is seen in the first row, or written
in a first line `sep=;`. Rows without any text are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from daemon.documents.fields import Findings
from daemon.documents.nodes import Scalar
from daemon.documents.offsets import Offsets
from daemon.documents.redaction import is_secret, shown
from daemon.documents.text import MISLEADING, UNPRINTABLE, named, refusal, utf8
from daemon.errors import Fault

MAX_BYTES = 1 << 20  # of one list; 10,000 rows have about half of that
SAVE_AS = (
    "save the list again, in Excel as the file type `CSV UTF-8 (Comma delimited)`, in LibreOffice"
    " as `Text CSV` with the character set `Unicode (UTF-8)`"
)
DELIMITERS = ";,\t"
_SEPARATOR_LINE = re.compile(r"\ufeff?(?:sep=(.)|\"sep=(.)\")(?:\r\n|\r|\n)", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_BREAK = re.compile(r"[\r\n\t]")


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a list by the names of its columns; every row has a cell for each column."""

    columns: Mapping[str, Scalar]  # the cells of the first row
    rows: tuple[Mapping[str, Scalar], ...]


def read(data: bytes, findings: Findings) -> Table:
    """Return the table in `data`; what is wrong with it is recorded, and the rest is returned.

    Raises DocumentError for what cannot be read at all: more than 1 MiB, or not UTF-8.
    """
    text = _text(data, findings.file)
    separator = _SEPARATOR_LINE.match(text)
    start = separator.end() if separator else 0
    delimiter = (separator[1] or separator[2]) if separator else _delimiter(text)
    reading = _Reading(text, delimiter, findings)
    records = [cells for cells in reading.records(start) if any(cell.text for cell in cells)]
    if not records:
        findings.fault(Scalar("", 1, 1), "", "is empty", "write the names of the columns first")
        return Table({}, ())
    columns = _columns(records[0], findings)
    rows = tuple(_row(cells, columns, findings) for cells in records[1:])
    return Table({one.text: one for one in columns if one and one.text}, rows)


def _text(data: bytes, name: str) -> str:
    if data.startswith(b"PK\x03\x04"):  # a ZIP archive, as .xlsx and .ods are
        problem = "is a spreadsheet's own file, not CSV"
        raise refusal([Fault(name, 1, 1, "", problem, SAVE_AS)])
    if len(data) > MAX_BYTES:
        problem = f"is larger than the limit of {MAX_BYTES} bytes"
        raise refusal([Fault(name, 1, 1, "", problem, "split it into several lists")])
    return utf8(data, name, SAVE_AS)


def _delimiter(text: str) -> str:
    """Return what separates the cells of the first row that has any text."""
    first = next((line for line in text.splitlines() if line.strip(DELIMITERS + " ")), "")
    bare = _QUOTED.sub("", first)
    return max(DELIMITERS, key=bare.count) if any(map(bare.count, DELIMITERS)) else ","


class _Reading:
    """One walk over the cells of a text."""

    def __init__(self, text: str, delimiter: str, findings: Findings) -> None:
        self._text = text
        self._offsets = Offsets(text)
        self._findings = findings
        mark = re.escape(delimiter)
        quoted = rf' *"(?P<quoted>(?:[^"]|"")*)" *(?=[{mark}\r\n]|\Z)'
        plain = rf"(?P<plain>[^{mark}\r\n]*)"
        self._cell = re.compile(rf"(?:{quoted}|{plain})(?P<next>\r\n|.?)", re.DOTALL)
        self._delimiter = delimiter
        self._has_secret = False

    def records(self, start: int) -> Iterator[list[Scalar]]:
        """Yield the cells of each row."""
        cells: list[Scalar] = []
        while start < len(self._text) or cells:
            if not (found := self._cell.match(self._text, start)):
                raise RuntimeError("this expression matches the empty text")
            cells.append(self._scalar(found))
            start = found.end()
            if found["next"] != self._delimiter:
                self._has_secret |= any(is_secret(cell.text) for cell in cells)
                yield cells
                cells = []

    def _scalar(self, found: re.Match[str]) -> Scalar:
        kind = "plain" if found["quoted"] is None else "quoted"
        raw, start = found[kind], found.start(kind)
        text = raw.strip() if kind == "plain" else raw.replace('""', '"').strip()
        line, column = self._offsets.place(start + len(raw) - len(raw.lstrip()))
        source = "" if self._has_secret else self._offsets.line(line)
        cell = Scalar(text, line, column, source)
        if kind == "plain" and text.startswith('"'):
            problem = "this quotation mark is never closed, or its cell continues behind the other"
            remedy = 'end the cell with ", and write each " inside it twice'
            self._findings.fault(cell, "", problem, remedy)
        self._check(cell, start, raw)
        return cell

    def _check(self, cell: Scalar, start: int, raw: str) -> None:
        """Record a character that no value can have, at its own place."""
        kept = raw.strip()
        start += raw.find(kept)
        found = UNPRINTABLE.search(kept) or _BREAK.search(kept)
        if not found and MISLEADING.sub("", kept).isascii():
            found = MISLEADING.search(kept)
        if not found:
            return
        line, column = self._offsets.place(start + found.start())
        place = Scalar("", line, column, cell.source and self._offsets.line(line))
        if found[0] in "\r\n\t":
            problem, remedy = "the cell has a line break or a tab", "write it in one line"
        else:
            problem = f"the character {named(found[0])} is invisible and not allowed"
            remedy = "delete it; where a space belongs, type it again"
        self._findings.fault(place, "", problem, remedy)


def _columns(cells: Sequence[Scalar], findings: Findings) -> list[Scalar | None]:
    """Return the cells of the first row; None in place of a name that an earlier one has."""
    first: dict[str, Scalar] = {}
    columns: list[Scalar | None] = []
    for cell in cells:
        earlier = first.setdefault(cell.text, cell)
        if cell.text and earlier is not cell:
            problem = f"this column is there twice, first at column {earlier.column} of the line"
            findings.fault(cell, shown(cell.text), problem, "delete one of the two")
        columns.append(None if cell.text and earlier is not cell else cell)
    return columns


def _row(
    cells: Sequence[Scalar], columns: Sequence[Scalar | None], findings: Findings
) -> dict[str, Scalar]:
    """Return the cells by column. What lies below no name is recorded as a fault."""
    last = cells[-1]
    missing = Scalar("", last.line, last.column + len(last.text), last.source)
    nameless = Scalar("", 0, 0)
    row = {column.text: missing for column in columns if column and column.text}
    for column, cell in zip_longest(columns, cells, fillvalue=nameless):
        if column and column.text and cell is not nameless:
            row[column.text] = cell or missing
        elif column and not column.text and cell and cell.text:
            problem = "this cell has no column name above it"
            remedy = "name the column in the first line; quote a value that holds a separator"
            findings.fault(cell, "", problem, remedy)
    return row
