"""Journal and pool in agreement: each row of the table in docs/pool.md that needs no process."""

import hashlib
import time
from contextlib import closing

import pytest
from as_operator import manifest_for
from stations import ENDPOINT, KEY, NOW, with_it

from daemon.errors import PoolError
from daemon.jobs.job import (
    Ceded,
    NewJob,
    Pending,
    Progress,
    Rejected,
    Signed,
    Submitted,
    Submitting,
)
from daemon.jobs.journal import Journal
from daemon.pool import members
from daemon.pool.station import Station
from daemon.pool.values import Claim
from daemon.preparation.exchange import Exchange, drop
from daemon.preparation.sharing import Sharing
from daemon.spool.spool import Spool

TEXT = manifest_for("HD001")
SHA = hashlib.sha256(TEXT).hexdigest()
DRIVE = {"serial": "WX11"}
MADE = Submitted("J0001", "version:2.0\n", "street", "", NOW, DRIVE)
SIGNED = Signed("J0001", "version:2.0\n", "street", "", NOW, NOW, DRIVE)


class Bench:
    """A station with its journal and its spool, without a daemon."""

    def __init__(self, folder, station):
        folder.mkdir()
        self.station = station
        self.spool = Spool(folder, 1.0, time.monotonic)
        self.journal = Journal(folder, lambda: NOW)
        self.sharing = Sharing(
            self.journal, station, self.spool, Exchange(self.journal, station, self.spool)
        )

    def drop(self):
        """A manifest that waits here."""
        (self.spool.pending / "HD001.yml").write_bytes(TEXT)
        return self.take_in()

    def take_in(self):
        """What the intake makes of the only file in pending/."""
        (path,) = self.spool.pending.iterdir()
        new = NewJob(
            device_id="HD001",
            file_system="NTFS",
            name=path.name,
            sha256=SHA,
            state=Pending("1"),
            since=NOW,
        )
        return self.journal.add([new])[0]

    def claim(self, job):
        """The claim of its worker, before anything is recorded."""
        claim = Claim("", "HD001", job.name, SHA, "NTFS", TEXT, NOW, ENDPOINT, KEY, DRIVE)
        return self.station.claim(claim, job.claim)

    def sent(self, job):
        """The request leaves."""
        claim = self.claim(job)
        state = Submitting(NOW, ENDPOINT, KEY, DRIVE)
        job = self.journal.record(job, state, TEXT, claim)
        self.station.sent(claim)
        return job

    def made(self, drive=DRIVE):
        """A job that the service has, of a drive that is here."""
        self.sharing.exchange.seen = {"HD001": drive}
        self.journal.record(self.sent(self.drop()), MADE)
        self.sharing.agree()

    def see(self, **drives):
        """Agree with these drives here; return whether another turn is needed soon."""
        self.sharing.exchange.seen = drives
        return self.sharing.agree()

    def put_away(self):
        """What a worker does with the only unfiled job, which is rejected."""
        (job,) = self.journal.unfiled()
        self.spool.reject(job.name, job.sha256, None, "a duplicate")
        self.journal.mark_filed(job)

    def state(self):
        """The state of the only unfiled job."""
        (job,) = self.journal.unfiled()
        return job.state

    def claims(self):
        """This station's claims in the pool, by their JobIds."""
        return [one.job_id for one in self.station.look()]


@pytest.fixture
def bench(tmp_path, join):
    """A bench."""
    made = Bench(tmp_path / "one", join("bench-1"))
    with closing(made.journal):
        yield made


@pytest.fixture
def other(tmp_path, join, bench):
    """Another one of the same pool."""
    del bench
    made = Bench(tmp_path / "two", join("bench-2"))
    with closing(made.journal):
        yield made


def test_a_claim_that_is_not_used_is_given_back(bench):
    """Until its worker says so, it is left alone."""
    claim = bench.claim(bench.drop())
    bench.sharing.agree()
    assert bench.claims() == [""]

    bench.station.give_back(claim)
    bench.sharing.agree()
    assert bench.claims() == []


