"""Worker threads: one for each device with a step to take, never two for one; and their number."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

SLOW_SECONDS = 1.0  # requests that were under way together are refused together
Steady = Callable[[], float]  # seconds, by a clock that cannot be set


class Thread(Protocol):
    """What is needed of threading.Thread."""

    def start(self) -> None:
        """Run the target."""

    def join(self, timeout: float) -> None:
        """Wait for its end, up to `timeout` seconds."""


class Workers:
    """Threads by key, started and counted by the main loop's thread.

    `ended` is called from each thread at its end. A thread blocked by a hung drive delays neither
    other jobs nor shutdown.
    """

    def __init__(
        self,
        ended: Callable[[], None],
        steady: Steady,
        thread: Callable[..., Thread] = threading.Thread,
    ) -> None:
        self._ended = ended
        self._steady = steady
        self._thread = thread
        self._threads: dict[str, Thread] = {}
        self._failures: deque[BaseException] = deque()

    def busy(self) -> frozenset[str]:
        """Return the keys that have a worker now."""
        return frozenset(self._threads)

    def start(self, key: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread of its own. There must be none for `key`."""
        thread = self._thread(target=self._run, args=(key, work), name=key, daemon=True)
        self._threads[key] = thread
        thread.start()

    def failures(self) -> list[BaseException]:
        """Return what workers have raised since the last call, oldest first."""
        return [self._failures.popleft() for _ in range(len(self._failures))]

    def join(self, seconds: float) -> None:
        """Wait for the workers of this moment, but no longer than `seconds`."""
        deadline = self._steady() + seconds
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - self._steady()))

    def _run(self, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - the main loop decides what it means
            self._failures.append(failure)
        finally:
            del self._threads[key]
            self._ended()


class Pace:
    """How many jobs may be under way at the service: fewer while it asks for a slower pace.

    Safe to use from several threads.
    """

    def __init__(self, steady: Steady) -> None:
        self._steady = steady
        self._allowed: float = math.inf
        self._slowed_at = -math.inf

    def limit(self, most: int) -> int:
        """Return how many, of `most`."""
        return int(min(most, self._allowed))

    def slow_down(self, most: int) -> None:
        """Halve it: the service has refused a request as one too many. At most once a second."""
        now = self._steady()
        if now >= self._slowed_at + SLOW_SECONDS:
            self._slowed_at = now
            self._allowed = max(1, self.limit(most) // 2)

    def speed_up(self) -> None:
        """Allow one more: a job went well."""
        self._allowed += 1
