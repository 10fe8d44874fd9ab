"""Watches folders and calls back when something in them changes. Events can be lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

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
FILTER: dict[str, Any] = (
    {"event_filter": LOUD} if "event_filter" in signature(BaseObserver.schedule).parameters else {}
)
POLL_SECONDS = 5.0  # on network file systems, whose servers report no changes


class Watch:
    """Watches single folders, without their subfolders; calls back from a thread of its own."""

    def __init__(self, *, polled: bool = False) -> None:
        # Full events distinguish a rename from another folder (IN_MOVED_TO) from a new file.
        self._observer: BaseObserver = (
            PollingObserver(timeout=POLL_SECONDS)
            if polled
            else InotifyObserver(generate_full_events=True)
        )
        self._observer.daemon = True
        self._folders: list[tuple[Path, _Handler]] = []

    def add(self, folder: Path, changed: Callable[[str, bool], None]) -> None:
        """Once started, call `changed(name, complete)` for each change of the folder.

        `complete`: a writer has closed the file, or it came by a rename.
        """
        self._folders.append((folder, _Handler(changed)))

    def start(self) -> None:
        """Begin to watch. Where the kernel allows no more watches, only a warning is logged."""
        self._observer.start()
        for folder, handler in self._folders:
            try:  # only a running observer adds watches at once, one by one
                self._observer.schedule(handler, str(folder), **FILTER)
            except OSError as error:
                log.warning("%s cannot be watched, only scanned on a timer: %s", folder, error)

    def stop(self) -> None:
        """End the thread."""
        self._observer.stop()
        self._observer.join()


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
