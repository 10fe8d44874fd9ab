"""A database that has lost commits: seen by every station, and no claim before all have spoken."""

import shutil
import tempfile
import uuid
from pathlib import Path

import postgres
import pytest
from stations import ENDPOINT, KEY, claim, made, with_it

from daemon.errors import PoolError
from daemon.pool import members, sightings, waiting
from daemon.pool.connection import Connections
from daemon.pool.station import Station
from daemon.pool.waiting import Waiting

OPENED = []  # stations, to be closed


@pytest.fixture
def server():
    """A server of the test's own: it is stopped, copied and promoted."""
    folder = Path(tempfile.mkdtemp(prefix="driveprep-pg-", dir="/tmp"))
    folder.chmod(0o755)
    server = postgres.Postgres(folder / "1").make()
    with_it(server, lambda cursor: members.found(cursor, str(uuid.uuid4()), ENDPOINT, KEY))
    yield server
    while OPENED:
        OPENED.pop().close()
    for one in folder.iterdir():
        postgres.Postgres(one).stop("immediate")
    shutil.rmtree(folder)


def joined(server, name):
    """A station of that name."""
    connections = Connections(server.url)
    member = connections.run(
        lambda cursor: members.join(cursor, str(uuid.uuid4()), name, ENDPOINT, KEY)
    )
    OPENED.append(Station(connections, member, lambda _: None))
    return OPENED[-1]


def moved(station, server):
    """The same station, which now reaches another server by the same name."""
    OPENED.append(Station(Connections(server.url), station.member, lambda _: None))
    return OPENED[-1]


def is_closed(station):
    """Whether the station is kept from claiming, and its look says so."""
    with pytest.raises(PoolError) as at_look:
        station.look()
    with pytest.raises(PoolError) as at_claim:
        station.claim(claim("HD777"), "")
    return (at_look.value.code, at_claim.value.code) == ("pool-closed", "pool-closed")


def test_a_failover_that_loses_a_claim(server):
    """The claim is said again, and no one else can have it meanwhile."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    standby = server.standby(server.folder.with_name("2"))
    standby.receive_no_more()
    first.claim(one := claim("HD001"), "")
    held = first.look()
    server.stop("immediate")
    standby.promote()
    first, second = moved(first, standby), moved(second, standby)

    assert is_closed(first)
    assert is_closed(second)
    second.say([])
    assert is_closed(second)
    first.say(held)

    (now,) = first.look()
    assert now.claim.id != one.id
    assert (now.claim.signed_at, now.generation) == (one.signed_at, 2)
    with pytest.raises(PoolError, match="bench-1 is making a job"):
        second.claim(claim("HD001"), "")
    second.claim(claim("HD002"), "")


def test_an_older_dump_is_noticed_by_those_who_missed_nothing(server, tmp_path):
    """By the row itself: it was written by the restore, whatever its revision is."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    server.dump(tmp_path / "dump")
    first.claim(claim("HD001"), "")
    held = first.look()
    server.restore(tmp_path / "dump")

    assert is_closed(second)
    second.say([])
    first.say(held)
    assert [one.claim.device_id for one in first.look()] == ["HD001"]
    second.look()


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_what_writes_first_after_a_restore_does_not_hide_it(server, tmp_path, is_taken_over):
    """A station that joins or takes over: the others must say what they hold all the same."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    joined(server, "bench-3")
    server.dump(tmp_path / "dump")
    first.claim(one := claim("HD001"), "")
    held = first.look()
    server.restore(tmp_path / "dump")

    if is_taken_over:
        with_it(server, lambda cursor: members.take_over(cursor, second.member, "bench-3"))
        others = [second]
    else:
        others = [second, joined(server, "bench-4")]
        with_it(server, lambda cursor: members.take_over(cursor, second.member, "bench-3"))

    for other in others:
        assert is_closed(other)
        other.say([])
    first.say(held)
    assert [(now.claim.device_id, now.claim.signed_at) for now in first.look()] == [
        ("HD001", one.signed_at)
    ]


def test_what_an_older_dump_has_waiting_does_not_wait_again(server, tmp_path):
    """It was claimed since, as the journal of its station still knows."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    one = claim("HD001")
    waits = Waiting(one.sha256, "HD001", "HD001.yml", one.text)
    assert second.change(waiting.offer, [waits]) == {}
    server.dump(tmp_path / "dump")
    server.ask("DELETE FROM driveprep.manifest")
    first.claim(one, "")
    held = first.look()
    server.restore(tmp_path / "dump")

    assert is_closed(first)
    second.say([])
    first.say(held)

    assert server.ask("SELECT * FROM driveprep.manifest") == []
    assert second.change(waiting.offer, [waits]) == {one.sha256: "bench-1"}


