"""The pool of several stations: made, joined, left, and a station that is gone taken over."""
# ruff: noqa: PLC0415 - modules are imported where they are used: `--help` must not wait for them

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon.cli.exit_codes import EX_TEMPFAIL
from daemon.cli.options import as_json, client, settings, with_config
from daemon.errors import PoolError
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.config.loading import Config
    from daemon.importexport.client import Client
    from daemon.pool.connection import Connections
    from daemon.pool.membership import Membership


@click.group()
def pool() -> None:
    """Share one database with other stations, so that no drive gets a second job."""


@pool.command()
@with_config
@click.option(
    "--grant-to", metavar="ROLE", default="", help="The role of the stations, if another."
)
def init(config_path: Path, grant_to: str) -> None:
    """Make the pool's tables in the database that config.yml names, for its account.

    Those of an older version are brought up to date; stop the stations before.
    """
    import uuid

    from daemon.desk import joining
    from daemon.pool import members, schema

    config = settings(config_path)
    account = joining.account(config)
    with closing(_connections(config)) as connections:
        before = connections.run(
            lambda cursor: members.found(cursor, str(uuid.uuid4()), *account, grant_to)
        )
        if before:
            click.echo(f"the pool is of version {schema.VERSION} now; it was of version {before}")
        else:
            click.echo(f"there is a pool now, for {account[1]} at {account[0]}")
        _warn_of_losses(connections)


@pool.command()
@with_config
@click.argument("name", metavar="[NAME]", required=False)
def join(config_path: Path, name: str | None) -> None:
    """Join the pool as the station NAME (`station` of config.yml), while the daemon is stopped.

    What this station has open at the service is published. Nothing is joined if another station
    has a job for one of its deviceIds.
    """
    from daemon.desk import joining

    config = settings(config_path)
    with closing(_connections(config)) as connections:
        count = joining.join(config, connections, name or config.station)
    click.echo(
        f"this station is {name or config.station} now, with {count} open jobs; start the daemon"
    )


@pool.command()
@with_config
def leave(config_path: Path) -> None:
    """Leave the pool, while the daemon is stopped; not while jobs of this station are open."""
    from daemon.desk import joining

    config = settings(config_path)
    with closing(_connections(config)) as connections:
        joining.leave(config, connections)
    click.echo("this station has left the pool; remove `pool` from config.yml")


@pool.command(name="take-over")
@with_config
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("name", metavar="STATION")
@click.argument("device_id", metavar="[DEVICEID]", required=False)
def take_over(config_path: Path, yes: bool, name: str, device_id: str | None) -> None:
    """Take over the open jobs of a STATION that is gone, or only that of DEVICEID.

    Jobs that are in doubt stay so until the service's own list shows what it has.
    """
    from daemon.pool import members, schema

    config = settings(config_path)
    member = _member(config)
    with closing(_connections(config)) as connections:
        others = {one.name: one for one in connections.run(members.every)}
        if (other := others.get(name)) and not yes:
            what = device_id or f"{other.claims} open jobs, {other.in_doubt} of them in doubt"
            click.echo(f"{name} was seen {other.seen:.0f} s ago and has {what}")
            if not connections.run(lambda cursor: schema.facts(cursor, lock=False))[1]:
                click.echo(
                    f"the pool is closed; first `driveprep pool restore --lost {name}` there"
                )
            click.confirm(f"Shall {member.name} take over?", abort=True)
        _, taken = connections.run(
            lambda cursor: members.take_over(cursor, member, name, device_id)
        )
    click.echo(f"{taken} open jobs of {name} are those of {member.name} now")


@pool.command()
@with_config
@as_json
def status(config_path: Path, as_json: bool) -> None:
    """Show the stations, whether the pool is open, and the open jobs that no station follows.

    Those are the jobs of stations that have not been seen for an hour.
    """
    import json
    import sys

    from daemon.desk import pool_report

    with closing(_connections(settings(config_path))) as connections:
        report = connections.run(pool_report.status)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    if not report["open"]:
        sys.exit(EX_TEMPFAIL)