def test_what_is_proved_not_made_is_released(bench, other):
    """Journal first; then another station may claim it."""
    job = bench.journal.record(bench.sent(bench.drop()), Pending("2"))
    bench.sharing.agree()

    assert bench.claims() == []
    bench.sharing.agree()
    assert bench.journal.claimed() == []
    with pytest.raises(PoolError, match="this manifest for HD001 waits at station bench-1"):
        other.claim(other.drop())
    bench.sent(job)


def test_what_was_made_is_published_until_it_is_closed(bench, database):
    """With its text until it is filed."""
    job = bench.journal.record(bench.sent(bench.drop()), MADE)
    bench.sharing.agree()
    assert bench.claims() == ["J0001"]
    job = bench.journal.mark_filed(bench.journal.record(job, SIGNED))
    bench.sharing.agree()
    query = "SELECT manifest, made ->> 'state' FROM driveprep.claim"
    assert database.ask(query) == [(None, "Signed")]

    bench.journal.record_progress(job, Progress(NOW, "Complete", None, is_terminal=True))
    bench.sharing.agree()
    assert bench.claims() == []
    assert bench.journal.claimed() == []


def test_a_claim_that_the_journal_does_not_know_is_in_doubt(bench, database):
    """Of a journal that was restored, or a crash before it was recorded: nobody can say."""
    bench.claim(bench.drop())
    (bench.spool.pending / "HD001.yml").unlink()
    bench.journal.withdraw(bench.journal.unfiled())
    again = Station(bench.station._connections, bench.station.member, lambda _: None)
    bench.station = bench.sharing.station = bench.sharing.exchange.station = again

    assert bench.sharing.agree()
    job = bench.take_in()
    with pytest.raises(PoolError) as caught:
        bench.claim(job)
    assert caught.value.code == "pool-own-claim"
    bench.sharing.agree()

    assert bench.state() == Submitting(NOW, ENDPOINT, KEY, DRIVE, NOW + 902)
    assert bench.journal.manifest(*bench.journal.unfiled()) == TEXT


@pytest.mark.parametrize("state", [None, MADE])
def test_a_station_that_was_taken_over_gives_its_jobs_up(bench, other, database, state):
    """And the other one has them: in doubt, or with their JobIds."""
    job = bench.sent(bench.drop())
    if state:
        bench.journal.record(job, state)
        bench.sharing.agree()
    with_it(database, lambda cursor: members.take_over(cursor, other.station.member, "bench-1"))

    with pytest.raises(PoolError, match="was taken over by bench-2"):
        bench.sharing.agree()
    assert bench.state() == Ceded("bench-2")

    assert other.sharing.agree()
    other.take_in()
    other.sharing.agree()
    assert other.state() == (MADE if state else Submitting(NOW, ENDPOINT, KEY, DRIVE, NOW + 902))


def test_one_station_follows_a_job_that_was_taken_over(bench, other, database):
    """Its papers stay where they are; the service is asked, and a person reminded, at one place."""
    job = bench.journal.record(bench.sent(bench.drop()), MADE)
    bench.journal.mark_filed(bench.journal.record(job, SIGNED))
    bench.sharing.agree()
    with_it(
        database, lambda cursor: members.take_over(cursor, other.station.member, "bench-1", "HD001")
    )

    bench.sharing.agree()
    other.sharing.agree()

    for one, count in (bench, 0), (other, 1):
        assert len(one.journal.followed()) == count
        assert len(one.journal.unshipped(NOW + 1)) == count
        assert bool(one.journal.open_job("HD001")) == bool(count)
    assert bench.sharing.agree() is False
    assert not other.station.is_of_others("J0001", "")
    assert bench.station.is_of_others("J0001", "")


def test_a_job_is_found_at_the_service_before_its_claim(bench, other, database):
    """The witnesses are faster than the second look at the pool: it has the claim nevertheless."""
    bench.sent(bench.drop())
    with_it(database, lambda cursor: members.take_over(cursor, other.station.member, "bench-1"))
    assert other.sharing.agree()
    job = other.journal.record(other.take_in(), Submitting(NOW, ENDPOINT, KEY, {}), TEXT)
    other.journal.record(job, MADE)
    (other.spool.pending / "HD001.yml").unlink()

    while other.sharing.agree():
        assert list(other.spool.pending.iterdir()) == []

    assert other.claims() == ["J0001"]


