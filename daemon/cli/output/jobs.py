"""The list of jobs in the format that was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace

import click

from daemon.cli.progress import Bar
from daemon.config.loading import Config
from daemon.desk import elsewhere, made


def show(settings: Config, since: float | None, form: str) -> None:
    """Print the jobs: as "csv", as "json", as a table at a terminal, or as lines into a pipe."""
    bench = elsewhere.bench(settings)
    settings = replace(settings, station=bench.station)
    shown = (*made.SHOWN, "station") if bench.is_member else made.SHOWN
    with Bar("reading the journal", None):
        records = made.records(settings, since)
    if form == "json":
        click.echo(json.dumps(made.report(settings, records), indent=2))
    elif form == "csv":
        click.echo(made.as_csv(records), nl=False)
    elif sys.stdout.isatty():
        _show_table(made.as_lines(records, shown))
    else:
        for cells in made.as_lines(records, shown):
            click.echo("\t".join(cells))


def _show_table(lines: Iterator[tuple[str, ...]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - a pipe does not need it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(show_edge=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in next(lines):
        table.add_column(heading, overflow="fold")
    for cells in lines:
        table.add_row(*map(Text, cells))
    Console(highlight=False).print(table)
