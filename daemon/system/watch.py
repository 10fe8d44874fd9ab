"""Watches folders and calls back when something in them changes. Events can be lost."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any

from watchdog import events
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
    FileSystemMovedEvent,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.polling import PollingObserver

log = logging.getLogger("daemon.watch")

QUIET = frozenset({"opened", "closed_no_write"})  # a program reads; reading changes nothing
# The kernel need not report reads: our own scans would wake us. (Older watchdogs have no filter.)
LOUD = [
    DirCreatedEvent, DirDeletedEvent, DirModifiedEvent, DirMovedEvent, FileClosedEvent,
    FileCreatedEvent, FileDeletedEvent, FileModifiedEvent, FileMovedEvent,
]  # fmt: skip
# A changed mode or owner; in older watchdogs it is a modification.
LOUD += [getattr(events, name) for name in ("FileAttribEvent",) if hasattr(events, name)]
FILTER: dict[str, Any] = (
    {"event_filter": LOUD} if "event_filter" in signature(BaseObserver.schedule).parameters else {}
)
# The limits of the kernel that inotify_init(2) and inotify_add_watch(2) name.
LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ENOMEM})
SPARE_DESCRIPTORS = 4  # a watch needs as many at once
POLL_SECONDS = 5.0  # on network file systems, whose servers report no changes


class Watch:
    """Watches single folders, without their subfolders; calls back from a thread of its own.

    With `polled`, or where the kernel's limits allow no watch, the folders are read again and
    again instead.
    """

    def __init__(self, *, polled: bool = False) -> None:
        self.is_polled = polled
        self.limit = ""  # why the folders are polled although the kernel could report changes
        self._observer: BaseObserver | None = None
        self._folders: list[tuple[Path, _Handler]] = []

    def add(self, folder: Path, changed: Callable[[str, bool], None]) -> None:
        """Once started, call `changed(name, complete)` for each change of the folder.

        `complete`: a writer has closed the file, or it came by a rename.
        """
        self._folders.append((folder, _Handler(changed)))

    def start(self) -> None:
        """Begin to watch. A folder that can be neither watched nor polled is only logged."""
        if not self.is_polled:
            try:
                # Full events distinguish a rename from another folder (IN_MOVED_TO) from a new
                # file.
                self._start(lambda: InotifyObserver(generate_full_events=True))
            except OSError as error:
                self.is_polled, self.limit = True, _limit(error)
                self.stop()
                log.warning("changes of folders are polled: %s", self.limit)
        if self.is_polled:
            self._start(lambda: PollingObserver(timeout=POLL_SECONDS))

    def stop(self) -> None:
        """End the thread. Safe to repeat."""
        if self._observer and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        self._observer = None

    def _start(self, new_observer: Callable[[], BaseObserver]) -> None:
        """Watch every folder. Raises OSError if a limit is reached."""
        self._observer = new_observer()
        self._observer.daemon = True
        self._observer.start()
        for folder, handler in self._folders:
            try:  # only a running observer adds watches at once, one by one
                self._observer.schedule(handler, str(folder), **FILTER)
            except OSError as error:
                if error.errno in LIMITS:
                    raise
                log.warning("%s cannot be watched, only scanned on a timer: %s", folder, error)


def _report_at_once() -> None:
    """Have watchdog report an IN_MOVED_FROM at once, and with it what happens after it.

    It waits for the other half of a rename, which is of no use here: both names are reported.
    """
    for module, name in (
        ("inotify_move_event_grouper", "InotifyMoveEventGrouper"),
        ("inotify_buffer", "InotifyBuffer"),  # before watchdog 7
    ):
        with suppress(ImportError):
            getattr(importlib.import_module(f"watchdog.observers.{module}"), name).delay = 0.0


_report_at_once()


def _limit(error: OSError) -> str:
    """Return which limit is reached, and what raises it; see inotify(7)."""
    if error.errno == errno.ENOSPC:
        return "all inotify watches are in use; raise the sysctl fs.inotify.max_user_watches"
    if error.errno == errno.EMFILE and not _is_short_of_descriptors():
        return "all inotify instances are in use; raise the sysctl fs.inotify.max_user_instances"
    return f"{error.strerror or error}; raise the limit of open files (LimitNOFILE=, ulimit -n)"


def _is_short_of_descriptors() -> bool:
    """Return whether EMFILE is the limit of open files: the kernel has one code for both."""
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        return True
    return used + SPARE_DESCRIPTORS >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a message of watchdog is more than that a stopped thread is stopped."""
    return "thread is inactive" not in str(record.msg)


logging.getLogger("watchdog.observers.inotify").addFilter(_is_news)


class _Handler(FileSystemEventHandler):
    def __init__(self, changed: Callable[[str, bool], None]) -> None:
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in QUIET:
            return
        if event.src_path:
            self._changed(_name(event.src_path), isinstance(event, FileClosedEvent))
        if isinstance(event, FileSystemMovedEvent) and event.dest_path:  # another name has come
            self._changed(_name(event.dest_path), isinstance(event, FileMovedEvent))


def _name(path: bytes | str) -> str:
    return Path(os.fsdecode(path)).name
