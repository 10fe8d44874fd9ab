"""The manifests that a command line names: files, and what is in folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from daemon import spool
from daemon.errors import ManifestError
from daemon.manifest import rules
from daemon.manifest.acceptance import Terms
from daemon.manifest.rules import Manifest
from daemon.system.printable import printable


def expand(places: Iterable[Path]) -> list[Path]:
    """Return the files; of a folder those whose names can be a manifest's, sorted.

    What else is in a folder is mentioned on standard error. Raises ManifestError for a folder that
    has none, and for one that cannot be read.
    """
    return [file for place in places for file in (_inside(place) if place.is_dir() else [place])]


def load(file: Path, terms: Terms | None) -> Manifest:
    """Return the manifest in a file; without `terms` it is not checked against them.

    Raises ManifestError.
    """
    try:
        manifest = rules.read(file.read_bytes(), str(file))
    except OSError as error:
        raise ManifestError(f"{file}: {error.strerror}") from error
    if terms:
        terms.check(manifest)
    return manifest


def _inside(folder: Path) -> Iterator[Path]:
    try:
        inside = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    except OSError as error:
        raise ManifestError(f"{folder}: {error.strerror}") from error
    found = [one for one in inside if spool.is_manifest_name(one.name) and not one.is_dir()]
    others = ", ".join(printable(one.name) for one in inside if one not in found)
    endings = ", ".join(spool.SUFFIXES)
    if not found:
        raise ManifestError(f"{folder} has no manifest", hint=f"Their names end with {endings}.")
    if others:
        click.echo(f"not read in {folder}: {others} (manifests end with {endings})", err=True)
    yield from found
