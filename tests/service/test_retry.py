"""How long an obstacle lets a job wait, and what brings the next try."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import (
    CredentialsRefusedError,
    DriveAbsentError,
    DriveError,
    InDoubtError,
    RequestRefusedError,
    ServiceError,
    SpoolError,
    TryLaterError,
    UnreachableError,
)
from daemon.jobs.job import Job, Obstacle, Pending
from daemon.service.retry import PAUSE_SECONDS, Retry, is_due, waits

obstacle = Retry().obstacle
LONGEST = max(PAUSE_SECONDS.values())
JOB = Job(1, "HD001", "NTFS", "a.yml", "ab12", Pending("1"), 1.0)
words = st.sampled_from(["a", "b"])
times = st.floats(0, 4e9)
others = st.builds(DriveError, words, words) | st.builds(SpoolError, words, words)
service = st.one_of(
    *(
        st.builds(kind, words, words)
        for kind in (InDoubtError, UnreachableError, TryLaterError, CredentialsRefusedError)
    )
)
obstacles = st.none() | st.builds(
    Obstacle,
    words,
    words,
    times,
    st.integers(0, 10**6),
    st.none() | times,
    st.booleans(),
    st.sampled_from(["", "drive", "spool", "in-doubt", "other"]),
)


@given(obstacles, others, times)
def test_any_other_trouble_waits_for_a_change(before, error, now):
    """Time heals no drive and no disk: there is no next try without a change, and no count."""
    after = obstacle(before, error, now)

    assert (after.attempts, after.retry_at) == (0, None)
    job = replace(JOB, obstacle=after)
    assert not waits(job, now)
    assert is_due(job, now + 1e9, {JOB.device_id}, something_changed=True)
    assert not is_due(job, now + 1e9, {JOB.device_id}, something_changed=False)


@given(obstacles, service, times)
def test_trouble_of_the_service_passes_with_time(before, error, now):
    """It is tried again after a pause, whatever changes meanwhile, and then without a change."""
    after = obstacle(before, error, now)

    assert after.attempts == (before.attempts + 1 if before else 1)
    assert now < after.retry_at <= now + LONGEST
    job = replace(JOB, obstacle=after)
    assert waits(job, now)
    assert not is_due(job, now, {JOB.device_id}, something_changed=True)
    assert not waits(job, after.retry_at)
    assert is_due(job, after.retry_at, {JOB.device_id}, something_changed=False)


@given(obstacles, others | service, times)
def test_the_same_trouble_is_as_old_as_it_is(before, error, now):
    """An obstacle begins when its code first appears, however the sentence is worded.

    One that was recorded before there were codes is compared by its sentence.
    """
    after = obstacle(before, error, now)

    is_same = before is not None and (
        before.code == error.code if before.code else before.reason == str(error)
    )
    assert after.since == (before.since if is_same else now)
    assert after.reason == str(error)
    assert after.hint == error.hint
    assert after.code == error.code


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (InDoubtError, 5),  # a job in doubt is settled soon
        (UnreachableError, 60),
        (ServiceError, 600),
        (TryLaterError, 600),
        (RequestRefusedError, 600),
    ],
)
def test_pauses_grow_up_to_a_limit(kind, longest):
    """Each pause is at most twice the one before, half of that at least, and there is an end."""
    before, pauses = None, []
    for attempt in range(1, 2000):
        before = obstacle(before, kind("x"), 0.0)
        pauses.append(before.retry_at)
        assert min(longest, 2.0 ** min(attempt, 60)) / 2 <= pauses[-1]
        assert pauses[-1] <= min(longest, 2.0 ** min(attempt, 60))

    assert max(pauses) > 0.95 * longest


def test_pauses_differ():
    """Jobs that met the same trouble at once do not all come back at once."""
    assert len({obstacle(None, UnreachableError("x"), 0.0).retry_at for _ in range(50)}) > 10


def test_count_begins_anew_after_other_trouble():
    """A drive in between tells nothing of the service: the next pause is a short one."""
    long = Obstacle("away", "wait", 1.0, 50, 2.0)

    between = obstacle(long, DriveError("no drive"), 3.0)

    assert obstacle(between, UnreachableError("away"), 4.0).attempts == 1


@given(st.booleans(), times)
def test_nothing_in_the_way(something_changed, now):
    """A job without an obstacle is due at any time."""
    assert not waits(JOB, now)
    assert is_due(JOB, now, {JOB.device_id}, something_changed=something_changed)


@given(service, times, st.floats(LONGEST + 1, 1e9))
def test_clock_that_was_set_back(error, now, back):
    """A clock that is set back makes nobody wait longer than the longest pause."""
    job = replace(JOB, obstacle=obstacle(None, error, now))

    assert not waits(job, now - back)
    assert is_due(job, now - back, {JOB.device_id}, something_changed=False)


def test_absence_ends_only_with_a_drive_that_answers():
    """A job whose drive is not here is not tried at each change, but when one answers to it."""
    absent = replace(JOB, obstacle=obstacle(None, DriveAbsentError("not here"), 1.0))
    other = replace(JOB, obstacle=obstacle(None, DriveError("read-only"), 1.0))

    assert not is_due(absent, 2.0, {"HD999"}, something_changed=True)
    assert is_due(absent, 2.0, {"HD999", JOB.device_id}, something_changed=True)
    assert is_due(other, 2.0, {"HD999"}, something_changed=True)
