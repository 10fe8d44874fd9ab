"""Workers: a thread for each device that has a step to take, and never two for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Workers:
    """Threads by key. Started and counted by one thread; `ended` is called from each at its end.

    A thread that hangs with its drive holds up nobody, not even the end of the process.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._threads: dict[str, threading.Thread] = {}
        self.bug: BaseException | None = None  # what a worker did not expect; the first one counts

    def busy(self) -> frozenset[str]:
        """The keys that have a worker now."""
        return frozenset(self._threads)

    def start(self, key: str, work: Callable[[], None]) -> None:
        """Let `work` be done by a thread of its own. There must be none for `key`."""
        thread = threading.Thread(target=self._run, args=(key, work), name=key, daemon=True)
        self._threads[key] = thread
        thread.start()

    def join(self, seconds: float) -> None:
        """Wait for all that work now, but no longer than `seconds`."""
        deadline = time.monotonic() + seconds
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as bug:  # noqa: BLE001 - it ends the process, not only this thread
            self.bug = self.bug or bug
        finally:
            del self._threads[key]
            self._ended()
