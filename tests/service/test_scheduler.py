"""Which jobs can take a step now, with which drive: a journal, drives, and no worker."""

import time
from contextlib import closing
from dataclasses import replace

import pytest
from outside import ENDPOINT, Shelf
from pairs import drive

from daemon.drives.recognition import Recognition
from daemon.errors import DriveError, JournalFullError, UnreachableError
from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE
from daemon.jobs.job import NewJob, Pending, Submitted, Submitting
from daemon.jobs.journal import Journal
from daemon.preparation import signing, under_way
from daemon.preparation.polling import StatusPoller
from daemon.preparation.signing import Signer
from daemon.preparation.steps import Preparation
from daemon.preparation.under_way import UnderWay
from daemon.preparation.witnesses import Witnesses
from daemon.service.bell import Ring
from daemon.service.reload import Reloadable
from daemon.service.reporting.outcomes import Outcomes
from daemon.service.reporting.printing import Papers
from daemon.service.retry import Retry
from daemon.service.scheduler import BACKGROUND, POLLER, Scheduler
from daemon.service.survey import Survey
from daemon.service.workers import Workers

NOW = 2_000_000_000.0
NOBODY = frozenset()


class Held:
    """A thread that is never run: its worker stays busy."""

    def __init__(self, target, args, name, **_):
        self.run = lambda: target(*args)
        self.name = name

    def start(self):
        """Wait for `run`."""

    def join(self, timeout):
        """It has no end."""


class Bench:
    """A scheduler with a journal in a folder and drives on a shelf."""

    def __init__(self, journal, limit=8):
        self.journal = journal
        self.shelf = Shelf()
        self.survey = Survey(self.shelf)
        self.threads = []
        self.workers = Workers(lambda: None, time.monotonic, self._thread)
        client = Client(ENDPOINT, EXAMPLE, 1.0)
        under_way = UnderWay(time.monotonic)
        poller = StatusPoller(journal, client, lambda: NOW, lambda _: None)
        signer = Signer(journal, self.shelf, under_way)
        witnesses = Witnesses(journal, None, under_way, lambda: NOW)
        path = Preparation(
            journal, None, client, poller, signer, under_way, witnesses, lambda: NOW, "bench"
        )
        outcomes = Outcomes(journal, lambda: NOW, Retry(), lambda event, job: None)
        parts = Reloadable(path, outcomes, Recognition(), False, limit, Papers(None, ""))
        self.scheduler = Scheduler(journal, self.survey, self.workers, parts, time.monotonic)

    def _thread(self, **arguments):
        self.threads.append(Held(**arguments))
        return self.threads[-1]

    def busy(self):
        """The devices that have a worker."""
        return self.workers.busy() - BACKGROUND

    def add(self, device_id):
        """A pending job."""
        state = Pending("1")
        (job,) = self.journal.add(
            [
                NewJob(
                    device_id=device_id,
                    file_system="NTFS",
                    name=f"{device_id}.yml",
                    sha256=device_id,
                    state=state,
                    since=NOW,
                )
            ]
        )
        return job

    def mount(self, label, minor=1):
        """A drive, and the scan that finds it."""
        self.shelf.drives.append(drive(label, minor))
        self.survey.refresh(Ring.MOUNTS, self.journal.worklist)
        return self.shelf.drives[-1]

    def choose(self, now=NOW, *, something_changed=True):
        """The choice of one scan in which no job has a worker."""
        return self.scheduler.choose(NOBODY, now, something_changed=something_changed)


@pytest.fixture
def bench(tmp_path):
    """An empty bench."""
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        yield Bench(journal)


def test_a_job_gets_its_drive(bench):
    """The drive that matches is chosen with the job; a job without a drive is blocked by that."""
    here, absent = bench.add("HD001"), bench.add("HD002")
    mounted = bench.mount("HD001")

    choice = bench.choose()

    assert choice.ready == [(here, mounted)]
    ((blocked, reason),) = choice.blocked
    assert blocked == absent
    assert "no mounted drive matches HD002" in str(reason)


def test_a_blocked_job_waits_for_a_change(bench):
    """An obstacle is recorded once; the job is chosen again when its drive appears, not before."""
    job = bench.add("HD001")
    bench.scheduler.run(Ring.TIMER, NOW)
    assert bench.journal.worklist.get(job.number).obstacle.is_absence

    assert bench.choose() == bench.choose(something_changed=False)
    assert not bench.choose().blocked

    mounted = bench.mount("HD001")
    assert [found for _, found in bench.choose().ready] == [mounted]


def test_a_job_waits_for_its_time(bench):
    """After an error of the service a job is not due before its next attempt."""
    job = bench.add("HD001")
    bench.mount("HD001")
    bench.scheduler.parts.outcomes.blocked(job, UnreachableError("no answer", "Wait."))
    retry_at = bench.journal.worklist.get(job.number).obstacle.retry_at

    assert not bench.choose(retry_at - 0.01).ready
    assert bench.choose(retry_at, something_changed=False).ready


def test_a_job_that_has_no_worker_stays_due(tmp_path):
    """With one worker for two jobs, the second starts when the first has ended."""
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        bench = Bench(journal, limit=1)
        for number in (1, 2):
            bench.add(f"HD00{number}")
            bench.mount(f"HD00{number}", number)
        bench.scheduler.run(Ring.MOUNTS, NOW)
        assert bench.busy() == {"HD001"}

        del bench.workers._threads["HD001"]
        bench.scheduler.run(Ring.WORK, NOW)

        assert "HD002" in bench.busy()


