"""A progress bar for what takes longer than a second, at a terminal, on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

QUIET_SECONDS = 1.0  # before the bar is shown


class Bar:
    """Shows how much of `total` is done, from a second after the start until the end of its block.

    Without a total it shows that something happens. In a pipe or a log it shows nothing. Only
    standard error is used, and the bar leaves no trace.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._is_over = False
        self._lock = threading.Lock()
        self._shown: Progress | None = None
        self._timer = threading.Timer(QUIET_SECONDS, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            if self._shown:
                self._shown.stop()

    def reach(self, done: int) -> None:
        """Show that so many are done."""
        with self._lock:
            self._done = done
            if self._shown:
                self._shown.update(self._shown.task_ids[0], completed=done)

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; each is done when the next one is asked for."""
        for done, item in enumerate(items):
            self.reach(done)
            yield item

    def _show(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - most commands are over by now
        from rich.progress import Progress  # noqa: PLC0415

        with self._lock:
            if not self._is_over:
                self._shown = Progress(console=Console(stderr=True), transient=True)
                self._shown.add_task(self._what, total=self._total, completed=self._done)
                self._shown.start()
