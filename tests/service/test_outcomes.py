"""What came of a job's steps: recorded, and reported once."""

import logging
from dataclasses import replace

import pytest

from daemon.errors import (
    CredentialsRefusedError,
    DriveAbsentError,
    DriveError,
    TryLaterError,
    UnreachableError,
)
from daemon.jobs.job import Caution, NewJob, Pending, Rejected, Signed
from daemon.jobs.journal import Journal
from daemon.jobs.reader import recent
from daemon.service.reporting.outcomes import Outcomes
from daemon.service.retry import Retry

NOW = 2_000_000_000.0
DRIVE = {"deviceNode": "/dev/sdb1"}
SIGNED = Signed(
    job_id="K7M3X",
    signature="jobId:K7M3X",
    shipping_address="",
    warning="",
    submitted_at=NOW,
    drive=DRIVE,
    signed_at=NOW,
)
WAITING = NewJob(
    device_id="HD001",
    file_system="NTFS",
    name="HD001.yml",
    sha256="a",
    state=Pending("1"),
    since=NOW,
)


@pytest.fixture
def told():
    """What hooks and udisks2 are asked to do, in order."""
    return []


@pytest.fixture
def ledger(tmp_path):
    """An empty journal."""
    ledger = Journal(tmp_path, lambda: NOW)
    yield ledger
    ledger.close()


@pytest.fixture
def job(ledger):
    """A job that waits for its drive."""
    return ledger.add([WAITING])[0]


def after(ledger, told, *, ejects=False):
    """Outcomes that are reported to a hook for each event and, with `ejects`, to udisks2."""

    def hook(event, job):
        told.append((event, job))

    def eject(drive):
        told.append(("eject", drive))
        return "unmounted and powered off"

    return Outcomes(ledger, lambda: NOW, Retry(), hook, eject if ejects else None)


def test_an_obstacle_is_told_once(ledger, job, told, caplog):
    """It is in the journal, one line of the log and one hook, however often it is met."""
    caplog.set_level(logging.INFO)
    for _ in range(3):
        after(ledger, told).blocked(job, DriveError("it is read-only", "Unlock it."))

    assert ledger.worklist.get(job.number).obstacle.reason == "it is read-only"
    assert [record.message for record in caplog.records] == ["it is read-only. Unlock it."]
    ((event, reported),) = told
    assert event == "obstacle"
    assert reported.obstacle.hint == "Unlock it."


def test_another_obstacle_is_news(ledger, job, told):
    """An obstacle with another code is reported, and replaces the old one."""
    for reason, code in (("it is read-only", "read-only"), ("it is full", "full")):
        after(ledger, told).blocked(job, DriveError(reason, "Check it.", code))

    assert ledger.worklist.get(job.number).obstacle.reason == "it is full"
    assert len(told) == 2


def test_a_reworded_obstacle_is_not_news(ledger, job, told):
    """The new sentence is recorded; `since` stays, and no hook is run again."""
    after(ledger, told).blocked(job, DriveError("is read-only", "Unlock it.", "read-only"))
    first = ledger.worklist.get(job.number).obstacle

    outcomes = Outcomes(ledger, lambda: NOW + 60, Retry(), lambda *what: told.append(what))
    outcomes.blocked(job, DriveError("cannot be written", "Move the switch.", "read-only"))

    second = ledger.worklist.get(job.number).obstacle
    assert (second.reason, second.since) == ("cannot be written", first.since)
    assert len(told) == 1


def test_what_the_service_said_last_is_warned_of(ledger, told):
    """Once each, beside what the manifest itself warns of; what it said before is past."""
    own = Caution("manifest", "a.yml:5:11: logBucket: is the guide's placeholder")
    (job,) = ledger.add([replace(WAITING, cautions=(own,))])
    away = UnreachableError("cannot reach it", "Wait.")
    refused = CredentialsRefusedError("the secret is wrong", "Correct it.", "BadSecret")
    for error in (away, away, refused, refused):
        after(ledger, told).warn(job, error)

    assert ledger.cautions(job) == (own, Caution("BadSecret", "the secret is wrong", "Correct it."))
    assert [(event, one.obstacle.reason, one.obstacle.hint) for event, one in told] == [
        ("warning", "cannot reach it", "Wait."),
        ("warning", "the secret is wrong", "Correct it."),
    ]


def test_absence_is_no_news_for_hooks(ledger, job, told, caplog):
    """A drive that is not here is the usual state: in the journal and the log, not an alarm."""
    caplog.set_level(logging.INFO)
    after(ledger, told).blocked(job, DriveAbsentError("no drive", "Mount it."))

    assert ledger.worklist.get(job.number).obstacle.is_absence
    assert caplog.records[0].levelno == logging.INFO
    assert told == []


def test_trouble_of_the_service_counts_its_tries(ledger, job, told):
    """The same trouble again is written down with its next try, and told no second time."""
    for _ in range(2):
        after(ledger, told).blocked(job, UnreachableError("cannot reach it", "Wait."))

    assert ledger.worklist.get(job.number).obstacle.attempts == 2
    assert ledger.worklist.get(job.number).obstacle.retry_at > NOW
    assert len(told) == 1


def test_a_prepared_drive_is_told_and_then_ejected(ledger, job, told):
    """Only where the configuration asks for it, and only a prepared one."""
    signed, rejected = replace(job, state=SIGNED), replace(job, state=Rejected("is bad"))

    after(ledger, told).filed(signed)
    after(ledger, told, ejects=True).filed(signed)
    after(ledger, told, ejects=True).filed(rejected)
    after(ledger, told).closed(signed)

    assert told == [
        ("prepared", signed),
        ("prepared", signed),
        ("eject", DRIVE),
        ("rejected", rejected),
        ("terminal", signed),
    ]


def test_a_refused_eject_changes_nothing(ledger, job, caplog):
    """The job is finished all the same; the refusal is a warning with what to do."""

    def refuse(drive):
        raise DriveError(f"{drive['deviceNode']} is busy", "Do it by hand.")

    outcomes = Outcomes(ledger, lambda: NOW, Retry(), lambda event, job: None, refuse)
    outcomes.filed(replace(job, state=SIGNED))

    assert [record.message for record in caplog.records] == ["/dev/sdb1 is busy. Do it by hand."]


def test_how_the_eject_ended_is_recorded(ledger, job, told, tmp_path):
    """`status` shows it, not only the log."""
    after(ledger, told, ejects=True).filed(replace(job, state=SIGNED))

    (recorded,) = recent(tmp_path, 0.0)
    assert recorded.eject == "unmounted and powered off"


def test_the_service_is_away_once_and_back_once(ledger, caplog):
    """However many requests fail; a refusal is an answer, and a drive says nothing of it."""
    caplog.set_level("INFO")
    changes = []
    outcomes = Outcomes(
        ledger,
        lambda: NOW,
        Retry(),
        lambda event, job: None,
        change_hook=lambda _event, change, reason: changes.append((change, reason)),
    )
    away = UnreachableError("no route", "Check the network.")
    for error in (None, TryLaterError("slow down"), away, away, DriveError("x"), None, None, away):
        outcomes.service(error)

    sentence = "no route. Check the network."
    assert changes == [("away", sentence), ("back", ""), ("away", sentence)]
    logged = [(record.levelname, record.message) for record in caplog.records]
    away_line, back_line = ("WARNING", "service is away"), ("INFO", "service is back")
    assert logged == [away_line, back_line, away_line]
