"""The configuration: waited for at the start, watched, and read again when it changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.config import loading
from daemon.config.loading import Config
from daemon.drives.recognition import Recognition
from daemon.errors import ConfigError
from daemon.preparation.steps import Preparation
from daemon.service.bell import Bell, Ring
from daemon.service.reporting.outcomes import Outcomes
from daemon.service.reporting.printing import Papers
from daemon.system import stamps, systemd
from daemon.system.clocks import Clock
from daemon.system.printable import printable
from daemon.system.stamps import Stamp
from daemon.system.watch import Watch

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.foreground")

MAX_LINKS = 40  # as the kernel follows them, path_resolution(7)
SCAN_SECONDS = 5.0  # how long a usable configuration may go unseen where nothing can be watched


@dataclass(frozen=True, slots=True)
class Reloadable:
    """What a change of the configuration replaces."""

    preparation: Preparation
    outcomes: Outcomes
    recognition: Recognition
    validate_on_drop: bool
    requests: int
    papers: Papers


class Sources:
    """The configuration's files. Once it was loaded, a change of any of them rings CONFIG."""

    def __init__(self, path: Path, bell: Bell) -> None:
        self._path = path.absolute()
        self._bell = bell
        self._files: frozenset[Path] = frozenset()  # and the links on the way to them
        self._stamps: dict[Path, Stamp] = {}  # of the files when they were read
        self._folders: dict[Path, int] = {}  # with their inodes: a new folder needs a new watch
        self._watch: Watch | None = None

    def load(self) -> Config:
        """Read the configuration. What was read cannot change unnoticed. Raises ConfigError.

        It is read again if the watch had to be extended for it: a change before that would not
        have been noticed.
        """
        while True:
            error: ConfigError | None = None
            try:
                settings = loading.load(self._path, os.environ)
                files = settings.files
            except ConfigError as caught:
                error, files = caught, caught.files
            self._stamps = {file: stamps.of(file) for file in files | {self._path}}
            if self._follow(files | {self._path}):
                continue
            if error:
                raise error
            for warning in settings.warnings:
                log.warning("%s", warning)
            return settings

    def check(self) -> None:
        """Ring CONFIG if a file has changed although no event came: events can be lost."""
        if any(stamps.of(file) != stamp for file, stamp in self._stamps.items()):
            self._bell.ring(Ring.CONFIG)

    def _follow(self, files: frozenset[Path]) -> bool:
        """Watch these files and every link on the way to them; return whether that is new."""
        self._files = frozenset().union(*map(_places, files))
        folders = _inodes({place.parent for place in self._files})
        if folders == self._folders:
            return False
        self.stop()
        self._watch, self._folders = Watch(), folders
        for folder in folders:
            self._watch.add(folder, self._ring_for(folder))
        self._watch.start()
        return True

    def stop(self) -> None:
        """Stop watching. Safe to repeat."""
        if self._watch:
            self._watch.stop()
        self._watch, self._folders = None, {}

    def _ring_for(self, folder: Path) -> Callable[[str, bool], None]:
        def changed(name: str, _complete: bool) -> None:
            if folder / name in self._files:
                self._bell.ring(Ring.CONFIG)

        return changed


def first_config(
    path: Path, bell: Bell, sources: Sources, scan_seconds: float = SCAN_SECONDS
) -> Config | None:
    """Return the first configuration that can be used; None if STOP was rung before.

    Without systemd, which can show what is waited for, ConfigError is raised instead.
    """
    reported: tuple[str, ...] = ()
    pause = min(scan_seconds, systemd.watchdog_seconds() or scan_seconds)
    while True:
        try:
            return sources.load()
        except ConfigError as error:
            if not systemd.is_listening():
                raise
            faults = _sentences(error)
        if faults != reported:
            for fault in faults:
                log.warning("waiting for a configuration: %s", fault)
            systemd.notify("READY=1", f"STATUS=waiting for {path}: {printable(faults[0])}")
            reported = faults
        if Ring.STOP in bell.wait(pause):
            systemd.notify("STOPPING=1")
            return None
        systemd.notify("WATCHDOG=1")


def reload(sources: Sources, steady: Clock) -> Config:
    """Return the configuration as it is now, and notify systemd. Raises ConfigError."""
    # sd_notify(3): the time shows systemd to which of two reloads a READY=1 belongs.
    systemd.notify("RELOADING=1", f"MONOTONIC_USEC={int(steady() * 1e6)}")
    status = "configuration read"
    try:
        return sources.load()
    except ConfigError as error:
        status = f"configuration unchanged: {printable(_sentences(error)[0])}"
        raise
    finally:
        systemd.notify("READY=1", f"STATUS={status}")


def _sentences(error: ConfigError) -> tuple[str, ...]:
    return tuple(str(fault) for fault in error.faults) or (str(error),)


def _inodes(folders: set[Path]) -> dict[Path, int]:
    """Return the folders that exist."""
    found = {}
    for folder in folders:
        with suppress(OSError, ValueError):  # ValueError: a name that no file can have
            found[folder] = folder.stat().st_ino
    return found


def _places(path: Path) -> set[Path]:
    """Return the path itself and every symbolic link on the way to the file that it means."""
    found, rest = {path}, list(path.parts[1:])
    here = Path("/")
    while rest and len(found) < MAX_LINKS:
        part = rest.pop(0)
        here = here.parent if part == ".." else here / part
        with suppress(OSError):  # not a link, or nothing is there
            target = here.readlink()
            found.add(here)
            rest = [*target.parts[target.is_absolute() :], *rest]
            here = Path("/") if target.is_absolute() else here.parent
    return found | {here}
