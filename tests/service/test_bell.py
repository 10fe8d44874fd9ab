"""The bell: any number of rings from threads and signals, none lost, heard by one thread."""

import signal
import socket
import threading
import time
from contextlib import closing

import pytest
from memory_drive import mounted, needs_root

from daemon.service.bell import Bell, Ring


@pytest.fixture
def bell():
    """A bell that gives its descriptor back."""
    with closing(Bell()) as bell:
        yield bell


def test_many_rings_are_one(bell):
    """A hundred rings are heard once, as the sum of what they said; then there is silence."""
    for _ in range(100):
        bell.ring(Ring.SPOOL)
    bell.ring(Ring.TIMER)

    assert bell.wait(10) == Ring.SPOOL | Ring.TIMER
    assert bell.wait(0) == Ring.NOTHING


def test_wait_ends_with_the_time(bell):
    """Where nothing rings, waiting ends with its time; a moment that is past is no wait."""
    started = time.monotonic()

    assert bell.wait(0.05) == Ring.NOTHING
    assert 0.04 < time.monotonic() - started < 5
    assert bell.wait(-1) == Ring.NOTHING


def test_ring_from_another_thread_wakes(bell):
    """A ring wakes the waiting thread at once, long before the time is over."""
    ringer = threading.Thread(target=bell.ring, args=(Ring.WORK,))
    started = time.monotonic()
    ringer.start()

    assert bell.wait(60) == Ring.WORK
    ringer.join()
    assert time.monotonic() - started < 10


def test_no_thread_waits_for_another(bell):
    """Rings of eight threads at once, while another listens, are all heard."""
    names = [Ring.MOUNTS, Ring.SPOOL, Ring.CONFIG, Ring.WORK, Ring.TIMER]
    heard = dict.fromkeys(names, 0)
    answered = {name: threading.Event() for name in names}

    def ring_and_wait_for_the_answer(name):
        for _ in range(200):
            answered[name].clear()
            bell.ring(name)
            assert answered[name].wait(10)

    threads = [threading.Thread(target=ring_and_wait_for_the_answer, args=(one,)) for one in names]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while any(thread.is_alive() for thread in threads) and time.monotonic() < deadline:
        rung = bell.wait(0.05)
        for name in names:
            if name in rung:
                heard[name] += 1
                answered[name].set()
    for thread in threads:
        thread.join(10)

    assert heard == dict.fromkeys(names, 200)


def test_ring_of_a_signal_is_never_lost(bell):
    """A signal handler may ring between any two steps of the thread that listens or rings."""
    rung, heard = 0, 0

    def handler(*_):
        nonlocal rung
        if rung == heard:  # the ring before was heard
            rung += 1
            bell.ring(Ring.STOP)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.00002, 0.00002)
    try:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            bell.ring(Ring.SPOOL)
            if Ring.STOP in bell.wait(0):
                heard = rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if Ring.STOP in bell.wait(0):
        heard = rung

    assert rung == heard > 100


def test_signal_wakes_the_listener(bell):
    """A signal that rings ends the wait of the very thread that it interrupts."""
    before = signal.signal(signal.SIGALRM, lambda *_: bell.ring(Ring.STOP))
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        assert Ring.STOP in bell.wait(60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@needs_root
def test_mounts_ring_by_themselves(bell, tmp_path):
    """The kernel rings MOUNTS when something is mounted or unmounted, and is then quiet."""
    with open("/proc/self/mountinfo", "rb") as table:
        bell.watch(table.fileno())
        quieten(bell)

        with mounted(tmp_path / "drive"):
            assert bell.wait(10) == Ring.MOUNTS
            quieten(bell)
        assert bell.wait(10) == Ring.MOUNTS


def quieten(bell):
    """Hear what is still to be heard, such as of mounts by other programs."""
    while bell.wait(0.01):
        pass


@needs_root
def test_messages_ring_if_they_matter(bell):
    """Each is taken from its queue when it has come, and whoever takes it decides."""
    near, far = socket.socketpair()
    with closing(near), closing(far):
        bell.listen(near.fileno(), lambda: near.recv(16) == b"a disk")

        far.send(b"a network card")
        assert bell.wait(5) == Ring.NOTHING
        far.send(b"a disk")
        assert bell.wait(5) == Ring.DISKS
        assert bell.wait(0) == Ring.NOTHING


def test_to_ask_whether_it_is_rung_loses_nothing(bell, tmp_path):
    """Neither a ring nor the kernel's word of a mount, which it gives only once."""
    with open("/proc/self/mountinfo", "rb") as table:
        bell.watch(table.fileno())
        while bell.wait(0):
            pass

        with mounted(tmp_path / "drive"):
            bell.ring(Ring.WORK)
            assert bell.is_rung()
            assert bell.is_rung()

            assert bell.wait(0) == Ring.MOUNTS | Ring.WORK
            assert not bell.is_rung()
