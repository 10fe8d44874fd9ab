"""The daemon, its journal, this machine and the emulated service."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from daemon.cli.exit_codes import EX_TEMPFAIL
from daemon.cli.options import as_json, settings, show, with_config
from daemon.errors import DriveprepError

WATCH_SECONDS = 1.0  # between two refreshes of `status --watch`


@click.command()
@with_config
@click.option("--verbose", is_flag=True, help="Log details that help to find a fault.")
def run(config_path: Path, verbose: bool) -> None:
    """Run the daemon in the foreground until SIGTERM."""
    import logging

    from daemon import service
    from daemon.system import logs

    logs.to_stderr(logging.DEBUG if verbose else logging.INFO)
    service.run(config_path)


@click.command()
@with_config
@as_json
@click.option("--watch", is_flag=True, help="Keep refreshing until Ctrl-C.")
def status(config_path: Path, as_json: bool, watch: bool) -> None:
    """Show every job and drive: what is happening, or why nothing is."""
    import gc

    from daemon.desk import report
    from daemon.drives.inventory import Drives

    config, inventory = settings(config_path), Drives()
    if not watch:
        gc.disable()  # what ten thousand jobs are made into has no cycles, and it ends at once
        try:
            show(report.status(config, inventory.mounted()), is_json=as_json)
        finally:
            gc.enable()
        return
    import time

    from rich.live import Live

    from daemon.cli.output import tables

    with Live(screen=True, auto_refresh=False) as live:
        while True:
            now = report.status(config, inventory.mounted())
            live.update(tables.tables(now, time.time()), refresh=True)
            time.sleep(WATCH_SECONDS)


@click.command()
@with_config
def doctor(config_path: Path) -> None:
    """Check that this machine can do the work, and show what to do where it cannot.

    What this user must not see is reported as unseen: run it as root for the whole picture.
    """
    from daemon.cli import doctor as examination
    from daemon.cli.doctor import Verdict
    from daemon.system.printable import printable

    colours = {Verdict.OK: "green", Verdict.PROBLEM: "red", Verdict.UNSEEN: "yellow"}
    is_sound = True
    for finding in examination.examine(config_path, os.environ):
        is_sound = is_sound and finding.verdict is not Verdict.PROBLEM
        verdict = click.style(f"{finding.verdict.value:>7}", fg=colours[finding.verdict])
        click.echo(f"{verdict}  {finding.subject + ':':12} {printable(finding.fact)}")
        if finding.remedy:
            click.echo(f"{'':22} {printable(finding.remedy)}")
    if not is_sound:
        sys.exit(EX_TEMPFAIL)


@click.command()
@with_config
@click.argument("file", metavar="COPY", type=click.Path(path_type=Path, dir_okay=False))
def backup(config_path: Path, file: Path) -> None:
    """Copy the journal to the new file COPY, mode 0600; the daemon may run meanwhile."""
    from daemon.jobs import backup as copies

    try:
        copies.backup(settings(config_path).spool, file)
    except FileExistsError as error:
        raise DriveprepError(f"{file} already exists", "Name a new file.") from error
    click.echo(f"the journal is copied to {file}; keep it on another disk")


@click.command()
@with_config
@click.option(
    "--from-papers", is_flag=True, help="Make a new journal from the papers and the service."
)
@click.argument(
    "file", metavar="COPY", required=False, type=click.Path(path_type=Path, dir_okay=False)
)
def restore(config_path: Path, from_papers: bool, file: Path | None) -> None:
    """Put the backup COPY in the place of the journal, while the daemon is stopped.

    At its next start the daemon compares the journal with the papers, with pending/ and with the
    service's list of jobs, before it makes any job.
    """
    from daemon.jobs import backup as copies

    spool = settings(config_path).spool
    if from_papers == (file is not None):
        raise click.UsageError("name a COPY, or use --from-papers")
    if file:
        copies.restore(spool, file)
        click.echo(f"the journal is restored from {file}")
    else:
        copies.make_empty(spool)
        click.echo("there is a new journal")
    click.echo("start the daemon: it compares the journal with papers and service")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8470, show_default=True, help="The port; 0 takes a free one.")
@click.option(
    "--access-key-id",
    default="AKIAIOSFODNN7EXAMPLE",
    show_default=True,
    help="The access key that may call the emulator.",
)
@click.option(
    "--secret-access-key",
    default="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    help="Its secret key. Default: the one of AWS's own examples.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that keeps the jobs between two starts.",
)
def emulator(
    host: str, port: int, access_key_id: str, secret_access_key: str, state: Path | None
) -> None:
    """Run a local service that speaks the same API, for trials and tests."""
    from daemon.importexport.credentials import Credentials
    from daemon.importexport.emulator import serve
    from daemon.system import logs

    logs.to_stderr()
    account = Credentials(access_key_id, secret_access_key)
    serve(host, port, accounts=[account], state=state)


@click.command()
@click.option("--keep", is_flag=True, help="Leave a playground in FOLDER, and let it run.")
@click.option("--stop", is_flag=True, help="End and remove the playground in FOLDER.")
@click.argument("folder", default="driveprep-demo", type=click.Path(path_type=Path))
def demo(keep: bool, stop: bool, folder: Path) -> None:
    """Show the main job on a real NTFS image: emulator, daemon, manifest, drive (root).

    With --keep it makes a playground instead, with all of these, to try the commands by hand.
    """
    if keep and stop:
        raise click.UsageError("--keep makes a playground, --stop removes it: use one of them")
    if keep or stop:
        from daemon.cli.demo import playground

        (playground.keep if keep else playground.stop)(folder)
        return
    from daemon.cli.demo import story

    story.run()
