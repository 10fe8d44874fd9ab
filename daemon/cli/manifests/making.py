"""`driveprep new`: one manifest for each drive of a list, from one template, all or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from daemon import spool
from daemon.cli.progress import Bar
from daemon.config.loading import Config
from daemon.desk import manifests
from daemon.documents import table
from daemon.documents.fields import Findings
from daemon.documents.redaction import shown
from daemon.documents.table import Table
from daemon.errors import (
    ConfigError,
    DocumentError,
    DriveprepError,
    Fault,
    JournalError,
    ManifestError,
)
from daemon.jobs import reader
from daemon.jobs.job import Job, Pending, Rejected, Submitting
from daemon.manifest import device_range
from daemon.manifest.device_range import DEVICE_ID
from daemon.manifest.rules import Manifest
from daemon.manifest.series import Series
from daemon.system.printable import printable, printable_lines

NO_PENDING = "The daemon creates it when it starts: systemctl start driveprep"


@dataclass(frozen=True, slots=True)
class Source:
    """What the manifests are made of: a template, and a list or ranges of deviceIds."""

    template: str  # its name, for faults
    text: bytes
    listing: str  # the name of the list, or of the option that has the ranges
    rows: bytes | tuple[str, ...]  # the contents of a list, or the ranges


def run(source: Source, into: Path | None, load: Callable[[], Config]) -> None:
    """Make the manifests in a folder, or in pending/ of the spool, and say so.

    Only pending/ needs a configuration. Raises DriveprepError, and then nothing was made.
    """
    if into is None:
        config = load()
        target, known = config.spool / "pending", _known(config)
        if not target.is_dir():
            raise DriveprepError(f"there is no folder {target}", NO_PENDING)
    else:
        target, known = into, _known_if_any(load)
    names, warnings = _make(source, target, known)
    for warning in warnings:
        click.echo(f"warning: {printable_lines(warning.excerpt())}")
    several = f"{len(names)} manifests: {names[0]} to {names[-1]}" if names[1:] else names[0]
    click.echo(f"{target}: {several}")


@dataclass(frozen=True, slots=True)
class _Known:
    """What this machine has against manifests."""

    taken: Mapping[str, str] = field(default_factory=dict)  # why deviceIds must not get another
    check: Callable[[Manifest], None] = lambda _: None


def _known_if_any(load: Callable[[], Config]) -> _Known:
    try:
        return _known(load())
    except (ConfigError, JournalError) as error:
        click.echo(f"not compared with the jobs of this machine: {error}", err=True)
        return _Known()


def _known(config: Config) -> _Known:
    jobs = reader.recent(config.spool, time.time())
    taken = {job.device_id: why for job in jobs if (why := _why_taken(job))}
    return _Known(taken, manifests.terms(config).check)


def _make(source: Source, target: Path, known: _Known) -> tuple[list[str], tuple[Fault, ...]]:
    """Write the manifests into a folder, all or none; return their names, and the warnings."""
    series = Series(source.text, source.template, *_table(source), known.taken, known.check)
    with Bar("making manifests", len(series.rows)) as bar:
        for row in bar.each(series.rows):
            series.fill(row)
        files = _files(series, target)
        if faults := series.faults():
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise ManifestError(f"{faults[0]}{more}", faults, "Nothing was written.")
        _write(files, target)
    return list(files), series.warnings()


def _write(files: Mapping[str, bytes], target: Path) -> None:
    is_new = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        spool.drop_all(target.resolve(), files)
    except OSError as error:
        if is_new:
            with suppress(OSError):
                target.rmdir()
        message = f"cannot write into {target}: {error.strerror or error}"
        raise DriveprepError(message, "Nothing was written.") from error


def _table(source: Source) -> tuple[Table, Findings]:
    findings = Findings(source.listing)
    if isinstance(source.rows, tuple):
        return device_range.read(source.rows, findings), findings
    try:
        return table.read(source.rows, findings), findings
    except DocumentError as error:
        findings.faults += error.faults
        return Table({}, ()), findings


def _files(series: Series, target: Path) -> dict[str, bytes]:
    """Return the manifests by file name; a name that is not free is a fault of its deviceId."""
    files: dict[str, bytes] = {}
    owners: dict[str, str] = {}
    for manifest, cell in series.manifests:
        name = f"{spool.safe_name(manifest.device_id)}.yml"
        if owners.setdefault(name, manifest.device_id) != manifest.device_id:
            problem = f"another deviceId of the list makes the same file name, {name}"
            series.listing.fault(cell, DEVICE_ID, problem, "make this one separately")
        elif (target / name).is_symlink() or (target / name).exists():
            problem = f"{shown(cell.text)} needs the file {target / name}, which already exists"
            series.listing.fault(
                cell, DEVICE_ID, problem, "remove that file, or leave this one out"
            )
        files[name] = manifest.data
    return files


def _why_taken(job: Job) -> str:
    match job:
        case Job(device_id="") | Job(state=Rejected()) | Job(is_closed=True):
            return ""
        case Job(state=Pending() | Submitting()):
            return f"already waits in the manifest {printable(job.name)}"
    return f"already has the open job {job.job_id}"
