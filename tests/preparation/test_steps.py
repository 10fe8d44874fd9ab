"""The path of one job, step by step: real folders, the emulated service, no daemon around it."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from outside import ENDPOINT, TIMEOUT, Clock, Shelf, Wire
from pairs import drive

from daemon.errors import ClockRefusedError, DriveError, InDoubtError
from daemon.importexport import results
from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE
from daemon.jobs.job import Artifact, NewJob, Pending, Signed, Submitted
from daemon.jobs.journal import Journal
from daemon.preparation.polling import StatusPoller
from daemon.preparation.signing import Signer
from daemon.preparation.steps import Preparation
from daemon.preparation.under_way import UnderWay
from daemon.preparation.witnesses import Witnesses
from daemon.spool.dropping import drop
from daemon.spool.filing import digest
from daemon.spool.spool import Spool

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()


class DatedWire(Wire):
    """A service that dates its answers, and whose clock is set just before a CreateJob."""

    def __init__(self, clock):
        self.ahead = 0.0  # seconds, of ours
        self.set_ahead = 0.0  # with CreateJob
        self.is_dated = True
        super().__init__(lambda: clock() + self.ahead)
        self.requests = []

    def post(self, parameters, auth):
        """As Wire has it."""
        self.requests.append(parameters["Action"])
        if parameters["Action"] == "CreateJob":
            self.ahead = self.set_ahead
        return replace(
            super().post(parameters, auth), date=self._clock() if self.is_dated else None
        )


class Bench:
    """A manifest in pending/, its drive, and everything that takes the job along."""

    def __init__(self, folder, journal):
        self.clock = Clock()
        self.journal = journal
        self.shelf = Shelf()
        self.wire = DatedWire(self.clock)
        self.spool = Spool(folder / "spool", 1.0, self.clock)
        self.client = Client(
            ENDPOINT, EXAMPLE, TIMEOUT, clock=self.clock, transport=lambda *_: self.wire
        )
        under_way = UnderWay(self.clock)
        self.path = Preparation(
            journal,
            self.spool,
            self.client,
            StatusPoller(journal, self.client, self.clock, lambda _: None),
            Signer(journal, self.shelf, under_way),
            under_way,
            Witnesses(journal, self.spool, under_way, self.clock),
            self.clock,
            "bench",
        )
        self.root = folder / "HD001"
        self.root.mkdir()
        self.drive = drive("HD001", place=self.root)
        self.shelf.drives.append(self.drive)

    def dropped(self):
        """A pending job whose manifest was found valid, as intake records it."""
        drop(self.spool.path / "pending", "a.yml", GUIDE)
        new = NewJob(
            device_id="HD001",
            file_system="NTFS",
            name="a.yml",
            sha256=digest(GUIDE),
            state=Pending("1", validated=True),
            since=self.clock(),
        )
        return self.journal.add([new])[0]


@pytest.fixture
def bench(tmp_path):
    """A bench with an empty journal."""
    with closing(Journal(tmp_path, lambda: 0.0)) as journal:
        yield Bench(tmp_path, journal)


def test_log_of_a_job(bench, caplog):
    """Each step is told once, with the job's deviceId and, from then on, with its JobId."""
    caplog.set_level("INFO")

    job = bench.path.validate(bench.dropped())
    bench.path.advance(job, bench.drive)

    told = [(record.message, record.device_id, record.job_id) for record in caplog.records]
    assert told == [
        ("manifest a.yml found valid by the service", "HD001", ""),
        (f"job being submitted for {bench.drive.describe()}", "HD001", ""),
        ("job created at the service", "HD001", "J0001"),
        (f"SIGNATURE written to {bench.drive.describe()}: safe to remove", "HD001", "J0001"),
        (f"papers filed in {bench.spool.path}/prepared/J0001-HD001", "HD001", "J0001"),
    ]


def test_log_of_a_manifest_that_the_service_refuses(bench, caplog):
    """It is told once, with the file that says why."""
    bench.wire.faults.append(("ValidateOnly", "InvalidManifestFieldException"))

    bench.path.advance(bench.path.validate(bench.dropped()), None)

    assert [record.message for record in caplog.records] == [
        "manifest rejected, see rejected/a.yml.reason.txt"
    ]


@pytest.mark.parametrize("ahead", [910.0, -910.0])
def test_a_wrong_clock_costs_one_more_request(bench, ahead, caplog):
    """A service refuses a request that is 15 minutes off; then it has not acted, and says when."""
    job = bench.dropped()
    bench.wire.set_ahead = ahead

    after = bench.path.advance(job, bench.drive)

    assert bench.wire.requests.count("CreateJob") == 2
    assert "local clock is wrong" in caplog.text
    assert isinstance(after.state, Signed)
    assert after.filed
    (receipt,) = bench.spool.path.glob("prepared/*/receipt.json")
    assert receipt.read_text().startswith('{\n  "jobId": "')  # for people, too


@pytest.mark.parametrize("ahead", [None, 0.0, 440.0, -440.0])
def test_a_clock_that_is_refused_without_being_wrong_is_an_obstacle(bench, ahead):
    """A service that does not say its time, or says ours, would refuse the next request as well."""
    job = bench.dropped()
    bench.wire.is_dated, bench.wire.set_ahead = ahead is not None, ahead or 0.0
    bench.wire.faults += [("CreateJob", "RequestExpired")] * 3

    with pytest.raises(ClockRefusedError):
        bench.path.advance(job, bench.drive)

    assert bench.wire.requests.count("CreateJob") == 1
    assert bench.journal.worklist.get(job.number).state == Pending("", validated=True)


