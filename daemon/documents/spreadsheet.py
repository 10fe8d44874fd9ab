"""CSV for spreadsheets, RFC 4180: no cell of it is run as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from daemon.system.printable import printable

# What begins a formula (OWASP, "CSV Injection"), with the wide forms that East Asian editions take.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def text(rows: Iterable[Iterable[object]]) -> str:
    """Return the rows as CSV. None is an empty cell; true and false are `yes` and `no`."""
    output = io.StringIO()
    csv.writer(output).writerows([_cell(value) for value in row] for row in rows)
    return output.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = printable(str(value))
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
