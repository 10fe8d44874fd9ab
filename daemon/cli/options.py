"""What several commands share: their options, the configuration, and how a report is printed."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.config.loading import Config
    from daemon.errors import ConfigError
    from daemon.importexport.client import Client
    from daemon.importexport.relay import RelayedClient

DEFAULT_CONFIG = "/etc/driveprep/config.yml"

with_config = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DRIVEPREP_CONFIG",
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The configuration file.",
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print stable, versioned JSON for other programs."
)
# What click cannot know about arguments; scripts/manual prints it.
ARGUMENTS = {
    "JOB": "A JobId or a deviceId. A deviceId means its open job, or else its newest one.",
    "TEMPLATE": "A manifest from which others are made; it may have placeholders.",
    "JOB...": "JobIds, deviceIds or ranges such as HD001..HD040. A deviceId means its open job, or"
    " else its newest one.",
    "COPY": "A copy of the journal.",
    "FILE": "A manifest.",
    "[FILE|FOLDER]...": "Manifests, or folders with them. Without any: the configuration alone.",
    "FILE|FOLDER...": "Manifests, or folders with them.",
    "[NAME]...": "The file name of a rejected manifest; or its deviceId, if that could be read.",
    "FOLDER": "The folder of the playground, driveprep-demo by default.",
    "DEVICE": "The node of a whole disk, such as /dev/sdb.",
    "DEVICE_ID": "The deviceId of a manifest, such as HD001.",
}


def settings(path: Path, *, with_credentials: bool = False) -> Config:
    """Return the configuration; without credentials it needs no permission to read them."""
    # Modules are imported where they are used: `--help` must not wait for them.
    from daemon.config import loading  # noqa: PLC0415

    return loading.load(path, os.environ, with_credentials=with_credentials)


def client(path: Path) -> Client | RelayedClient:
    """Return a client for the configured service.

    For a user who may not read the secret key it is one that asks the running daemon. Raises
    ConfigError if there is neither.
    """
    from daemon.errors import ConfigError  # noqa: PLC0415 - see above
    from daemon.importexport.client import Client  # noqa: PLC0415

    try:
        config = settings(path, with_credentials=True)
    except ConfigError as error:
        if not lacks_only_the_key(error):
            raise
        return _relayed(path, error)
    return Client(config.endpoint, config.credentials, config.timeout, ca_bundle=config.ca_bundle)


def lacks_only_the_key(error: ConfigError) -> bool:
    """Return whether the configuration is good but for the secret key, as for an operator."""
    return {fault.key for fault in error.faults} == {"credentials"}


def is_running(config: Config) -> bool:
    """Return whether a daemon runs with this spool; it then has a key that can be used."""
    from daemon.jobs import reader  # noqa: PLC0415 - see above

    return reader.daemon_info(config.spool) is not None


def _relayed(path: Path, error: ConfigError) -> RelayedClient:
    from daemon.desk import relay  # noqa: PLC0415 - see above
    from daemon.errors import ConfigError  # noqa: PLC0415

    config = settings(path)
    if not is_running(config):
        hint = "Use sudo, or start the daemon, which asks for you: systemctl start driveprep"
        raise ConfigError(f"this user has no secret key: {error}", hint=hint) from error
    return relay.client(config)


def read(file: Path) -> bytes:
    """Return the bytes of a manifest. Raises ManifestError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise ManifestError(f"{file}: {error.strerror}") from error


def show(report: Mapping[str, object], *, is_json: bool) -> None:
    """Print a report: as JSON, as tables on a terminal, or as lines into a pipe.

    In a pipe, what is wrong beside the rows goes to standard error.
    """
    if is_json:
        click.echo(json.dumps(report, indent=2))
        return
    from daemon.cli.output import tables  # noqa: PLC0415 - see above

    if not sys.stdout.isatty():
        for line in tables.problems(report):
            click.echo(line, err=True)
        click.echo("".join(f"{line}\n" for line in tables.lines(report)), nl=False)
        return
    from rich.console import Console  # noqa: PLC0415 - see above

    Console(highlight=False).print(tables.tables(report, time.time()))
