"""A PostgreSQL and two stations that share it."""

import shutil
import tempfile
import time
import uuid
from pathlib import Path

import postgres
import pytest
from daemon_process import DaemonProcess

from daemon.drives.recognition import resemblance
from daemon.importexport.emulator import Emulator
from daemon.pool import claims, members
from daemon.pool.connection import Connections
from daemon.pool.station import Station
from daemon.pool.values import Claim

NOW = 2_000_000_000.0
ENDPOINT, KEY = "http://127.0.0.1:8470", "AKIAIOSFODNN7EXAMPLE"


@pytest.fixture(scope="session")
def cluster():
    """A running server, for all tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="driveprep-pg-", dir="/tmp"))  # a socket's path is short
    server = postgres.Postgres(folder / "1").make() if not folder.chmod(0o755) else None
    yield server
    server.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
def database(cluster):
    """The server with an empty pool."""
    cluster.ask("DROP SCHEMA IF EXISTS driveprep CASCADE")
    with_it(cluster, lambda cursor: members.found(cursor, str(uuid.uuid4()), ENDPOINT, KEY))
    return cluster


def with_it(server, work):
    """What work returns in one transaction."""
    connections = Connections(server.url)
    try:
        return connections.run(work)
    finally:
        connections.close()


@pytest.fixture
def join(database):
    """Makes a station of that name."""
    made = []

    def new(name):
        connections = Connections(database.url)
        member = connections.run(
            lambda cursor: members.join(cursor, str(uuid.uuid4()), name, ENDPOINT, KEY)
        )
        memory = [member]
        station = Station(connections, member, memory.append, differs=differs)
        station.memory = memory
        made.append(station)
        return station

    yield new
    for station in made:
        station.close()


def differs(one, other):
    """Whether identities are those of two drives."""
    return bool(resemblance.compare(one, other)[1])


class ServiceClock:
    """The service's clock, which can be moved on."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        """Return it, in seconds since the epoch."""
        return time.time() + self.ahead


@pytest.fixture
def clock():
    """The service's clock."""
    return ServiceClock()


@pytest.fixture
def service(clock):
    """The service."""
    with Emulator(quota=10_000, clock=clock) as emulator:
        yield emulator


@pytest.fixture
def station(tmp_path, service, cluster):
    """Makes a station of the one pool, with its daemon stopped."""
    cluster.ask("DROP SCHEMA IF EXISTS driveprep CASCADE")
    made = []

    def new(name, endpoint=service.endpoint, **settings):
        pool = {"address": cluster.url}
        daemon = DaemonProcess(
            tmp_path / name, endpoint, pool=pool, station=name, timeout=2, **settings
        )
        if not made:
            assert_done(daemon.command("pool", "init"))
        made.append(daemon)
        assert_done(daemon.command("pool", "join", name))
        return daemon

    yield new
    for daemon in made:
        if daemon.is_running:
            daemon.kill()
    for daemon in made:
        assert "Traceback" not in daemon.log, daemon.log


def assert_done(done):
    """A command has succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr


def claim(device_id="HD001", **other):
    """A claim with an id of its own."""
    values = {"name": f"{device_id}.yml", "sha256": "0" * 64, "file_system": "NTFS"}
    values |= {"text": b"deviceId: HD001\n", "signed_at": NOW, "endpoint": ENDPOINT}
    values |= {"access_key_id": KEY, "drive": {"serial": "WX11", "size": 4}, **other}
    return Claim(str(uuid.uuid4()), device_id, **values)


def made(station, one, job_id="J0001", *, is_filed=False, is_closed=False):
    """Publish that the service has made a job."""
    values = one.id, job_id, {"state": "Submitted"}, None if is_filed else one.text, is_closed
    return station.write(claims.publish, *values)