def test_a_refused_clock_is_no_reason_to_ask_again_where_no_time_is_said(bench):
    """The answer would be the same; with a time, the question is repeated once."""
    for is_dated, expected in ((False, 1), (True, 2)):
        bench.wire.requests.clear()
        bench.wire.is_dated = is_dated
        bench.wire.faults += [("ListJobs", "RequestExpired")] * expected

        with pytest.raises(ClockRefusedError):
            list(bench.client.list_jobs())

        assert bench.wire.requests == ["ListJobs"] * expected


@pytest.mark.parametrize(("age", "is_ours"), [(900, True), (901, False)])
def test_an_older_job_of_the_same_text_is_not_taken_for_ours(bench, age, is_ours, caplog):
    """A job is dated by the service's clock, which is at most 15 minutes behind.

    Another station can have made one of the very same manifest before.
    """
    job = bench.path.validate(bench.dropped())
    bench.path.witnesses.hear(bench.client)
    other = bench.client.create_job(GUIDE.decode())
    bench.clock.now += age
    bench.wire.faults.append(("CreateJob", "lost"))
    with pytest.raises(InDoubtError):
        bench.path.advance(job, bench.drive)
    bench.clock.now += 3 * TIMEOUT
    caplog.clear()
    caplog.set_level("INFO")

    after = bench.path.advance(bench.journal.worklist.get(job.number), bench.drive)

    assert isinstance(after.state, Signed)
    assert (after.job_id == other.job_id) is is_ours
    told = "job found at the service, adopted" if is_ours else "job is not at the service; it will"
    assert caplog.records[0].message.startswith(told)


def test_a_job_that_the_journal_has_lost_is_adopted_and_signed_at_once(bench, caplog):
    """The service's list is read before CreateJob; what it has is this very job."""
    job = bench.dropped()
    made = bench.client.create_job(GUIDE.decode())

    after = bench.path.advance(job, bench.drive)

    assert isinstance(after.state, Signed)
    assert after.job_id == made.job_id
    assert bench.wire.requests.count("CreateJob") == 1
    assert "adopted: it was never recorded" in caplog.text


def test_the_papers_that_the_service_wants_in_the_box_are_recorded(bench, monkeypatch):
    """With what they are and where they can be fetched, as far as the service says it."""
    job = bench.dropped()
    create = bench.client.create_job
    papers = (results.Artifact("Customs", None), results.Artifact(None, "https://x/b.pdf"))

    def with_papers(text, **when):
        return replace(create(text, **when), artifact_list=papers)

    monkeypatch.setattr(bench.client, "create_job", with_papers)

    after = bench.path.advance(job, bench.drive)

    assert after.state.artifact_list == (Artifact("Customs", ""), Artifact("", "https://x/b.pdf"))


def test_a_drive_that_was_pulled_while_it_was_signed_is_not_prepared(bench, monkeypatch):
    """What was written last may be lost with it; when it comes back, it is signed once more."""
    job = bench.dropped()
    verify = bench.shelf.verify
    looks = []

    def verify_and_pull(drive, file_system):
        verified = verify(drive, file_system)
        looks.append(verified)
        if len(looks) == 2:  # the first is the one before CreateJob
            bench.shelf.drives.clear()
        return verified

    monkeypatch.setattr(bench.shelf, "verify", verify_and_pull)

    with pytest.raises(DriveError, match="was removed while SIGNATURE was being written") as caught:
        bench.path.advance(job, bench.drive)

    assert caught.value.code == "drive-removed"
    job = bench.journal.worklist.get(job.number)
    assert isinstance(job.state, Submitted)

    bench.shelf.drives.append(bench.drive)
    assert isinstance(bench.path.advance(job, bench.drive).state, Signed)
    assert (bench.root / "SIGNATURE").read_text() == job.state.signature
    assert bench.wire.requests.count("CreateJob") == 1


def test_log_of_a_job_that_only_its_papers_know(bench, tmp_path, caplog):
    """While the service is away, that they were not compared; later, what was found."""
    job = bench.path.advance(bench.dropped(), bench.drive)
    (empty := tmp_path / "empty").mkdir()
    with closing(Journal(empty, lambda: 0.0)) as journal:
        witnesses = Witnesses(journal, bench.spool, UnderWay(bench.clock), bench.clock)
        bench.wire.faults.append(("", "unreachable"))
        caplog.clear()

        witnesses.begin(bench.client)
        witnesses.begin(bench.client)

        assert journal.job_with(job.job_id).state.signed_at == job.state.signed_at
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "papers not compared yet",
        "job known from its papers only",
    ]


def test_log_of_a_drive_that_has_lost_its_signature(bench, caplog):
    """Its job is open again."""
    job = bench.path.advance(bench.dropped(), bench.drive)
    (bench.root / "SIGNATURE").unlink()
    caplog.clear()

    after = bench.path.recheck(job, bench.drive)

    assert isinstance(after.state, Submitted)
    assert [(record.message, record.job_id) for record in caplog.records] == [
        ("SIGNATURE is missing or changed: it is written again", job.job_id)
    ]
