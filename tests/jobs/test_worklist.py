"""The jobs in memory: each is found by what an event names, and by what it waits for."""

from dataclasses import replace

from daemon.errors import OTHER_ACCOUNT
from daemon.jobs.job import Job, Obstacle, Pending, Submitted
from daemon.jobs.worklist import Worklist

WAITING = Job(1, "HD001", "NTFS", "a.yml", "ab12", Pending("1"), 1.0)
RIVAL = replace(WAITING, number=2, name="b.yml")
SUBMITTED = replace(WAITING, number=3, state=Submitted("K7M3X", "", "", "", 1.0, {}))
ABSENT = Obstacle("no drive", "Mount it.", 1.0, 0, None, is_absence=True)
LOCKED = Obstacle("read-only", "Unlock it.", 1.0, 0, None)
REFUSED = Obstacle("throttled", "Wait.", 1.0, 3, 60.0)


def test_jobs_are_found_by_name_and_device():
    """Several jobs can have one name, or one deviceId; an unknown one has none."""
    work = Worklist([WAITING, RIVAL, SUBMITTED])

    assert work.of_name("a.yml") == [WAITING, SUBMITTED]
    assert work.of_device("HD001") == [WAITING, RIVAL, SUBMITTED]
    assert work.of_name("c.yml") == work.of_device("HD002") == []


def test_names_of_what_waits_for_a_drive():
    """A deviceId waits as long as one of its jobs is pending or to be signed."""
    work = Worklist([WAITING, RIVAL, SUBMITTED])
    assert work.names == {"HD001": ["a.yml", "b.yml"]}

    work.remove(WAITING)
    work.remove(RIVAL)
    assert work.names == {"HD001": []}

    work.put(replace(SUBMITTED, filed=True))
    assert work.names == {}
    assert len(work) == 0


def test_jobs_by_what_they_wait_for():
    """An absent drive, a time, and anything else are three things."""
    jobs = [
        replace(WAITING, number=n, obstacle=one) for n, one in enumerate((ABSENT, LOCKED, REFUSED))
    ]
    work = Worklist(jobs)

    assert work.obstructed() == [jobs[1]]
    assert work.timed() == [jobs[2]]
    assert work.blocked() == 3


def test_fresh_jobs_are_told_once():
    """What came or changed, if nothing blocks it."""
    work = Worklist([WAITING])
    assert work.take_fresh() == [WAITING]
    assert work.take_fresh() == []

    work.put(replace(WAITING, obstacle=ABSENT))
    assert work.take_fresh() == []
    work.put(WAITING)
    assert work.take_fresh() == [WAITING]


def test_news_are_told_once():
    """The deviceIds whose jobs came, went or took a step; an obstacle is no news."""
    work = Worklist([WAITING])
    assert work.take_news() == {"HD001"}

    work.put(replace(WAITING, obstacle=ABSENT))
    assert work.take_news() == set()
    work.remove(WAITING)
    work.remove(WAITING)
    assert work.take_news() == {"HD001"}


def test_unvalidated_jobs():
    """The oldest first, and no more than are wanted."""
    validated = replace(WAITING, number=9, state=Pending("1", validated=True))
    work = Worklist([WAITING, RIVAL, SUBMITTED, validated])

    assert work.unvalidated(9) == [WAITING, RIVAL]
    assert work.unvalidated(1) == [WAITING]


def test_a_job_of_another_account_is_not_validated():
    """The service would refuse it again and again, and those behind it would wait."""
    other = replace(LOCKED, code=OTHER_ACCOUNT)
    work = Worklist([replace(WAITING, obstacle=other), replace(RIVAL, obstacle=LOCKED)])
    assert [job.name for job in work.unvalidated(9)] == ["b.yml"]

    work.put(WAITING)
    assert [job.name for job in work.unvalidated(9)] == ["b.yml", "a.yml"]
