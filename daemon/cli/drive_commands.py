"""The drives of this machine: drives, format."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.exit_codes import EX_TEMPFAIL
from daemon.cli.options import as_json, read, settings, show, with_config
from daemon.errors import ConfigError

if TYPE_CHECKING:
    from daemon.cli.formatting.plan import Rules


@click.command()
@with_config
@as_json
def drives(config_path: Path, as_json: bool) -> None:
    """Show every drive, mounted or not, and the job it will be used for or why it will not be."""
    from daemon.desk import report
    from daemon.drives.inventory import Drives

    inventory = Drives()
    found = report.drives(settings(config_path), inventory.mounted(), inventory.present())
    show(found, is_json=as_json)


@click.command("format")
@with_config
@click.option("--internal", is_flag=True, help="Also allow disks that are not removable.")
@click.option(
    "--batch",
    "listing",
    metavar="LIST.csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Format the disks of a list instead: columns deviceId, and bay, serial or device.",
)
@click.option(
    "--present", "only_present", is_flag=True, help="Of a list, leave out disks that are not here."
)
@click.option("--erase", is_flag=True, help="Of a list, also erase disks that are not empty.")
@click.argument("device", required=False, type=click.Path(path_type=Path))
@click.argument("device_id", required=False)
def format_(
    config_path: Path,
    internal: bool,
    listing: Path | None,
    only_present: bool,
    erase: bool,
    device: Path | None,
    device_id: str | None,
) -> None:
    """ERASE the whole disk DEVICE and make it the NTFS drive DEVICE_ID (root, at a terminal).

    Disks that are neither on USB nor called removable by the kernel nor in a named bay need
    --internal. A disk of the running system is always refused.
    """
    from daemon.cli.formatting import batch, one, plan

    is_for_list = erase or only_present
    if bool(listing) == bool(device) or bool(device) != bool(device_id) or (is_for_list and device):
        raise click.UsageError("name a DEVICE and a DEVICE_ID, or --batch LIST.csv")
    rules = _rules(config_path, internal=internal, only_present=only_present)
    if device and device_id:
        one.run(device, device_id, one.ask_terminal, rules)
    elif listing:
        assignments = plan.read(read(listing), str(listing), rules)
        if not batch.run(assignments, one.ask_terminal, rules, erase=erase):
            sys.exit(EX_TEMPFAIL)


def _rules(config_path: Path, *, internal: bool, only_present: bool) -> Rules:
    """Return the rules of the configuration; where there is none, labels and serials alone count.

    Raises ConfigError for a faulty one, which may forbid what is asked for, and JournalError.
    """
    from daemon.cli.formatting import prepared
    from daemon.cli.formatting.plan import Rules
    from daemon.drives.medium import disks
    from daemon.drives.recognition import Recognition

    here = disks.whole()
    try:
        config = settings(config_path)
    except ConfigError as error:
        if config_path.exists():
            raise
        click.echo(f"not checked against a configuration: {error}", err=True)
        return Rules(Recognition(), here, internal, only_present)
    taken = prepared.by_uuid(config.spool)
    return Rules(config.recognition, here, internal, only_present, taken)
