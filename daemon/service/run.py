"""`driveprep run`: waits for a configuration, builds the rooms, and ends with the service.

Signals and changes of the configuration's files become rings.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from daemon.config import loading
from daemon.config.loading import Config
from daemon.drives import mounts
from daemon.drives.inventory import Drives
from daemon.drives.mounts import MountTable
from daemon.errors import ConfigError
from daemon.importexport.client import Client
from daemon.jobs.journal import Journal
from daemon.preparation.intake import Intake
from daemon.preparation.polling import Following
from daemon.preparation.steps import Preparation
from daemon.service.bell import Bell, Ring
from daemon.service.loop import Outfit, Service
from daemon.service.outcomes import Aftermath
from daemon.spool.spool import Spool
from daemon.system import systemd
from daemon.system.printable import printable
from daemon.system.watch import Watch

log = logging.getLogger("daemon.foreground")

SETTLE_SECONDS = 1.0  # without events for so long, a file on a local disk is complete
SETTLE_REMOTE_SECONDS = 5.0  # the same on a network file system, whose clients see things late
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4  # linux/prctl.h
M_ARENA_MAX = -8  # malloc.h
LOOK_SECONDS = 5.0  # how long a usable configuration may go unseen where nothing can be watched


def run(path: Path) -> None:
    """Be the daemon until SIGTERM or SIGINT. Raises ConfigError, JournalError, OSError.

    Under systemd a configuration that cannot be used is waited for.
    """
    _keep_capabilities()
    _stay_small()
    with ExitStack() as stack:
        bell = Bell()
        stack.callback(bell.close)
        _ring_on_signals(bell)
        sources = Sources(path, bell)
        stack.callback(sources.stop)
        settings = first_config(path, bell, sources)
        if settings is None:
            return
        is_remote = mounts.is_remote(settings.spool)
        settle = settings.settle or (SETTLE_REMOTE_SECONDS if is_remote else SETTLE_SECONDS)
        spool = Spool(settings.spool, settle, time.monotonic)
        journal = Journal(settings.spool, time.time, is_new=spool.is_new())
        stack.callback(journal.close)
        mount_table = stack.enter_context(MountTable())
        bell.watch(mount_table.fileno())
        watch = _watch(bell, spool, polled=is_remote)
        journal.tell(folder="polled" if is_remote else "watched")
        stack.callback(watch.stop)
        drives = Drives()

        def load() -> Outfit:
            loaded = reload(path, sources)
            if loaded.spool != settings.spool:
                log.warning("another spool is used only after a restart")
            return _outfit(loaded, journal, spool, drives)

        service = Service(
            bell,
            journal,
            spool,
            Intake(spool, journal, time.time),
            drives,
            _outfit(settings, journal, spool, drives),
            load,
        )
        log.info("driveprep watches %s for %s", spool.pending, settings.endpoint)
        service.run()


class Sources:
    """The configuration's files; while they are followed, a change of any rings CONFIG."""

    def __init__(self, path: Path, bell: Bell) -> None:
        self._path = path
        self._bell = bell
        self._files: frozenset[Path] = frozenset()
        self._folders: dict[Path, int] = {}  # with their inodes: a new folder is watched anew
        self._watch: Watch | None = None

    def follow(self) -> None:
        """See which files they are by now. What is read after this cannot change unheard."""
        self._files = loading.files(self._path, os.environ)
        folders = _inodes({file.parent for file in self._files})
        if folders != self._folders:
            self.stop()
            self._watch, self._folders = Watch(), folders
            for folder in folders:
                self._watch.add(folder, self._ring_for(folder))
            self._watch.start()

    def stop(self) -> None:
        """Hear no more. Safe to repeat."""
        if self._watch:
            self._watch.stop()
        self._watch, self._folders = None, {}

    def _ring_for(self, folder: Path) -> Callable[[str, bool], None]:
        def changed(name: str, _complete: bool) -> None:
            if folder / name in self._files:
                self._bell.ring(Ring.CONFIG)

        return changed


def first_config(path: Path, bell: Bell, sources: Sources) -> Config | None:
    """The first configuration that can be used; None where STOP was rung before there was one.

    Without systemd to tell what is waited for, ConfigError is raised instead.
    """
    told: tuple[str, ...] = ()
    pause = min(LOOK_SECONDS, systemd.watchdog_seconds() or LOOK_SECONDS)
    while True:
        sources.follow()
        try:
            return loading.load(path, os.environ)
        except ConfigError as error:
            if not systemd.is_listening():
                raise
            faults = _sentences(error)
        if faults != told:
            for fault in faults:
                log.warning("waiting for a configuration: %s", fault)
            systemd.notify("READY=1", f"STATUS=waiting for {path}: {printable(faults[0])}")
            told = faults
        if Ring.STOP in bell.wait(pause):
            systemd.notify("STOPPING=1")
            return None
        systemd.notify("WATCHDOG=1")


def reload(path: Path, sources: Sources) -> Config:
    """The configuration as it is now, with word to systemd. Raises ConfigError."""
    # sd_notify(3): the time tells systemd which of two reloads an answer belongs to.
    systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    status = "configuration read"
    try:
        sources.follow()
        return loading.load(path, os.environ)
    except ConfigError as error:
        status = f"configuration unchanged: {printable(_sentences(error)[0])}"
        raise
    finally:
        systemd.notify("READY=1", f"STATUS={status}")


def _sentences(error: ConfigError) -> tuple[str, ...]:
    return tuple(str(fault) for fault in error.faults) or (str(error),)


def _inodes(folders: set[Path]) -> dict[Path, int]:
    """The folders that are there."""
    found = {}
    for folder in folders:
        with suppress(OSError, ValueError):  # ValueError: a name that no file can have
            found[folder] = folder.stat().st_ino
    return found


def _outfit(settings: Config, journal: Journal, spool: Spool, drives: Drives) -> Outfit:
    client = Client(settings.endpoint, settings.credentials, settings.timeout)
    return Outfit(
        Preparation(
            journal=journal,
            spool=spool,
            drives=drives,
            client=client,
            following=Following(journal, client, time.time),
            endpoint=settings.endpoint,
            access_key_id=settings.credentials.access_key_id,
            timeout=settings.timeout,
            clock=time.time,
        ),
        Aftermath(journal, time.time, settings.hooks, settings.eject),
        settings.devices,
        settings.require_mapping,
        settings.validate_on_drop,
        settings.workers,
    )


def _watch(bell: Bell, spool: Spool, *, polled: bool) -> Watch:
    def in_pending(name: str, complete: bool) -> None:
        if complete:
            spool.completed(name)
        bell.ring(Ring.SPOOL)

    watch = Watch(polled=polled)
    watch.add(spool.pending, in_pending)
    watch.start()
    return watch


def _keep_capabilities() -> None:
    """Hooks and helpers get none of ours: execve(2) hands on what is ambient, nothing else."""
    ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _stay_small() -> None:
    """One heap for all threads, see mallopt(3): one each would keep what a thousand jobs freed."""
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _ring_on_signals(bell: Bell) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bell.ring(Ring.STOP))
    signal.signal(signal.SIGHUP, lambda *_: bell.ring(Ring.CONFIG))
