"""A manifest on its way into the spool: checked here and by the service, then dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon import spool
from daemon.config.loading import Config
from daemon.desk import complaints
from daemon.documents.text import MAX_BYTES
from daemon.errors import DriveprepError, JournalError, ManifestError, ManifestRefusedError
from daemon.importexport import endpoint
from daemon.importexport.client import Client
from daemon.importexport.relay import RelayedClient
from daemon.jobs import reader
from daemon.manifest import rules
from daemon.manifest.acceptance import Terms
from daemon.manifest.complaints import locate
from daemon.manifest.rules import Manifest
from daemon.spool.filing import digest
from daemon.system import durable
from daemon.system.printable import printable_lines

LIMIT = MAX_BYTES  # of a manifest
NOT_COMPARED = "warning: accessKeyId is not compared with the account's while the daemon is stopped"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A manifest in pending/."""

    name: str
    device_id: str
    sha256: str
    was_there: bool  # the very same file, under this name


def terms(config: Config) -> Terms:
    """Return what makes a manifest wrong for the configured account and service.

    Where the public name of the key cannot be read, it is that of the daemon's, if it runs.
    """
    known = config.credentials.access_key_id or _of_the_daemon(config)
    return Terms(known, endpoint.is_trial(config.endpoint))


def _of_the_daemon(config: Config) -> str:
    with suppress(JournalError):  # this user may not see the spool
        facts = reader.daemon_info(config.spool) or {}
        return str(facts.get("accessKeyId", ""))
    return ""


def ask_service(manifest: Manifest, client: Client | RelayedClient) -> None:
    """Have the service check a manifest (ValidateOnly; makes no job).

    Raises ManifestError with the line that its complaint means, and what else a request raises.
    """
    try:
        client.validate(rules.to_send(manifest, client.access_key_id))
    except ManifestRefusedError as error:
        fault = locate(manifest.data, manifest.name, error)
        raise ManifestError(str(fault), (fault,)) from error


@dataclass(frozen=True, slots=True)
class Checked:
    """A manifest as it was checked. `manifest` is None if it has a fault."""

    name: str
    sha256: str
    manifest: Manifest | None
    lines: tuple[str, ...]  # what `driveprep check` prints of it


def check(name: str, data: bytes, terms: Terms) -> Checked:
    """Check a manifest here. Never raises; what is wrong is in `lines`."""
    try:
        manifest = rules.read(data, name)
        terms.check(manifest)
    except ManifestError as error:
        return Checked(name, digest(data), None, tuple(complaints.lines(error)))
    lines = [*good(name, manifest)]
    if manifest.access_key_id and not terms.access_key_id:
        lines.insert(0, NOT_COMPARED)
    return Checked(name, digest(data), manifest, tuple(lines))


def good(name: str, manifest: Manifest) -> Iterator[str]:
    """Yield what `driveprep check` prints of a manifest without faults."""
    for warning in manifest.warnings:
        yield f"warning: {printable_lines(warning.excerpt())}"
    yield f"{name}: good, for {manifest.device_id} ({manifest.file_system})"


def safe_manifest_name(name: str) -> str:
    """Return an untrusted file name as one path component that a manifest can have."""
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = base.rpartition(".")
    ending = f".{suffix.lower()}" if stem and dot else ""
    if ending not in spool.SUFFIXES:
        stem, ending = base, ".yml"
    safe = f"{spool.safe_name(stem)}{ending}"
    if spool.is_manifest_name(safe):
        return safe
    return f"{spool.safe_name(stem.replace('.', '_'))}{ending}"  # such as x.part.yml


def withdraw(pending: Path, name: str, sha256: str) -> None:
    """Take a manifest that waits out of pending/, if it is still the one with `sha256`.

    The daemon then forgets it. Safe to repeat. Raises DriveprepError if another text has the name.
    """
    with durable.folder(pending) as folder:
        try:
            data = durable.read(folder, name, MAX_BYTES + 1)
        except FileNotFoundError:
            return
        if digest(data) != sha256:
            raise DriveprepError(
                f"{name} is another manifest now", "Only what was dropped here can be withdrawn."
            )
        durable.discard(folder, name)
        durable.sync(folder)


def drop(pending: Path, file_name: str, manifest: Manifest) -> Dropped:
    """Drop a manifest under that name, or the nearest one that a manifest can have.

    Safe to repeat: the same text under the same name is not dropped twice. Raises DriveprepError
    if another text has the name.
    """
    name = file_name if spool.is_manifest_name(file_name) else safe_manifest_name(file_name)
    was_there = False
    try:
        spool.drop(pending, name, manifest.data)
    except FileExistsError as error:
        if not (was_there := (pending / name).read_bytes() == manifest.data):
            raise DriveprepError(
                f"{pending / name} already exists", "Rename your file, or remove the other one."
            ) from error
    return Dropped(name, manifest.device_id, digest(manifest.data), was_there)
