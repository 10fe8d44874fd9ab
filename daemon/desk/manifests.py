"""A manifest on its way into the spool: checked here and by the service, then dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon import spool
from daemon.config.loading import Config
from daemon.errors import DriveprepError, ManifestError, ManifestRefusedError
from daemon.importexport import endpoint
from daemon.importexport.client import Client
from daemon.importexport.relay import RelayedClient
from daemon.manifest import rules
from daemon.manifest.acceptance import Terms
from daemon.manifest.complaints import locate
from daemon.manifest.rules import Manifest
from daemon.spool.filing import digest


@dataclass(frozen=True, slots=True)
class Dropped:
    """A manifest in pending/."""

    name: str
    device_id: str
    sha256: str
    was_there: bool  # the very same file, under this name


def terms(config: Config) -> Terms:
    """Return what makes a manifest wrong for the configured account and service."""
    return Terms(config.credentials.access_key_id, endpoint.is_trial(config.endpoint))


def ask_service(manifest: Manifest, client: Client | RelayedClient) -> None:
    """Have the service check a manifest (ValidateOnly; makes no job).

    Raises ManifestError with the line that its complaint means, and what else a request raises.
    """
    try:
        client.validate(rules.to_send(manifest, client.access_key_id))
    except ManifestRefusedError as error:
        fault = locate(manifest.data, manifest.name, error)
        raise ManifestError(str(fault), (fault,)) from error


def drop(pending: Path, file_name: str, manifest: Manifest) -> Dropped:
    """Drop a manifest under that name, or the nearest one that a manifest can have.

    Safe to repeat: the same text under the same name is not dropped twice. Raises DriveprepError
    if another text has the name.
    """
    name = file_name
    if not spool.is_manifest_name(file_name):
        name = f"{spool.safe_name(Path(file_name).stem)}.yml"
    was_there = False
    try:
        spool.drop(pending, name, manifest.data)
    except FileExistsError as error:
        if not (was_there := (pending / name).read_bytes() == manifest.data):
            raise DriveprepError(
                f"{pending / name} already exists", "Rename your file, or remove the other one."
            ) from error
    return Dropped(name, manifest.device_id, digest(manifest.data), was_there)
