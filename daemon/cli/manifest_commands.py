"""Manifests before they are jobs: new, check, submit, dismiss, retry."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.exit_codes import complain, exit_code
from daemon.cli.options import (
    client,
    is_running,
    lacks_only_the_key,
    read,
    settings,
    with_config,
)
from daemon.errors import ConfigError, DriveprepError

if TYPE_CHECKING:
    from daemon.config.loading import Config

DEVICES_HELP = "The deviceIds, such as HD001..HD040. Several are separated by commas."
LISTING_HELP = "A list that a spreadsheet saved, with a column deviceId."


@click.command()
@with_config
@click.option("--device", "ranges", metavar="RANGE", multiple=True, help=DEVICES_HELP)
@click.option(
    "--csv", "listing", type=click.Path(path_type=Path, dir_okay=False), help=LISTING_HELP
)
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="The folder to write to."
)
@click.option("--submit", "drop", is_flag=True, help="Drop them into pending/.")
@click.argument("template", type=click.Path(path_type=Path, dir_okay=False))
def new(
    config_path: Path,
    ranges: tuple[str, ...],
    listing: Path | None,
    into: Path | None,
    drop: bool,
    template: Path,
) -> None:
    """Make a manifest for each drive of a list or range from TEMPLATE: all of them, or none.

    In the list, the other columns are dotted keys, such as returnAddress.city or
    operations[0].exportBucket, whose values replace those of the template; an empty cell leaves
    the template's value.
    """
    from daemon.cli.manifests import making

    if bool(ranges) == bool(listing):
        raise click.UsageError("name the drives: --device HD001..HD040, or --csv LIST.csv")
    if bool(into) == drop:
        raise click.UsageError("say where the manifests belong: --into FOLDER, or --submit")
    rows = read(listing) if listing else ranges
    source = making.Source(str(template), read(template), str(listing or "--device"), rows)
    making.run(source, into, lambda: settings(config_path))


@click.command()
@with_config
@click.option("--online", is_flag=True, help="Also ask the service (ValidateOnly; makes no job).")
@click.argument("files", metavar="[FILE|FOLDER]...", nargs=-1, type=click.Path(path_type=Path))
def check(config_path: Path, online: bool, files: tuple[Path, ...]) -> None:
    """Check the configuration, and manifests if any are named. Changes nothing."""
    from daemon.system.printable import printable_lines

    errors: list[DriveprepError] = []
    try:
        config, remark = _checked(config_path)
        for warning in config.warnings:
            click.echo(f"warning: {printable_lines(warning.excerpt())}")
        click.echo(f"{config_path}: good{remark}")
    except ConfigError as error:
        complain(error)
        errors.append(error)
    if files:
        from daemon.cli.manifests import checking
        from daemon.desk import manifests

        terms = None if errors else manifests.terms(config)
        is_asked = online and not errors
        errors += checking.check(files, terms, (lambda: client(config_path)) if is_asked else None)
    if errors:
        sys.exit(exit_code(errors[0]))


@click.command()
@with_config
@click.option("--wait", is_flag=True, help="Wait until each is accepted or rejected.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long to wait at most.",
)
@click.argument(
    "files", metavar="FILE|FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
def submit(config_path: Path, wait: bool, timeout: float, files: tuple[Path, ...]) -> None:
    """Check manifests and drop each one without faults into pending/ in one step.

    With --wait the exit code is 0 if all were accepted, also by the service, and 65 if any was
    rejected; 69 if some have no verdict in time; 75 if no daemon runs.
    """
    from daemon.cli.manifests import submission

    submission.submit(settings(config_path), files, timeout if wait else None)


@click.command()
@with_config
@click.option("--all", "is_all", is_flag=True, help="Dismiss every rejection.")
@click.argument("rejections", metavar="[NAME]...", nargs=-1)
def dismiss(config_path: Path, is_all: bool, rejections: tuple[str, ...]) -> None:
    """Take rejections off the status. Manifests and reasons stay in rejected/."""
    from daemon.cli import orders

    if is_all == bool(rejections):
        raise click.UsageError("name manifests or deviceIds, or use --all")
    orders.dismiss(settings(config_path), rejections)


@click.command()
@with_config
@click.option(
    "--same-drive",
    is_flag=True,
    help="Confirm that its drive is the one the job was made for, behind another USB bridge.",
)
@click.option(
    "--as-it-is",
    is_flag=True,
    help="Let its drive be used although it is not empty; the service may erase it.",
)
@click.argument("device_id")
def retry(config_path: Path, same_drive: bool, as_it_is: bool, device_id: str) -> None:
    """Make the daemon try DEVICE_ID again at once."""
    from daemon.cli import orders

    orders.retry(settings(config_path), device_id, as_it_is=as_it_is, same_drive=same_drive)


def _checked(path: Path) -> tuple[Config, str]:
    """Return the configuration and a remark. Only the daemon needs to read the secret key."""
    try:
        return settings(path, with_credentials=True), ""
    except ConfigError as error:
        if not lacks_only_the_key(error) or not is_running(config := settings(path)):
            raise
        return config, "; the secret key, which this user cannot read, is used by the daemon"
