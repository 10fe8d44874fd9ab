"""The front door: commands, what they print, and exit codes as in sysexits(3).

Rooms are imported inside the commands: `--help` and `status` must not wait for what they
do not use.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from daemon.cli.exit_codes import EX_TEMPFAIL, EX_USAGE, complain, exit_code
from daemon.errors import ConfigError, DriveprepError, ManifestError, ManifestRefusedError

if TYPE_CHECKING:
    from daemon.cli.job_commands import Desk
    from daemon.config.loading import Config
    from daemon.importexport.client import Client
    from daemon.manifest.rules import Manifest

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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driveprep")
def driveprep() -> None:
    """Prepare NTFS drives for AWS Import/Export (Disk) export jobs.

    Drop a manifest into the spool's pending/ folder and plug the drive in.
    """


@driveprep.command()
@with_config
@click.option("--verbose", is_flag=True, help="Log what is of use only when looking for a fault.")
def run(config_path: Path, verbose: bool) -> None:
    """Be the daemon, in the foreground, until SIGTERM."""
    import logging

    from daemon import service
    from daemon.system import logs

    logs.to_stderr(logging.DEBUG if verbose else logging.INFO)
    service.run(config_path)


@driveprep.command()
@with_config
@click.option("--online", is_flag=True, help="Also ask the service (ValidateOnly; makes no job).")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
def check(config_path: Path, online: bool, files: tuple[Path, ...]) -> None:
    """Check the configuration, and manifests if FILES are given. Changes nothing."""
    from daemon.manifest import rules
    from daemon.system.printable import printable_lines

    worst: DriveprepError | None = None
    settings: Config | None = None
    try:
        settings = _settings(config_path, with_credentials=True)
        click.echo(f"{config_path}: good")
    except ConfigError as error:
        complain(error)
        worst = error
    for file in files:
        try:
            read = rules.read(_bytes(file), str(file))
            for warning in read.warnings:
                click.echo(f"warning: {printable_lines(warning.excerpt())}")
            if online and settings:
                _ask(settings, read)
            click.echo(f"{file}: good, for {read.device_id} ({read.file_system})")
        except DriveprepError as error:
            complain(error)
            worst = worst or error
    if worst:
        sys.exit(exit_code(worst))


@driveprep.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="For programs; stable, with a version.")
@click.option("--watch", is_flag=True, help="Leave it open; ends with Ctrl-C.")
def status(config_path: Path, as_json: bool, watch: bool) -> None:
    """Show every job and drive, what is going on, or why nothing is."""
    from daemon.cli import report, tables
    from daemon.drives.inventory import Drives

    settings, looked = _settings(config_path), Drives()
    if not watch:
        _show(report.status(settings, looked.mounted()), as_json)
        return
    import time

    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(tables.tables(report.status(settings, looked.mounted())), refresh=True)
            time.sleep(1)


@driveprep.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="For programs; stable, with a version.")
def drives(config_path: Path, as_json: bool) -> None:
    """Show every drive, mounted or only present, and the deviceIds it is recognised as."""
    from daemon.cli import report
    from daemon.drives.inventory import Drives

    looked = Drives()
    _show(report.drives(_settings(config_path), looked.mounted(), looked.present()), as_json)


@driveprep.command()
@with_config
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def submit(config_path: Path, file: Path) -> None:
    """Check the manifest FILE and drop it into pending/, the right way."""
    from daemon import spool
    from daemon.manifest import rules

    settings = _settings(config_path)
    read = rules.read(_bytes(file), str(file))
    name = file.name if spool.is_manifest_name(file.name) else f"{spool.safe_name(file.stem)}.yml"
    try:
        place = spool.drop(settings.spool / "pending", name, read.data)
    except FileExistsError as error:
        raise DriveprepError(
            f"{settings.spool / 'pending' / name} is already there",
            "Rename your file, or take the other one away.",
        ) from error
    except FileNotFoundError as error:
        raise DriveprepError(
            f"there is no folder {settings.spool / 'pending'}",
            "The daemon makes it when it starts: systemctl start driveprep",
        ) from error
    click.echo(f"dropped as {place}; it is for the drive {read.device_id}")


@driveprep.command()
@with_config
@click.argument("device_id")
def retry(config_path: Path, device_id: str) -> None:
    """Have the daemon try DEVICE_ID again at once."""
    from daemon import spool

    spool.ask_to_retry(_settings(config_path).spool / "pending", device_id)
    click.echo(f"the daemon is asked to try {device_id} again; see `driveprep status`")


@driveprep.command("format")
@with_config
@click.option("--internal", is_flag=True, help="Also where the disk is not a removable one.")
@click.argument("device", type=click.Path(path_type=Path))
@click.argument("device_id")
def format_(config_path: Path, internal: bool, device: Path, device_id: str) -> None:
    """ERASE the whole disk DEVICE and make it the NTFS drive DEVICE_ID (root, at a terminal)."""
    from daemon.cli import format as format_command
    from daemon.drives.recognition import Recognition

    recognition = Recognition()
    try:
        settings = _settings(config_path)
        recognition = Recognition(settings.devices, settings.require_mapping)
    except ConfigError as error:
        click.echo(f"not checked against a configuration: {error}", err=True)
    format_command.run(
        device,
        device_id,
        format_command.ask_terminal,
        recognition=recognition,
        internal=internal,
    )


with_job = click.argument("job", metavar="JOB")  # a JobId or a deviceId


@driveprep.command()
@with_config
@with_job
def show(config_path: Path, job: str) -> None:
    """Tell all that is known of JOB (a JobId or deviceId), here and at the service."""
    from daemon.system.printable import printable

    for name, text in _desk(config_path).show(job):
        lines = [printable(line) for line in text.splitlines()] or ["-"]
        click.echo(f"{name:>18}  " + f"\n{'':20}".join(lines))


@driveprep.command()
@with_config
@with_job
@click.option("--yes", is_flag=True, help="Do not ask.")
def cancel(config_path: Path, job: str, yes: bool) -> None:
    """Cancel JOB (a JobId or deviceId) at the service."""
    desk = _desk(config_path)
    found = desk.find(job)
    if not yes:
        click.confirm(f"Cancel job {found.job_id or '?'} for {found.device_id}?", abort=True)
    click.echo(desk.cancel(job))


@driveprep.command()
@with_config
@with_job
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def update(config_path: Path, job: str, file: Path) -> None:
    """Give JOB (a JobId or deviceId) the manifest FILE, as long as its transfer has not begun."""
    click.echo(_desk(config_path).update(job, file, _bytes(file)))


@driveprep.command()
@with_config
@with_job
def label(config_path: Path, job: str) -> None:
    """Print the link to the carrier label that the service issues for JOB."""
    click.echo(_desk(config_path).label(job))


@driveprep.command()
@with_config
@with_job
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write.")
@click.option("--open", "show_it", is_flag=True, help="Open it in the browser, to print it.")
def slip(config_path: Path, job: str, output: Path | None, show_it: bool) -> None:
    """Make the packing slip of JOB (a JobId or deviceId) again."""
    place = _desk(config_path).slip(job, output)
    click.echo(place)
    if show_it:
        click.launch(str(place))


@driveprep.command()
@with_config
def doctor(config_path: Path) -> None:
    """Prove that this machine can do the work, and tell what to do where it cannot.

    What this user may not see is said to be unseen: run it as root for the whole picture.
    """
    from daemon.cli import doctor as examination
    from daemon.cli.doctor import Verdict
    from daemon.system.printable import printable

    colours = {Verdict.OK: "green", Verdict.PROBLEM: "red", Verdict.UNSEEN: "yellow"}
    is_sound = True
    for finding in examination.examine(config_path, os.environ):
        is_sound = is_sound and finding.verdict is not Verdict.PROBLEM
        verdict = click.style(f"{finding.verdict.value:>7}", fg=colours[finding.verdict])
        click.echo(f"{verdict}  {finding.subject + ':':12} {printable(finding.fact)}")
        if finding.remedy:
            click.echo(f"{'':22} {printable(finding.remedy)}")
    if not is_sound:
        sys.exit(EX_TEMPFAIL)


@driveprep.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8470, show_default=True, help="0 takes a free one.")
@click.option("--access-key-id", default="AKIAIOSFODNN7EXAMPLE", show_default=True)
@click.option(
    "--secret-access-key",
    default="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    help="Default: the one of AWS's own examples.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the jobs in this file over restarts.",
)
def emulator(
    host: str, port: int, access_key_id: str, secret_access_key: str, state: Path | None
) -> None:
    """Be a local service that speaks the API, for trials and tests."""
    from daemon.importexport.credentials import Credentials
    from daemon.importexport.emulator import serve
    from daemon.system import logs

    logs.to_stderr()
    account = Credentials(access_key_id, secret_access_key)
    serve(host, port, accounts=[account], state=state)


@driveprep.command()
def demo() -> None:
    """Show the main job on a real NTFS image: emulator, daemon, manifest, drive (root)."""
    from daemon.cli import demo as story

    story.tell()


def main() -> NoReturn:
    """Run a command; its errors become one sentence, one hint and an exit code."""
    try:
        driveprep.main(prog_name="driveprep", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(EX_USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)  # as a shell tells of SIGINT
    except DriveprepError as error:
        complain(error)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        os._exit(0)  # whoever read our output has seen enough
    except OSError as error:
        complain(DriveprepError(str(error)))
        sys.exit(EX_TEMPFAIL)
    sys.exit(0)


def _settings(path: Path, *, with_credentials: bool = False) -> Config:
    from daemon.config import loading

    return loading.load(path, os.environ, with_credentials=with_credentials)


def _client(settings: Config) -> Client:
    from daemon.importexport.client import Client

    return Client(settings.endpoint, settings.credentials, settings.timeout)


def _ask(settings: Config, read: Manifest) -> None:
    """Let the service check a manifest; its complaint is told as one of ours. Makes no job."""
    from daemon.manifest import rules
    from daemon.manifest.complaints import locate

    text = rules.to_send(read, settings.credentials.access_key_id)
    try:
        _client(settings).create_job(text, validate_only=True)
    except ManifestRefusedError as error:
        fault = locate(read.data, read.name, error)
        raise ManifestError(str(fault), (fault,)) from error


def _desk(path: Path) -> Desk:
    from daemon.cli.job_commands import Desk

    settings = _settings(path, with_credentials=True)
    return Desk(settings, _client(settings))


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ManifestError(f"{file}: {error.strerror}") from error


def _show(found: dict[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from daemon.cli import tables

    if not sys.stdout.isatty():
        click.echo("\n".join(tables.lines(found)))
        return
    from rich.console import Console

    Console(highlight=False).print(tables.tables(found))
