"""One reader of the journal for all pages: notices changes, makes a view, and passes it on.

A listener has room for one view, the newest: a slow one misses views and never fills memory.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from daemon.board import view as views
from daemon.board.bench.collecting import for_reader
from daemon.board.view import View
from daemon.config.loading import Config
from daemon.drives.mounts import LastChange
from daemon.errors import DriveError, JournalError
from daemon.jobs import reader, schema
from daemon.system import stamps
from daemon.system.clocks import Clock

log = logging.getLogger("daemon.board")

LOOK_SECONDS = 0.2  # between two looks: five stat(2) and one fcntl(2)
LONGEST_SECONDS = 30.0  # a view is made again after this time: days pass, and events can be lost
MAX_LISTENERS = 120
MAX_OF_ONE = 12  # listeners of one login: a browser needs one for all its tabs
FILES = (schema.NAME, f"{schema.NAME}-wal", schema.CLAIM, "pending")


@dataclass(frozen=True, slots=True)
class Published:
    """A view as it is sent, for those who may act and for those who may only read."""

    number: int  # counts up with each view
    view: View
    full: bytes
    read_only: bytes

    def of(self, *, is_read_only: bool) -> bytes:
        """Return the JSON for one kind of reader."""
        return self.read_only if is_read_only else self.full


class Listener:
    """The place of one reader, with room for the newest view. For the event loop's thread."""

    def __init__(self, name: str) -> None:
        self.name = name  # whose it is
        self._newest: Published | None = None
        self._came = asyncio.Event()

    def put(self, published: Published) -> None:
        """Replace the view that waits, if any."""
        self._newest = published
        self._came.set()

    def wake(self) -> None:
        """Have `next` return now."""
        self._came.set()

    async def next(self, seconds: float) -> Published | None:
        """Return the newest view that was not taken yet; None after `seconds` without any."""
        try:
            await asyncio.wait_for(self._came.wait(), seconds)
        except TimeoutError:
            return None
        self._came.clear()
        newest, self._newest = self._newest, None
        return newest


class Hub:
    """The newest view, and all who listen. For the event loop's thread."""

    def __init__(self) -> None:
        self.newest: Published | None = None
        self._listeners: set[Listener] = set()

    def publish(self, published: Published) -> None:
        """Give a view to every listener."""
        self.newest = published
        for one in self._listeners:
            one.put(published)

    def has_room(self, name: str) -> bool:
        """Return whether one more may listen, and for this name."""
        of_name = sum(one.name == name for one in self._listeners)
        return len(self._listeners) < MAX_LISTENERS and of_name < MAX_OF_ONE

    def ring(self) -> None:
        """Wake every listener, so that it sees whether it may go on."""
        for one in self._listeners:
            one.wake()

    def join(self, name: str) -> Listener:
        """Return a new listener, which has the newest view already."""
        listener = Listener(name)
        self._listeners.add(listener)
        if self.newest:
            listener.put(self.newest)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener. Safe to repeat."""
        self._listeners.discard(listener)


class Watcher:
    """A thread that makes a view after each change and calls `publish` with it.

    `settings` name the spool to watch, and `make` makes the view; both are called in the thread.
    """

    def __init__(
        self,
        settings: Callable[[], Config],
        make: Callable[[], View],
        publish: Callable[[Published], None],
        steady: Clock,
        table: Path | None,
    ) -> None:
        self._settings, self._make, self._publish, self._steady = settings, make, publish, steady
        self._mounts = LastChange(steady, table)
        self._ended = threading.Event()
        self._rung = threading.Event()
        self._last: View | None = None
        self._number = 0
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Safe to repeat."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def ring(self) -> None:
        """Have a view made at the next look, whatever the files say. From any thread."""
        self._rung.set()

    def _run(self) -> None:
        seen: object = None
        made_at = -LONGEST_SECONDS
        while not self._ended.wait(LOOK_SECONDS if self._number else 0):
            now = self._steady()
            stamp = self._stamp()
            if stamp != seen or self._rung.is_set() or now - made_at >= LONGEST_SECONDS:
                self._rung.clear()
                seen, made_at = stamp, now
                try:
                    self._show(self._make())
                except Exception:
                    log.exception("no view could be made")

    def _show(self, view: View) -> None:
        """Publish a view if it says anything new."""
        if self._last and replace(self._last, at=view.at) == view:
            return
        self._last = view
        self._number += 1
        read_only = views.as_json(for_reader(view, is_read_only=True))
        self._publish(Published(self._number, view, views.as_json(view), read_only))

    def _stamp(self) -> object:
        """Return what changes whenever journal, daemon, pending/ or mounts do."""
        config = self._settings()
        folder = config.spool
        try:
            mounted = self._mounts.noticed_at()
        except DriveError:
            mounted = 0.0
        try:
            is_running = reader.daemon_info(folder) is not None
        except JournalError:
            is_running = False
        return config, mounted, is_running, [stamps.of(folder / name) for name in FILES]
