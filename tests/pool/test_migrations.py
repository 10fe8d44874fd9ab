"""A pool of another version: refused, until its owner has brought it up to date."""

import uuid

import postgres
import pytest
from stations import ENDPOINT, KEY, claim, with_it

from daemon.errors import PoolError
from daemon.pool import members, schema
from daemon.pool.connection import Connections


@pytest.fixture
def newer(monkeypatch):
    """From when it is called, this driveprep is the next version."""

    def become():
        monkeypatch.setattr(schema, "VERSION", 2)
        step = "ALTER TABLE driveprep.claim ADD COLUMN note text NOT NULL DEFAULT ''"
        monkeypatch.setattr(schema, "MIGRATIONS", {1: step})

    return become


def init(server, role=""):
    """What `pool init` does."""
    return with_it(
        server, lambda cursor: members.found(cursor, str(uuid.uuid4()), ENDPOINT, KEY, role)
    )


def test_an_older_station_refuses_a_newer_pool(join, database):
    """It claims nothing, and says that it is the older one."""
    station = join("bench-1")
    database.ask("UPDATE driveprep.pool SET version = 2")

    for call in (lambda: station.claim(claim(), ""), station.look, lambda: station.say([])):
        with pytest.raises(PoolError, match="has version 2; this driveprep knows 1") as caught:
            call()
        assert caught.value.code == "pool-version"
        assert "newer driveprep here" in caught.value.hint


def test_init_brings_an_older_pool_up_to_date(join, database, newer):
    """What is claimed stays, and no station takes the change for a restored dump."""
    station = join("bench-1")
    station.claim(claim("HD001"), "")
    newer()
    with pytest.raises(PoolError, match="has version 1; this driveprep knows 2") as caught:
        station.claim(claim("HD002"), "")
    assert "driveprep pool init" in caught.value.hint

    assert init(database) == 1

    assert database.ask("SELECT device_id, note FROM driveprep.claim") == [("HD001", "")]
    assert [one.claim.device_id for one in station.look()] == ["HD001"]
    station.claim(claim("HD002"), "")
    with pytest.raises(PoolError, match="already a pool"):
        init(database)


def test_a_restored_pool_stays_closed_when_it_is_brought_up_to_date(
    join, database, newer, tmp_path
):
    """The stations still have to say what they hold."""
    station = join("bench-1")
    database.dump(tmp_path / "dump")
    database.restore(tmp_path / "dump")
    newer()

    init(database)

    with pytest.raises(PoolError) as caught:
        station.claim(claim(), "")
    assert caught.value.code == "pool-closed"


def test_the_role_of_the_stations_cannot_bring_it_up_to_date(database, newer):
    """Its owner can; nothing is changed by the attempt."""
    database.ask("DROP SCHEMA driveprep CASCADE")
    database.ask("DROP ROLE IF EXISTS benches")
    database.ask("CREATE ROLE benches LOGIN")
    init(database, "benches")
    newer()
    connections = Connections(database.url.replace(f"user={postgres.USER}", "user=benches"))

    with pytest.raises(PoolError) as caught:
        connections.run(lambda cursor: members.found(cursor, "", ENDPOINT, KEY))

    connections.close()
    assert caught.value.code == "pool-refused"
    assert database.ask("SELECT version FROM driveprep.pool") == [(1,)]
