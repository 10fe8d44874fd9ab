"""What this process has under way: drives in use, requests in flight, parsed manifests."""

import threading
from pathlib import Path

import pytest

from daemon.jobs.job import Job, Pending
from daemon.preparation.under_way import HUNG_SECONDS, MAX_PARSED, UnderWay
from daemon.spool.filing import digest

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()


class Time:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self):
        """Seconds."""
        return self.now


def job(data=GUIDE, number=1):
    """A pending job."""
    return Job(number, "HD001", "NTFS", "a.yml", digest(data), Pending("1"), 1.0)


# Drives. What a drive is does not matter here.


def test_a_drive_is_hung_when_it_is_in_use_for_longer():
    """Each use counts from its own beginning, and the job's number is given with the drive."""
    clock = Time()
    under_way = UnderWay(clock)

    with under_way.using(job(number=1), "first"):
        clock.now += 60.0
        with under_way.using(job(number=2), "second"):
            assert under_way.hung_drives() == {}
            clock.now += 0.1
            assert under_way.hung_drives() == {1: "first"}
            clock.now += 60.0
            assert under_way.hung_drives() == {1: "first", 2: "second"}


def test_a_drive_is_in_use_no_longer_than_its_step():
    """Neither when the step is done nor when it failed: the drive has answered."""
    clock = Time()
    under_way = UnderWay(clock)

    with under_way.using(job(), "drive"):
        pass
    with pytest.raises(OSError, match="gone"), under_way.using(job(), "drive"):
        raise OSError("gone")
    clock.now += 3600.0

    assert under_way.hung_drives() == {}


# Requests


def test_a_request_lands_after_two_timeouts():
    """One until its sender gives up, and as long again for what is then still in flight."""
    clock = Time()
    under_way = UnderWay(clock)
    under_way.sent(job(), 10.0)

    clock.now += 19.9
    assert not under_way.has_landed(job(), 10.0)
    clock.now += 0.1
    assert under_way.has_landed(job(), 10.0)


def test_a_shorter_timeout_does_not_shorten_the_wait():
    """A request keeps the timeout it was sent with, whatever the configuration says later."""
    clock = Time()
    under_way = UnderWay(clock)
    under_way.sent(job(), 10.0)

    clock.now += 5.0

    assert not under_way.has_landed(job(), 1.0)


def test_a_request_of_an_earlier_process_lands_one_timeout_after_the_first_question():
    """Its sender gave up when its process ended, at the latest when this one first asks."""
    clock = Time()
    under_way = UnderWay(clock)
    assert not under_way.has_landed(job(), 10.0)

    clock.now += 10.0

    assert under_way.has_landed(job(), 10.0)


def test_nothing_is_in_flight_once_the_service_has_answered():
    """The next CreateJob of that job counts from its own sending."""
    clock = Time()
    under_way = UnderWay(clock)
    under_way.sent(job(), 10.0)

    under_way.settled(job())
    clock.now += 15.0

    assert not under_way.has_landed(job(), 10.0)
    clock.now += 10.0
    assert under_way.has_landed(job(), 10.0)


# Manifests


def test_a_manifest_is_parsed_once():
    """The same bytes give the very same value until the job is finished."""
    under_way = UnderWay(Time())
    first = under_way.manifest(GUIDE, "a.yml")

    assert under_way.manifest(bytes(GUIDE), "a.yml") is first
    under_way.finished(job())
    assert under_way.manifest(GUIDE, "a.yml") is not first


@pytest.mark.parametrize("names", [("a.yml", "b.yml"), ("b.yml", "a.yml")])
def test_the_same_bytes_under_another_name_have_that_name(names):
    """Its faults are reported by it."""
    under_way = UnderWay(Time())

    assert [under_way.manifest(GUIDE, name).name for name in names] == [*names]


def test_only_so_many_manifests_are_kept():
    """With more of them waiting, the one that was used least recently is parsed again."""
    under_way = UnderWay(Time())
    first = under_way.manifest(GUIDE, "a.yml")
    for number in range(MAX_PARSED):
        under_way.manifest(GUIDE.replace(b"HD001", b"HD%d" % number), "b.yml")

    assert under_way.manifest(GUIDE, "a.yml") is not first


def test_only_so_many_drives_are_in_use_at_once(monkeypatch):
    """Another job waits until one of them is free, and then goes on at once."""
    monkeypatch.setattr("daemon.preparation.under_way.TURN_SECONDS", 60.0)
    under_way, log = UnderWay(Time()), []
    under_way.drive_limit = 1

    def use(number):
        with under_way.using(job(number=number), f"drive {number}"):
            log.append(number)

    with under_way.using(job(), "drive 1"):
        waiting = threading.Thread(target=use, args=(2,))
        waiting.start()
        waiting.join(0.05)
        assert log == []

    waiting.join(10)
    assert log == [2]


def test_a_drive_that_hangs_takes_no_turn():
    """It is reported, and others go on without it."""
    clock = Time()
    under_way = UnderWay(clock)
    under_way.drive_limit = 1

    with under_way.using(job(), "drive 1"):
        clock.now += HUNG_SECONDS + 1
        with under_way.using(job(number=2), "drive 2"):
            assert under_way.hung_drives() == {1: "drive 1"}