def test_a_manifest_that_moved_is_dropped_once(bench):
    """However often that is tried before it is taken in; its name may be another one's."""
    for _ in range(3):
        drop(bench.spool, "bench-2", "HD001.yml", TEXT)
    drop(bench.spool, "bench-2", "HD001.yml", b"another")
    drop(bench.spool, "bench-2", "HD001.yml", b"another")

    found = {path.name: path.read_bytes() for path in bench.spool.pending.iterdir()}
    assert found == {"HD001.yml": TEXT, "bench-2-HD001.yml": b"another"}


def test_a_manifest_that_is_being_edited_is_not_published(bench, database):
    """Its text would not be the one that was checked."""
    bench.drop()
    (bench.spool.pending / "HD001.yml").write_bytes(TEXT + b"# edited\n")
    bench.sharing.agree()

    assert database.ask("SELECT 1 FROM driveprep.manifest") == []


def test_a_worker_that_is_faster_is_not_disturbed(bench, monkeypatch):
    """It claims, records and sends between two looks of this turn."""
    job = bench.drop()
    look = bench.station.look

    def while_it_works():
        nonlocal job
        job = bench.sent(job)
        return look()

    monkeypatch.setattr(bench.station, "look", while_it_works)
    bench.sharing.agree()

    assert bench.state() == Submitting(NOW, ENDPOINT, KEY, DRIVE)


def test_the_job_of_a_drive_that_has_come_is_taken(bench, other):
    """Once the station before does not see it any more, and has said all that it knows."""
    bench.made()
    assert other.see(HD001=DRIVE)
    assert other.claims() == []
    bench.see()

    assert other.see(HD001=DRIVE)

    assert other.claims() == ["J0001"]
    bench.sharing.agree()
    assert bench.state() == Ceded("bench-2")
    assert other.sharing.agree()
    other.take_in()
    other.sharing.agree()
    assert other.state() == MADE


def test_a_drive_that_both_see_stays_where_it_is(bench, other, database):
    """A copy of it, or one machine with two stations: the one before has looked since."""
    bench.made()
    assert other.see(HD001=DRIVE)
    bench.sharing.agree()
    database.ask("UPDATE driveprep.sighting SET since = since - interval '1 minute'")

    assert not other.see(HD001=DRIVE)
    assert other.claims() == []


@pytest.mark.parametrize(
    ("state", "drive"), [(MADE, {"serial": "WX22"}), (SIGNED, DRIVE), (None, DRIVE)]
)
def test_what_is_not_taken(bench, other, state, drive):
    """The job of another drive; one that is signed; one that is in doubt."""
    job = bench.sent(bench.drop())
    if state:
        job = bench.journal.record(job, MADE)
    if state is SIGNED:
        bench.journal.record(job, SIGNED)
    bench.see()

    assert not other.see(HD001=drive)
    assert other.claims() == []


def test_a_duplicate_is_not_kept_when_the_job_is_sent_again(bench, other, database):
    """It was filed as one while the first request was in doubt; nothing of it waits any more."""
    job = bench.sent(bench.drop())
    other.drop()
    other.sharing.agree()
    assert isinstance(other.state(), Rejected)
    other.sharing.agree()

    bench.journal.record(job, Pending("2"))
    bench.sharing.agree()

    query = "SELECT s.name FROM driveprep.manifest m JOIN driveprep.station s ON s.id = m.station"
    assert database.ask(query) == [("bench-1",)]
    assert isinstance(bench.state(), Pending)


def test_what_comes_is_not_put_away_with_a_duplicate(bench, other):
    """It is rejected here, and the drive for it is here: it comes back when its file has gone."""
    other.drop()
    other.sharing.agree()
    bench.drop()
    bench.sharing.agree()
    assert isinstance(bench.state(), Rejected)
    assert bench.see(HD001=DRIVE)
    bench.put_away()
    assert list(bench.spool.pending.iterdir()) == []

    assert bench.sharing.agree()

    bench.take_in()
    assert isinstance(bench.state(), Pending)
    other.sharing.agree()
    assert list(other.spool.pending.iterdir()) == []


