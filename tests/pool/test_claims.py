"""Claims in a real PostgreSQL: one for each deviceId, whoever asks, and for ever."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from stations import NOW, claim, made

from daemon.errors import PoolAwayError, PoolError
from daemon.pool import claims, connection
from daemon.pool.connection import AT_ONCE, DEADLINE_SECONDS, Connections


def test_one_station_claims_a_device(join):
    """The other is told who has it; a repeated claim is the same one."""
    first, second = join("bench-1"), join("bench-2")
    one = claim()
    first.claim(one, "")
    first.claim(one, "")

    with pytest.raises(PoolError, match="station bench-1 is making a job for HD001") as caught:
        second.claim(claim(), "")
    assert (caught.value.code, "take-over bench-1" in caught.value.hint) == ("pool-claimed", True)
    (held,) = first.look()
    assert held.claim == one
    assert second.look() == []


def test_of_many_at_once_one_wins(join):
    """However many ask in the same moment."""
    stations = [join(f"bench-{number}") for number in range(6)]

    def attempt(station):
        try:
            station.claim(claim(), "")
        except PoolError as error:
            return error.code
        return "claimed"

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(attempt, stations))
    assert outcomes == ["claimed", *["pool-claimed"] * 5]


def test_a_claim_is_used_for_one_request(join):
    """Another request replaces it, if nothing was made under it; the old one is then void."""
    station, other = join("bench-1"), join("bench-2")
    first, second = claim(), claim(signed_at=NOW + 60)
    station.claim(first, "")
    station.sent(first.id)
    with pytest.raises(PoolError) as caught:
        station.claim(second, "")
    assert caught.value.code == "pool-own-claim"

    station.claim(second, first.id)

    station.write(claims.release, first.id)
    (held,) = station.look()
    assert held.claim.signed_at == NOW + 60
    station.write(claims.release, second.id)
    other.claim(claim(), "")


def test_what_was_never_sent_is_no_doubt(join):
    """A claim whose answer was lost is this process's own, until it sends something."""
    station = join("bench-1")
    station.claim(claim(), "")
    station.claim(claim(), "")
    assert len(station.look()) == 1


def test_a_claim_with_a_job_stays(join):
    """It is neither released nor replaced before the service has finished the job."""
    station, other = join("bench-1"), join("bench-2")
    one = claim()
    station.claim(one, "")
    assert made(station, one)
    station.write(claims.release, one.id)
    for each in (station, other):
        with pytest.raises(PoolError):
            each.claim(claim(), one.id)

    assert made(station, one, is_filed=True, is_closed=True)
    other.claim(claim(), "")


def test_whose_job_is_it(join):
    """A job is another station's by its JobId, or may be while it is in doubt there."""
    station, other = join("bench-1"), join("bench-2")
    station.claim(claim("HD001"), "")
    station.claim(one := claim("HD002"), "")
    made(station, one, "J0002")

    assert other.is_of_others("J9999", "HD001")
    assert other.is_of_others("J0002", "HD777")
    assert not other.is_of_others("J9999", "HD002")
    assert not station.is_of_others("J0002", "HD001")


def test_the_revision_is_remembered(join):
    """Each station remembers the newest state that it has seen, before a claim is used."""
    first, second = join("bench-1"), join("bench-2")
    first.claim(claim(), "")
    assert first.memory[-1].facts.revision > second.memory[-1].facts.revision
    second.look()
    assert second.memory[-1].facts == first.memory[-1].facts


def test_a_text_is_erased_when_it_is_filed(join, database):
    """Until then all that a recovery needs is there."""
    station = join("bench-1")
    station.claim(one := claim(), "")
    assert station.look()[0].claim.text == one.text
    made(station, one, is_filed=True)
    assert database.ask("SELECT manifest FROM driveprep.claim") == [(None,)]
    assert station.look()[0].claim == replace(one, text=b"")


def signal_to(pids, number):
    """Send a signal to all of these processes that are there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def test_a_server_that_is_gone_or_hangs_ends_within_the_deadline(join, database):
    """Stopped, frozen and back again; it goes on by itself."""
    station = join("bench-1")
    station.look()
    database.stop("immediate")
    with pytest.raises(PoolAwayError):
        station.claim(claim(), "")
    database.start()
    station.look()

    pids = [pid for (pid,) in database.ask("SELECT pid FROM pg_stat_activity")]
    frozen = [database.pid(), *pids]
    signal_to(frozen, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        with pytest.raises(PoolAwayError):
            station.claim(claim(), "")
        assert time.monotonic() - begun < 3 * DEADLINE_SECONDS
    finally:
        signal_to(frozen, signal.SIGCONT)
    station.claim(claim(), "")


def test_a_request_beyond_those_at_work_waits_no_longer_than_the_deadline(database, monkeypatch):
    """It is refused then, and takes no connection."""
    at_work, is_over = threading.Barrier(AT_ONCE + 1, timeout=DEADLINE_SECONDS), threading.Event()

    def work(_):
        at_work.wait()
        is_over.wait()

    with closing(Connections(database.url)) as connections, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            pool.submit(connections.run, work)
        at_work.wait()
        monkeypatch.setattr(connection, "DEADLINE_SECONDS", 0.1)  # of those at work it is as it was
        try:
            with pytest.raises(PoolAwayError, match="too many requests at once"):
                connections.run(lambda _: None)
        finally:
            is_over.set()


def test_a_pool_has_one_account(join):
    """Also when config.yml names another one after the station has joined."""
    with pytest.raises(PoolError, match="the pool is for the access key") as caught:
        join("bench-1").claim(claim(endpoint="http://127.0.0.1:9"), "")
    assert caught.value.code == "pool-account"