def test_a_changed_configuration_gives_every_job_its_turn(bench):
    """One whose drive was absent may match another drive now; one that was blocked is free."""
    absent, blocked = bench.add("HD001"), bench.add("HD002")
    drive = bench.mount("LABEL")
    bench.mount("HD002", 2)
    bench.scheduler.run(Ring.MOUNTS, NOW)
    assert bench.journal.worklist.get(absent.number).obstacle.is_absence
    bench.workers._threads.clear()
    bench.scheduler.parts.outcomes.blocked(blocked, DriveError("read-only", "Unlock it."))

    mapped = Recognition({"HD001": {"label": "LABEL"}})
    bench.scheduler.parts = replace(bench.scheduler.parts, recognition=mapped)
    bench.scheduler.reconsider()
    bench.scheduler.run(Ring.CONFIG, NOW)

    assert drive.identity.label == "LABEL"
    assert {"HD001", "HD002"} <= bench.busy()


def test_a_device_never_has_two_workers(bench):
    """Papers of its last job to be filed, and a manifest for the next one: one after the other."""
    last = bench.add("HD001")
    identities = {"label": "HD001"}
    last = bench.journal.record(last, Submitting(NOW, "e", "A", identities), b"text")
    bench.journal.record(last, Submitted("K7M3X", "text", "", "", NOW, identities))
    bench.add("HD001")
    bench.mount("HD001")

    bench.scheduler.run(Ring.MOUNTS, NOW)

    assert [thread.name for thread in bench.threads if thread.name == "HD001"] == ["HD001"]


def test_a_drive_that_does_not_answer_keeps_no_worker_from_the_others(tmp_path, monkeypatch):
    """Its job's obstacle says so; with one worker for two jobs, the other job gets one as well."""
    monkeypatch.setattr(under_way, "HUNG_SECONDS", 0.0)
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        bench = Bench(journal, limit=1)
        hung, other = bench.add("HD001"), bench.add("HD002")
        drives = [bench.mount("HD001", 1), bench.mount("HD002", 2)]
        bench.scheduler.run(Ring.MOUNTS, NOW)
        assert bench.busy() == {"HD001"}

        with bench.scheduler.parts.preparation.under_way.using(hung, drives[0]):
            bench.scheduler.report_hung()
        bench.scheduler.run(Ring.TIMER, NOW)

        assert bench.busy() == {"HD001", "HD002"}
        assert journal.worklist.get(hung.number).obstacle.code == "drive-hung"
        assert journal.worklist.get(other.number).obstacle is None


def test_an_operator_may_have_a_job_tried_now(bench):
    """`retry` clears the obstacle, even one that has not changed or whose time has not come."""
    job = bench.add("HD001")
    bench.mount("HD001")
    bench.scheduler.parts.outcomes.blocked(job, DriveError("read-only", "Unlock it."))
    bench.scheduler.run(Ring.WORK, NOW)
    assert bench.busy() == NOBODY

    bench.scheduler.retry(["HD001"])
    bench.scheduler.run(Ring.WORK, NOW)

    assert bench.busy() == {"HD001"}


def test_a_full_disk_is_left_to_the_loop(bench):
    """A worker that cannot record its step hands the failure over; the scheduler goes on."""
    bench.add("HD001")
    bench.mount("HD001")

    def full():
        raise JournalFullError("the disk is full", "Make room.")

    bench.workers.start(POLLER, full)
    bench.threads[-1].run()

    (failure,) = bench.workers.failures()
    assert isinstance(failure, JournalFullError)
    bench.scheduler.run(Ring.MOUNTS, NOW)
    assert bench.busy() == {"HD001"}


def test_an_operator_may_confirm_the_drive_behind_another_bridge(bench, caplog):
    """The bridge's serial and WWN are dropped from the job; file system and partition are not.

    A job that was not made yet has no drive to confirm.
    """
    job = bench.add("HD001")
    pending = bench.add("HD002")
    identities = {"serial": "BRIDGE1", "wwn": "W1", "uuid": "U", "partuuid": "P"}
    job = bench.journal.record(job, Submitting(NOW, "e", "A", identities), b"text")
    bench.journal.record(job, Submitted("K7M3X", "text", "", "", NOW, identities))

    caplog.set_level("INFO")

    bench.scheduler.confirm(["HD001", "HD002"])

    assert [record.job_id for record in caplog.records if "confirmed" in record.message] == [
        "K7M3X"
    ]
    confirmed, other = bench.journal.unfiled()
    assert confirmed.state.drive == {"uuid": "U", "partuuid": "P"}
    assert other == pending


@pytest.mark.parametrize(
    ("other", "can_be_confirmed"),
    [({"serial": "BRIDGE2"}, True), ({"uuid": "V"}, False), ({"serial": "B", "uuid": "V"}, False)],
)
def test_another_drive_is_refused_with_what_differs(other, can_be_confirmed):
    """What agrees and what differs is named; only a bridge can be confirmed."""
    known = {"serial": "BRIDGE1", "uuid": "U"}
    state = Submitted("K7M3X", "text", "", "", NOW, known)
    now = {"serial": "BRIDGE1", "uuid": "U"} | other
    here = drive("HD001")
    here = replace(here, identity=replace(here.identity, **now))

    with pytest.raises(DriveError, match="is a different one") as caught:
        signing.check_same_drive("HD001", state, here)

    for key, value in other.items():
        assert f"{key} {known[key]} (this one has {value})" in str(caught.value)
    assert ("retry HD001 --same-drive" in caught.value.hint) == can_be_confirmed
    assert caught.value.code == ("other-bridge" if can_be_confirmed else "other-drive")
