"""A PostgreSQL and two stations that share it."""

import shutil
import tempfile
import uuid
from pathlib import Path

import postgres
import pytest

from daemon.pool import members
from daemon.pool.connection import Connections
from daemon.pool.station import Station

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
        station = Station(connections, member, memory.append)
        station.memory = memory
        made.append(station)
        return station

    yield new
    for station in made:
        station.close()
