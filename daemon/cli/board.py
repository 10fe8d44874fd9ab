"""`driveprep board`: the page for the bench, and the links to it."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

import os
from pathlib import Path

import click

from daemon.cli.options import with_config
from daemon.errors import DriveprepError


@click.command()
@with_config
@click.option("--link", is_flag=True, help="Print a link to the page, good once and for 2 minutes.")
@click.option("--wall", is_flag=True, help="With --link: one that stays good, to read only.")
@click.option("--scrape", is_flag=True, help="With --link: a token for Prometheus instead.")
@click.option("--revoke", is_flag=True, help="End all logins, links and tokens.")
@click.option(
    "--public-config",
    "copy",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the board may read of the configuration to this file.",
)
def board(
    config_path: Path, link: bool, wall: bool, scrape: bool, revoke: bool, copy: Path | None
) -> None:
    """Serve the page that shows the bench, until SIGTERM; or print a link to it."""
    if (wall or scrape) and not link:
        raise click.UsageError("--wall and --scrape are kinds of links: add --link")
    if (wall and scrape) or (link and revoke):
        raise click.UsageError("ask for one thing at a time")
    if copy:
        from daemon.config import public

        public.write(config_path, copy)
        return
    try:
        if link:
            _print_link(config_path, "wall" if wall else "scrape" if scrape else "operator")
        elif revoke:
            from daemon.board.access import control

            count = control.revoke(config_path, os.environ)
            click.echo(f"{count} logins, links and tokens have ended")
        else:
            _serve(config_path)
    except ImportError as error:
        raise DriveprepError(
            f"the board needs a library that is missing: {error.name}",
            "Install the package driveprep-board, or `pip install driveprep[board]`.",
        ) from error


def _print_link(config_path: Path, kind: str) -> None:
    from daemon.board.access import control

    made = control.invite(config_path, os.environ, kind)
    if kind == "scrape":
        click.echo(made["token"])
        return
    click.echo(f"{made['origin']}/{'?wall' if kind == 'wall' else ''}#{made['token']}")


def _serve(config_path: Path) -> None:
    from daemon.board import server
    from daemon.system import logs

    logs.to_stderr()
    server.run(config_path, os.environ)
