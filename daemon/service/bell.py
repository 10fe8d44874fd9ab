"""The bell: whatever happens outside rings it, and it carries only what may have changed."""

from __future__ import annotations

import enum
import os
import select
from collections import deque
from collections.abc import Callable


class Ring(enum.Flag):
    """What may have changed, so that a scan refreshes only that part."""

    NOTHING = 0
    MOUNTS = enum.auto()  # the kernel's mount table
    SPOOL = enum.auto()  # something in pending/
    CONFIG = enum.auto()  # config.yml, or SIGHUP
    DISKS = enum.auto()  # a disk or its medium came, went or was described by udev
    WORK = enum.auto()  # a worker came to its end
    TIMER = enum.auto()  # time has passed: events can be lost
    POOL = enum.auto()  # the pool of several stations
    STOP = enum.auto()  # SIGTERM or SIGINT
    ALL = MOUNTS | DISKS | SPOOL | CONFIG | WORK | TIMER


class Bell:
    """Rung by any thread or signal handler, any number of times; one thread waits for it."""

    def __init__(self) -> None:
        self._counter = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # No lock, no `|=`: a signal handler may ring between any two steps of this very thread.
        self._rung: deque[Ring] = deque()
        self._heard = Ring.NOTHING
        self._poll = select.poll()
        self._poll.register(self._counter, select.POLLIN)
        self._listened: int | None = None
        self._take: Callable[[], bool] = bool

    def watch(self, descriptor: int) -> None:
        """Let the kernel ring MOUNTS: proc(5) raises POLLPRI when the mount table changes."""
        self._poll.register(descriptor, select.POLLPRI)

    def listen(self, descriptor: int, take: Callable[[], bool]) -> None:
        """Let messages ring DISKS. `take` takes those that have come, and says whether to ring."""
        self._listened = descriptor
        self._take = take
        self._poll.register(descriptor, select.POLLIN)

    def ring(self, what: Ring) -> None:
        """Signal that something may have changed. Safe to repeat; a hundred rings count as one."""
        self._rung.append(what)
        os.eventfd_write(self._counter, 1)

    def is_rung(self) -> bool:
        """Return whether `wait` would return at once. Nothing is lost by that."""
        self._listen(0.0)
        return bool(self._heard)

    def wait(self, seconds: float) -> Ring:
        """Return what was rung since the last call; wait for it up to `seconds`."""
        self._listen(0.0 if self._heard else seconds)
        heard, self._heard = self._heard, Ring.NOTHING
        return heard

    def _listen(self, seconds: float) -> None:
        # The kernel reports a change of the mount table to one call of poll(2) only.
        for descriptor, _ in self._poll.poll(max(0.0, seconds) * 1000):
            if descriptor == self._counter:
                os.eventfd_read(self._counter)
            elif descriptor == self._listened:
                self._heard |= Ring.DISKS if self._take() else Ring.NOTHING
            else:
                self._heard |= Ring.MOUNTS
        while self._rung:
            self._heard |= self._rung.popleft()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._counter)
