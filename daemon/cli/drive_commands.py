"""The drives of this machine: drives, format."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

from pathlib import Path

import click

from daemon.cli.options import as_json, settings, show, with_config
from daemon.errors import ConfigError


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
@click.argument("device", type=click.Path(path_type=Path))
@click.argument("device_id")
def format_(config_path: Path, internal: bool, device: Path, device_id: str) -> None:
    """ERASE the whole disk DEVICE and make it the NTFS drive DEVICE_ID (root, at a terminal)."""
    from daemon.cli import format as formatting
    from daemon.drives.recognition import Recognition

    try:
        rules = settings(config_path).recognition
    except ConfigError as error:
        click.echo(f"not checked against a configuration: {error}", err=True)
        rules = Recognition()
    formatting.run(device, device_id, formatting.ask_terminal, recognition=rules, internal=internal)
