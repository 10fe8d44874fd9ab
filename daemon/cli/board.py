"""`driveprep board`: the page for the bench."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

import os
from pathlib import Path

import click

from daemon.cli.options import with_config
from daemon.errors import DriveprepError


@click.command()
@with_config
def board(config_path: Path) -> None:
    """Serve the page that shows the bench, until SIGTERM."""
    try:
        from daemon.board import server
    except ImportError as error:
        raise DriveprepError(
            f"the board needs a library that is missing: {error.name}",
            "Install the package driveprep-board, or `pip install driveprep[board]`.",
        ) from error
    server.run(config_path, os.environ)
