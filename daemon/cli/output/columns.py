"""Rows below headings: a table that fits the terminal, or tab-separated lines into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from daemon.system.printable import printable


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print the rows on standard output; the first has the headings.

    Untrusted text is escaped, and nothing is cut off.
    """
    headings, *shown = [[printable(cell) or "-" for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in [headings, *shown]:
            click.echo("\t".join(row))
        return
    from rich.console import Console  # noqa: PLC0415 - loaded only for a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(show_edge=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in shown:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
