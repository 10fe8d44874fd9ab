"""An error as lines for a person: each fault with its line and a caret, then what to do."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.errors import DocumentError, DriveprepError
from daemon.system.printable import printable, printable_lines


def lines(error: DriveprepError) -> Iterator[str]:
    """Yield what is wrong, and the hint; safe to print. A fault has several lines in one text."""
    faults = error.faults if isinstance(error, DocumentError) else ()
    for fault in faults:
        yield f"error: {printable_lines(fault.excerpt())}"
    if not faults:
        yield f"error: {printable(str(error))}"
    if error.hint:
        yield f"  hint: {printable(error.hint)}"
