"""Workers: one for a device, none held up by another, and no bug of theirs goes unseen."""

import threading
import time

import pytest

from daemon.service.workers import SLOW_SECONDS, Pace, Workers

SECONDS = 10.0  # until a test that hangs has failed


class Bell:
    """Counts how often it was rung, and wakes whoever waits for that."""

    def __init__(self):
        self.rung = 0
        self._changed = threading.Condition()

    def ring(self):
        """From any thread."""
        with self._changed:
            self.rung += 1
            self._changed.notify_all()

    def wait_for(self, times):
        """Wait until it was rung so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.rung >= times, SECONDS)


@pytest.fixture
def bell():
    """What a worker's end rings."""
    return Bell()


@pytest.fixture
def workers(bell):
    """Nobody works yet; at the end nobody works any more."""
    workers = Workers(bell.ring, time.monotonic)
    yield workers
    workers.join(SECONDS)
    assert workers.busy() == frozenset()


def test_each_works_on_its_own(workers, bell):
    """A worker that hangs holds up no other; who works is known by key."""
    release, done = threading.Event(), []
    workers.start("HD001", lambda: release.wait(SECONDS))
    workers.start("HD002", lambda: done.append("HD002"))

    bell.wait_for(1)
    assert done == ["HD002"]
    assert workers.busy() == {"HD001"}

    release.set()
    bell.wait_for(2)
    assert workers.busy() == frozenset()


def test_free_before_the_bell_rings():
    """Whoever hears the bell finds the device free: it can have its next worker at once."""
    seen = []
    workers = Workers(lambda: seen.append(workers.busy()), time.monotonic)
    for _ in range(3):
        workers.start("HD001", lambda: None)
        workers.join(SECONDS)

    assert seen == [frozenset()] * 3


def test_what_was_busy_stays_as_it_was_seen(workers, bell):
    """A look at who is busy does not change under the eyes of the one who looks."""
    release = threading.Event()
    workers.start("HD001", lambda: release.wait(SECONDS))
    before = workers.busy()

    release.set()
    bell.wait_for(1)

    assert before == {"HD001"}


@pytest.mark.parametrize("failure", [ZeroDivisionError("x"), SystemExit(3)])
def test_failures_are_handed_over_once(workers, bell, failure):
    """Whatever workers raise is there when the bell rings, in order, for the main loop to judge."""

    def fail():
        raise failure

    workers.start("HD001", fail)
    bell.wait_for(1)
    workers.start("HD002", lambda: 1 / 0)
    bell.wait_for(2)

    first, second = workers.failures()
    assert first is failure
    assert isinstance(second, ZeroDivisionError)
    assert workers.failures() == []


def test_join_waits_for_all(workers):
    """At the end every worker may finish its step."""
    gate, done = threading.Barrier(9, timeout=SECONDS), []
    for number in range(8):
        workers.start(f"HD{number}", lambda number=number: (gate.wait(), done.append(number)))
    gate.wait()

    workers.join(SECONDS)

    assert sorted(done) == list(range(8))


def test_join_waits_no_longer_than_told(workers):
    """Workers that hang are left behind after the time for all of them together."""
    release = threading.Event()
    for number in range(3):
        workers.start(f"HD{number}", lambda: release.wait(SECONDS))
    began = time.monotonic()

    workers.join(0.1)

    assert 0.1 <= time.monotonic() - began < SECONDS / 2
    assert len(workers.busy()) == 3
    release.set()


def test_hanging_worker_does_not_keep_the_process(workers):
    """A thread that hangs with its drive ends with the process."""
    release = threading.Event()
    workers.start("HD001", lambda: release.wait(SECONDS))

    (thread,) = [thread for thread in threading.enumerate() if thread.name == "HD001"]

    assert thread.daemon
    release.set()


def test_pace_yields_to_the_service():
    """Requests that are refused together halve it once; each job that goes well adds one."""
    now = 100.0
    pace = Pace(lambda: now)
    assert pace.limit(32) == 32

    for _ in range(32):
        pace.slow_down(32)
    assert pace.limit(32) == 16
    now += SLOW_SECONDS
    pace.slow_down(32)
    assert pace.limit(32) == 8

    pace.speed_up()
    assert pace.limit(32) == 9
    assert pace.limit(4) == 4


def test_pace_never_stands_still():
    """One job at a time is always allowed."""
    now = 100.0
    pace = Pace(lambda: now)
    for _ in range(10):
        pace.slow_down(32)
        now += SLOW_SECONDS

    assert pace.limit(32) == 1
