"""Jobs: all of them, and one: show, cancel, update, label, slip, shipped."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.options import as_json, client, read, settings, with_config

if TYPE_CHECKING:
    from daemon.desk.job_actions import JobActions

with_job = click.argument("job", metavar="JOB")


@click.command()
@with_config
@click.option(
    "--since", metavar="D", help="Only jobs made since a date, 2026-11-01, or a span, 30d."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for spreadsheets.")
@as_json
def jobs(config_path: Path, since: str | None, as_csv: bool, as_json: bool) -> None:
    """List every job ever made, oldest first, for accounting."""
    from daemon.cli.output import jobs as listing
    from daemon.desk import made

    if as_csv and as_json:
        raise click.UsageError("--csv and --json are two formats: use one of them")
    start = made.moment(since, time.time()) if since else None
    if since and start is None:
        raise click.UsageError(f"--since {since}: write a date, 2026-11-01, or a span, 30d")
    listing.show(settings(config_path), start, "csv" if as_csv else "json" if as_json else "")


@click.command()
@with_config
@with_job
def show(config_path: Path, job: str) -> None:
    """Show all that is known about JOB (a JobId or deviceId), here and at the service."""
    from daemon.system.printable import printable

    for name, text in _actions(config_path).show(job):
        lines = [printable(line) for line in text.splitlines()] or ["-"]
        click.echo(f"{name:>18}  " + f"\n{'':20}".join(lines))


@click.command()
@with_config
@with_job
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def cancel(config_path: Path, job: str, yes: bool) -> None:
    """Cancel JOB (a JobId or deviceId) at the service."""
    actions = _actions(config_path)
    found = actions.find(job)
    if not yes:
        click.confirm(f"Cancel job {found.job_id or '?'} for {found.device_id}?", abort=True)
    click.echo(actions.cancel(job))


@click.command()
@with_config
@with_job
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def update(config_path: Path, job: str, file: Path) -> None:
    """Give JOB (a JobId or deviceId) the manifest FILE, unless its transfer has begun."""
    click.echo(_actions(config_path).update(job, file, read(file)))


@click.command()
@with_config
@with_job
def label(config_path: Path, job: str) -> None:
    """Print the link to the carrier label that the service issues for JOB."""
    click.echo(_actions(config_path).label(job))


@click.command()
@with_config
@with_job
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write."
)
@click.option("--pdf", "as_pdf", is_flag=True, help="As PDF, which WeasyPrint makes.")
@click.option("--open", "show_it", is_flag=True, help="Open it in the browser, to print it.")
def slip(config_path: Path, job: str, output: Path | None, as_pdf: bool, show_it: bool) -> None:
    """Make the packing slip of JOB (a JobId or deviceId) again."""
    place = _actions(config_path).slip(job, output, as_pdf=as_pdf)
    click.echo(place)
    if show_it:
        click.launch(str(place))


@click.command("print")
@with_config
@click.argument("job", metavar="JOB...", nargs=-1, required=True)
def print_(config_path: Path, job: tuple[str, ...]) -> None:
    """Print the papers of each JOB again, as `print` in the configuration names them."""
    from daemon.cli import orders

    orders.print_papers(settings(config_path), job, time.time())


@click.command()
@with_config
@click.option("--carrier", default="", help="Who takes it, such as UPS.")
@click.option("--tracking", metavar="N", default="", help="The carrier's number; for one JOB.")
@click.option("--undo", is_flag=True, help="It has not left: bring it back to the list.")
@click.argument("job", metavar="JOB...", nargs=-1, required=True)
def shipped(
    config_path: Path, carrier: str, tracking: str, undo: bool, job: tuple[str, ...]
) -> None:
    """Record that the drive of each JOB has left: it leaves the status."""
    from daemon.cli import orders

    if tracking and len(job) > 1:
        raise click.UsageError("--tracking is the number of one package: name one JOB")
    if undo and (carrier or tracking):
        raise click.UsageError("--undo takes back what was said of the shipment: use it alone")
    orders.ship(settings(config_path), job, time.time(), carrier, tracking, undo=undo)


def _actions(path: Path) -> JobActions:
    from daemon.desk.job_actions import JobActions

    return JobActions(settings(path), lambda: client(path))