def _show(report: dict[str, Any]) -> None:
    open_ = "open" if report["open"] else "CLOSED: its database has lost commits"
    click.echo(f"pool: {open_}; revision {report['revision']}, epoch {report['epoch']}")
    for one in report["stations"]:
        jobs = f"{one['open']} open jobs, {one['inDoubt']} in doubt"
        click.echo(f"{printable(one['station'])}: {_state(one, is_open=report['open'])}; {jobs}")
    for one in report["unattended"]:
        job = f"job {printable(one['jobId'])}" if one["jobId"] else "a job in doubt"
        click.echo(
            f"no one follows {job} for {printable(one['deviceId'])}: station"
            f" {printable(one['station'])} was last seen at {one['seenAt']}; if it is gone for"
            f" good: driveprep pool take-over {printable(one['station'])}"
        )
    for text in report["warnings"]:
        click.echo(f"WARNING: {text}", err=True)


def _state(station: dict[str, Any], *, is_open: bool) -> str:
    if (successor := station["successor"]) is not None:
        return "has left" if successor == station["station"] else f"taken over by {successor}"
    said = "" if is_open else ", is WAITED FOR" if station["awaited"] else ", has said"
    return f"seen {station['secondsAgo']} s ago{said}"


@pool.command()
@with_config
@click.argument(
    "file", metavar="[FILE]", required=False, type=click.Path(path_type=Path, dir_okay=False)
)
def export(config_path: Path, file: Path | None) -> None:
    """Write all that the pool holds to the new FILE, or to the standard output: lines of JSON.

    Stations, claims with their JobIds, open and closed, and the manifests that wait. Lines of
    manifests that may hold a secret are left out.
    """
    from daemon.desk.recovery import exporting

    with closing(_connections(settings(config_path))) as connections:
        if file is None:
            for line in exporting.lines(connections):
                click.echo(line, nl=False)
            return
        try:
            exporting.write(connections, file)
        except FileExistsError as error:
            raise PoolError(f"{file} already exists", "Name a new file.") from error
    click.echo(f"the pool is written to {file}")


@pool.command()
@with_config
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--lost", metavar="STATION", multiple=True, help="A station whose journal is lost; repeatable."
)
def restore(config_path: Path, yes: bool, lost: tuple[str, ...]) -> None:
    """After a restore of the pool's database and of a journal, find the jobs that both have lost.

    Run it at the machine whose journal is lost, while the daemon is stopped there and runs at all
    others. It compares the pool with the papers of this machine and with the service's list of the
    last 31 days. What was submitted then waits no more; a station that is lost is taken over.
    """
    import sys

    from daemon.desk.recovery import restoring

    config, found_client = settings(config_path), _client(config_path)
    with closing(_connections(config)) as connections:
        found = restoring.find(config, connections, found_client, lost)
        for one in found.lost:
            end = "ended" if one.is_closed else "open"
            device_id = printable(one.claim.device_id)
            click.echo(f"job {one.job_id} for {device_id} ({end}) is not in the pool")
        for wait in found.ending:
            where = printable(wait.station_name)
            click.echo(f"{printable(wait.name)} waits at {where}, and was submitted already")
        for name in lost:
            click.echo(f"{printable(name)} will be taken over")
        if not found.lost:
            click.echo("the pool knows every job of the papers here and of the service")
        if not yes and (found.lost or lost):
            click.confirm("Shall this be recorded in the pool?", abort=True)
        refused = restoring.record(connections, found)
    click.echo(f"{len(found.lost) - len(refused)} jobs are in the pool now")
    for job_id in refused:
        click.echo(
            f"{job_id} is left out: the pool has another job for its deviceId; cancel one of them",
            err=True,
        )
    if refused:
        sys.exit(EX_TEMPFAIL)


def _client(path: Path) -> Client:
    from daemon.importexport.client import Client

    found = client(path)
    if not isinstance(found, Client):
        raise PoolError("this needs the secret key", "Run it as root, or as the daemon's user.")
    return found


def _connections(config: Config) -> Connections:
    from daemon.pool.connection import Connections

    if not config.pool.address:
        raise PoolError("config.yml has no pool", "Write the address of its database: `pool`.")
    return Connections(config.pool.address, config.pool.password_file)


def _member(config: Config) -> Membership:
    from daemon.jobs import reader
    from daemon.pool import membership

    found = reader.membership(config.spool)
    if found is None:
        raise PoolError("this station is in no pool", "driveprep pool join NAME")
    return membership.load(found[0])


def _warn_of_losses(connections: Connections) -> None:
    from daemon.pool import schema

    for text in connections.run(schema.dangers):
        click.echo(f"WARNING: {text}", err=True)
