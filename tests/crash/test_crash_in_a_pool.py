"""A station of a pool, killed before every effect of a job, and again before every one of recovery.

Then the same station comes back, or another one takes it over and has its drive, or both. Before
the COMMIT of a transaction of the pool and after it are two effects. Every run has all single
crashes and a sample of the pairs: DRIVEPREP_PAIRS=all tries them all, DRIVEPREP_SEED=7 repeats one.
"""

import os
import random
import uuid
from itertools import count

import pytest
import remains
from outside import ENDPOINT
from pooled import Pooled
from stations import cluster, with_it
from world import manifest

from daemon.errors import PoolAwayError
from daemon.importexport.emulator import EXAMPLE
from daemon.pool import members

__all__ = ["cluster"]
pytestmark = pytest.mark.xdist_group("pool")
NAME = "hd1.yml"
SEED = int(os.environ.get("DRIVEPREP_SEED") or random.randrange(10**6))
IS_ALL = os.environ.get("DRIVEPREP_PAIRS") == "all"
RECOVERIES, SECONDS = 5, 3  # of first crashes, and of the crashes after each, in a sample
# What follows the crash of a station that was not taken over. Until `is_settled` the first one may
# be gone for good; it becomes a new member where a manifest is left.
ENDS = (
    ("first", "second"),
    ("take_over", "second", "is_settled", "first", "rejoin", "look", "second", "look"),
    ("take_over", "first", "second", "rejoin", "look", "second", "look"),
)


@pytest.fixture
def pooled(cluster):
    """Two stations, and a manifest at the first one; its drive comes when that one is idle."""
    cluster.ask("DROP SCHEMA IF EXISTS driveprep CASCADE")
    key = EXAMPLE.access_key_id
    with_it(cluster, lambda cursor: members.found(cursor, str(uuid.uuid4()), ENDPOINT, key))
    made = Pooled(cluster)
    made.stations[0].drop(NAME, manifest())
    yield made
    made.close()


@pytest.mark.timeout(8 * 3600 if IS_ALL else 600)
def test_a_station_that_crashes_leaves_one_job(pooled):
    """At every effect, and at pairs of them."""
    print(f"DRIVEPREP_SEED={SEED}")
    chance, seen = random.Random(SEED), set()
    singles = life(pooled, pooled.moment(), ENDS[0], (), seen)
    for one in singles:
        is_chosen = IS_ALL or chance.random() < RECOVERIES / len(singles)
        pairs = life(pooled, *one, seen if is_chosen else None)
        for other in pairs if IS_ALL else chance.sample(pairs, min(SECONDS, len(pairs))):
            life(pooled, *other)

    assert len(singles) > 100
    assert len(seen) > len(singles)


def test_a_cut_at_every_transaction_leaves_one_job(pooled):
    """The daemon goes on: the server did not get the COMMIT, or its answer is lost."""
    start = pooled.moment()
    for number in count():
        pooled.restore(start)
        heard = count()

        def before(what, number=number, heard=heard):
            if what.startswith("pool") and next(heard) == number:
                raise PoolAwayError("cut", "")

        pooled.first(before)
        pooled.second()
        check(pooled)
        if next(heard) <= number:
            break

    assert number > 10


def life(pooled, moment, acts, past, seen=None):
    """Go on from a crash to the end; return what further crashes lead to, unless it is `seen`.

    Each as a moment, the acts that follow it, and the crashes before.
    """
    pooled.restore(moment)
    found = []
    try:
        for number, act in enumerate(acts):
            if act == "rejoin" and not left(pooled):
                break
            is_first = act == "first" and not pooled.is_moved
            ends = ENDS if is_first else [acts[number:]]

            def before(what, act=act, ends=ends):
                after = pooled.moment()
                key = pooled.key(after)
                for end in ends:
                    if (key, end) not in seen:
                        seen.add((key, end))
                        found.append((after, end, (*past, f"{act}: {what}")))

            if act == "is_settled":
                check(pooled, is_back=False)
            else:
                getattr(pooled, act)(None if seen is None else before)
        check(pooled)
    except BaseException as error:
        error.add_note(f"\nafter: {past}, then {acts}")
        raise
    return found


def left(pooled):
    """The manifests in pending/ of the first station."""
    return [one.read_bytes() for one in pooled.stations[0].spool.glob("pending/*")]


def check(pooled, *, is_back=True):
    """One job at the service, its SIGNATURE on the drive, its papers, and nothing waits.

    The first station may be gone for good, with what it has left on its own disk.
    """
    if not is_back and not pooled.stations[0].made():
        assert left(pooled) == [manifest()]  # the pool has not heard of it
        return
    (job,) = pooled.stations[0].made()
    signature = (
        f"version:2.0\nsigningMethod:HmacSHA1\njobId:{job.job_id}\nsignature:{job.signature}\n"
    ).encode()
    assert remains.tree(pooled.drive.mount_point) == {"SIGNATURE": signature}
    check_papers(pooled, f"prepared/{job.job_id}-HD001", signature)
    for one in pooled.stations if is_back else pooled.stations[1:]:
        check_nothing_is_left(pooled, one)
    rows = pooled.moment().rows
    assert rows["manifest"] == []
    assert [(one["job_id"], one["is_closed"]) for one in rows["claim"]] == [(job.job_id, False)]


def check_papers(pooled, folder, signature):
    """Once, where the drive was signed.

    The station that is taken over may have filed them without anyone's knowledge.
    """
    spools = [remains.tree(one.spool) for one in pooled.stations]
    found = [folder in spool for spool in spools]
    assert found[0] == (pooled.has_filed or not pooled.is_moved)
    assert any(found)
    assert found != [True, True] or pooled.has_filed
    for spool in spools:
        if folder in spool:
            assert spool[f"{folder}/manifest.yml"] == manifest()
            assert spool[f"{folder}/SIGNATURE"] == signature


def check_nothing_is_left(pooled, one):
    """But a manifest that is a duplicate by now, and papers that were not complete."""
    spool = remains.tree(one.spool)
    is_first = one is pooled.stations[0]
    assert not [name for name in spool if name.startswith("pending/")]
    assert not [name for name in spool if ".part" in name and not (is_first and pooled.is_moved)]
    for name in spool:
        if name.startswith("rejected/") and name.endswith(".txt"):
            assert b"the same manifest was dropped at station" in spool[name]
