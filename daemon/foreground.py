"""`driveprep run`: builds the rooms, turns signals into rings, and ends with the service."""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from daemon import config, mounts
from daemon.bell import Bell, Ring
from daemon.config import Config
from daemon.drives import Drives
from daemon.following import Following
from daemon.importexport.client import Client
from daemon.intake import Intake
from daemon.journal import Journal
from daemon.mounts import MountTable
from daemon.preparation import Preparation
from daemon.service import Outfit, Service
from daemon.spool import Spool
from daemon.watch import Watch

log = logging.getLogger(__name__)

SETTLE_SECONDS = 1.0  # without events for so long, a file on a local disk is complete
SETTLE_REMOTE_SECONDS = 5.0  # the same on a network file system, whose clients see things late


def run(path: Path) -> None:
    """Be the daemon until SIGTERM or SIGINT. Raises ConfigError, JournalError, OSError."""
    settings = config.load(path, os.environ)
    with ExitStack() as stack:
        bell = Bell()
        stack.callback(bell.close)
        is_remote = mounts.is_remote(settings.spool)
        settle = settings.settle or (SETTLE_REMOTE_SECONDS if is_remote else SETTLE_SECONDS)
        spool = Spool(settings.spool, settle, time.monotonic)
        journal = Journal(settings.spool, time.time, is_new=spool.is_new())
        stack.callback(journal.close)
        mount_table = stack.enter_context(MountTable())
        bell.watch(mount_table.fileno())
        watch = _watch(bell, spool, path, polled=is_remote)
        journal.tell(folder="polled" if is_remote else "watched")
        stack.callback(watch.stop)
        drives = Drives()

        def load() -> Outfit:
            loaded = config.load(path, os.environ)
            if loaded.spool != settings.spool:
                log.warning("another spool is used only after a restart")
            return _outfit(loaded, journal, spool, drives)

        _ring_on_signals(bell)
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
        settings.devices,
        settings.require_mapping,
        settings.validate_on_drop,
        settings.workers,
        settings.eject,
        settings.hooks,
    )


def _watch(bell: Bell, spool: Spool, path: Path, *, polled: bool) -> Watch:
    def in_pending(name: str, complete: bool) -> None:
        if complete:
            spool.completed(name)
        bell.ring(Ring.SPOOL)

    def beside_config(name: str, _complete: bool) -> None:
        if name == path.name:
            bell.ring(Ring.CONFIG)

    watch = Watch(polled=polled)
    watch.add(spool.pending, in_pending)
    watch.add(path.absolute().parent, beside_config)
    watch.start()
    return watch


def _ring_on_signals(bell: Bell) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bell.ring(Ring.STOP))
    signal.signal(signal.SIGHUP, lambda *_: bell.ring(Ring.CONFIG))