def test_a_manifest_that_moved_after_the_last_commit_is_not_lost(server, tmp_path):
    """The database has it at the station before, which has removed its file."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    waits = Waiting("1" * 64, "HD001", "HD001.yml", b"text")
    first.change(waiting.offer, [waits])
    server.dump(tmp_path / "dump")
    second.change(sightings.see, {"HD001": {"serial": "WX11"}})
    assert second.change(waiting.fetch, {"HD001"})
    assert first.ask(waiting.moved) == {}
    second.change(waiting.delivered, waits.sha256)
    assert first.ask(waiting.moved) == {waits.sha256: "bench-2"}
    server.restore(tmp_path / "dump")
    for station in (first, second):
        is_closed(station)
    first.say([])
    second.say([])

    assert second.change(waiting.offer, [waits]) == {}


def test_a_station_that_was_taken_over_says_nothing(server):
    """It thaws while the pool is closed: its claims are the other one's by now."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    first.claim(claim("HD001"), "")
    held = first.look()
    server.ask("UPDATE driveprep.pool SET is_open = false, epoch = epoch + 1")
    with_it(server, lambda cursor: members.take_over(cursor, second.member, "bench-1"))

    with pytest.raises(PoolError, match="was taken over by bench-2"):
        first.say(held)
    second.say([])

    assert [one.station_name for one in second.look()] == ["bench-2"]


def test_an_older_copy_of_the_files(server):
    """It has the same row: those who have seen more close the pool, others wait for them."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    first.look(), second.look()
    server.stop()
    copy = server.folder.with_name("copy")
    shutil.copytree(server.data, copy, copy_function=shutil.copy2)
    server.start()
    first.look(), second.look()
    first.claim(claim("HD001"), "")
    held = first.look()
    server.stop()
    shutil.rmtree(server.data)
    shutil.copytree(copy, server.data)
    for path in (server.data, *server.data.rglob("*")):
        shutil.chown(path, postgres.USER, postgres.USER)
    shutil.rmtree(copy)
    server.start()

    with pytest.raises(PoolError) as caught:
        second.claim(claim("HD001"), "")
    assert (caught.value.code, "bench-1" in str(caught.value)) == ("pool-restarted", True)
    assert is_closed(first)
    first.say(held)
    second.say([])
    with pytest.raises(PoolError, match="bench-1 is making a job"):
        second.claim(claim("HD001"), "")


def test_a_restart_that_loses_nothing(server):
    """Everyone looks once; then claims are made again."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    first.look(), second.look()
    server.stop("immediate")
    server.start()

    with pytest.raises(PoolError) as caught:
        first.claim(claim(), "")
    assert caught.value.code == "pool-restarted"
    first.look(), second.look()
    first.claim(claim(), "")


def test_a_station_that_is_gone_is_taken_over(server, tmp_path):
    """Its claims are in doubt, and the pool opens without it."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    first.claim(one := claim("HD001"), "")
    server.dump(tmp_path / "dump")
    server.restore(tmp_path / "dump")
    second.say([])
    assert is_closed(second)

    member, taken = with_it(
        server, lambda cursor: members.take_over(cursor, second.member, "bench-1")
    )

    assert (taken, member.name) == (1, "bench-2")
    (held,) = second.look()
    assert (held.claim.device_id, held.claim.signed_at) == ("HD001", one.signed_at)
    with pytest.raises(PoolError, match=r"this station \(bench-1\) was taken over by bench-2"):
        first.say([]), first.look()


def test_the_newest_generation_holds_a_claim(server, tmp_path):
    """A take-over that was lost is not undone by the station that was taken over."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    first.claim(claim("HD001"), "")
    old = first.look()
    server.dump(tmp_path / "dump")
    with_it(server, lambda cursor: members.take_over(cursor, second.member, "bench-1", "HD001"))
    held = second.look()
    assert first.look() == []
    server.restore(tmp_path / "dump")

    first.say(old)
    second.say(held)

    assert [one.generation for one in second.look()] == [3]
    assert first.look() == []
    assert not made(first, old[0].claim)


def test_a_claim_whose_request_may_leave_at_any_time_is_said(server, tmp_path):
    """Its worker has the claim, and has not recorded yet that the request leaves."""
    first, second = joined(server, "bench-1"), joined(server, "bench-2")
    server.dump(tmp_path / "dump")
    one = claim("HD001")
    first.claim(one, "")
    server.restore(tmp_path / "dump")

    first.say([])
    second.say([])

    (held,) = first.look()
    assert (held.claim.device_id, held.claim.signed_at) == ("HD001", one.signed_at)


def test_a_role_that_can_only_read_and_write_rows_is_enough(server, tmp_path):
    """What `pool init --grant-to` gives: for claims, and to say what is held after a loss."""
    server.ask("DROP SCHEMA driveprep CASCADE")
    server.ask("CREATE ROLE bench LOGIN")
    with_it(server, lambda cursor: members.found(cursor, str(uuid.uuid4()), ENDPOINT, KEY, "bench"))
    connections = Connections(server.url.replace(f"user={postgres.USER}", "user=bench"))
    member = connections.run(
        lambda cursor: members.join(cursor, str(uuid.uuid4()), "bench-1", ENDPOINT, KEY)
    )
    station = Station(connections, member, lambda _: None)
    OPENED.append(station)
    server.dump(tmp_path / "dump")
    station.claim(one := claim("HD001"), "")
    server.restore(tmp_path / "dump")

    station.say([])

    (held,) = station.look()
    assert held.claim.signed_at == one.signed_at
