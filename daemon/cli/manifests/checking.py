"""`driveprep check`: many manifests, here and, if asked for, at the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from daemon.cli.exit_codes import complain
from daemon.cli.manifests import files
from daemon.cli.progress import Bar
from daemon.desk import manifests
from daemon.errors import DriveprepError, ManifestError
from daemon.importexport.client import Client
from daemon.importexport.relay import RelayedClient
from daemon.manifest.acceptance import Terms
from daemon.manifest.rules import Manifest

Service = Callable[[], Client | RelayedClient]


def check(
    places: tuple[Path, ...], terms: Terms | None, service: Service | None
) -> list[DriveprepError]:
    """Check manifests and print what is found; with `service` also there. Return the errors."""
    found: list[tuple[Path, Manifest | DriveprepError]] = []
    try:
        named = files.expand(places)
    except ManifestError as error:
        complain(error)
        return [error]
    with Bar("checking manifests", len(named)) as bar:
        for file in bar.each(named):
            try:
                found.append((file, _check(file, terms, service)))
            except DriveprepError as error:
                found.append((file, error))
    for file, result in found:
        if isinstance(result, DriveprepError):
            complain(result)
            continue
        for line in manifests.good(str(file), result):
            click.echo(line)
    return [result for _, result in found if isinstance(result, DriveprepError)]


def _check(file: Path, terms: Terms | None, service: Service | None) -> Manifest:
    """Return a manifest without faults. The service's complaint becomes a fault."""
    manifest = files.load(file, terms)
    if service is not None:
        manifests.ask_service(manifest, service())
    return manifest