def test_a_duplicate_is_put_away_before_its_claim_is_taken_in(bench, other, database):
    """The station before is taken over while it is in doubt."""
    other.sent(other.drop())
    bench.drop()
    bench.sharing.agree()
    assert isinstance(bench.state(), Rejected)
    with_it(database, lambda cursor: members.take_over(cursor, bench.station.member, "bench-2"))

    assert bench.sharing.agree()
    assert isinstance(bench.state(), Rejected)
    bench.put_away()
    assert bench.sharing.agree()
    bench.take_in()
    bench.sharing.agree()

    assert bench.state() == Submitting(NOW, ENDPOINT, KEY, DRIVE, NOW + 902)


def test_a_station_that_thaws_after_a_loss_gives_its_jobs_up(bench, other, database):
    """It was taken over while the pool was closed, and knows of neither."""
    job = bench.journal.record(bench.sent(bench.drop()), MADE)
    bench.sharing.agree()
    bench.journal.mark_filed(bench.journal.record(job, SIGNED))
    bench.sharing.agree()
    database.ask("UPDATE driveprep.pool SET revision = 0")
    with pytest.raises(PoolError, match="closed"):
        other.sharing.agree()
    with_it(database, lambda cursor: members.take_over(cursor, other.station.member, "bench-1"))

    for _ in range(2):
        with pytest.raises(PoolError, match="was taken over by bench-2"):
            bench.sharing.agree()

    assert bench.journal.open_jobs() == []
    assert other.sharing.agree()
    assert [one.job_id for one in other.journal.open_jobs()] == ["J0001"]


def found(bench):
    """A job that the witnesses have found at the service: the journal has no claim of it."""
    job = bench.journal.record(bench.drop(), Submitting(NOW, ENDPOINT, KEY, DRIVE), TEXT)
    return bench.journal.record(job, MADE)


def test_a_job_that_was_found_without_a_claim_gets_one(bench, other):
    """Else another station could make one for the same drive."""
    found(bench)
    bench.sharing.agree()
    bench.sharing.agree()

    assert bench.claims() == ["J0001"]
    with pytest.raises(PoolError, match="station bench-1 has job J0001 for HD001"):
        other.claim(other.drop())


def test_a_job_that_was_found_is_given_up_with_the_others(bench, other, database):
    """The station was taken over before it knew of the claim."""
    bench.claim(bench.drop())
    with_it(database, lambda cursor: members.take_over(cursor, other.station.member, "bench-1"))
    (job,) = bench.journal.unfiled()
    job = bench.journal.record(job, Submitting(NOW, ENDPOINT, KEY, DRIVE), TEXT)
    bench.journal.record(job, MADE)

    with pytest.raises(PoolError, match="was taken over by bench-2"):
        bench.sharing.agree()
    assert bench.state() == Ceded("bench-2")


def test_what_waits_here_was_prepared_by_the_station_before(bench, other, database):
    """It is a duplicate, as if it had been dropped here after that."""
    job = bench.journal.record(bench.sent(bench.drop()), MADE)
    bench.journal.mark_filed(bench.journal.record(job, SIGNED))
    bench.sharing.agree()
    other.drop()
    with_it(database, lambda cursor: members.take_over(cursor, other.station.member, "bench-1"))

    other.sharing.agree()

    assert other.state() == Rejected("already prepared as J0001; no new job was made")
    assert database.ask("SELECT * FROM driveprep.manifest") == []


def test_a_job_that_papers_and_pool_tell_of_is_recorded_once(bench):
    """Each is read by a thread of its own."""
    new = NewJob(
        device_id="HD001",
        file_system="NTFS",
        name="HD001.yml",
        sha256=SHA,
        state=SIGNED,
        since=NOW,
    )
    for _ in range(2):
        bench.journal.add_prepared(new, SIGNED, None)

    assert [one.job_id for one in bench.journal.open_jobs()] == ["J0001"]
