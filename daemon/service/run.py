"""`driveprep run`: waits for a configuration, then runs the main loop until it is stopped."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from daemon.drives import mounts
from daemon.drives.mounts import MountTable
from daemon.jobs.journal import Journal
from daemon.service.bell import Bell, Ring
from daemon.service.build import Outside, build
from daemon.service.reload import Sources, first_config, reload
from daemon.spool.spool import Spool
from daemon.system.uevents import BlockEvents
from daemon.system.watch import Watch

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.foreground")

SETTLE_SECONDS = 1.0  # without events for so long, a file on a local disk is complete
SETTLE_REMOTE_SECONDS = 5.0  # the same on a network file system, whose clients see changes late
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4  # linux/prctl.h
M_ARENA_MAX = -8  # malloc.h


def run(path: Path) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises ConfigError, JournalError, OSError.

    Under systemd, a configuration that cannot be used is waited for.
    """
    _drop_ambient_capabilities()
    _use_one_heap()
    with ExitStack() as stack:
        outside = Outside(path=os.environ.get("PATH", os.defpath))
        bell = Bell()
        stack.callback(bell.close)
        _ring_on_signals(bell)
        sources = Sources(path, bell)
        stack.callback(sources.stop)
        settings = first_config(path, bell, sources)
        if settings is None:
            return
        is_remote = mounts.is_remote(settings.spool / "pending")
        settle = settings.settle or (SETTLE_REMOTE_SECONDS if is_remote else SETTLE_SECONDS)
        spool = Spool(settings.spool, settle, outside.clocks.steady)
        journal = Journal(settings.spool, outside.clocks.wall, is_new=spool.is_new())
        stack.callback(journal.close)
        mount_table = stack.enter_context(MountTable())
        bell.watch(mount_table.fileno())
        events = stack.enter_context(BlockEvents())
        if (descriptor := events.fileno()) is not None:
            bell.listen(descriptor, events.take)
        watch = _watch(bell, spool, polled=is_remote)
        stack.callback(watch.stop)
        journal.publish(folder="polled" if watch.is_polled else "watched", limit=watch.limit)
        load = partial(reload, sources, outside.clocks.steady)
        loop = build(settings, load, bell, spool, journal, outside, sources.check)
        log.info("driveprep watches %s for %s", spool.pending, settings.endpoint)
        loop.run()


def _watch(bell: Bell, spool: Spool, *, polled: bool) -> Watch:
    def in_pending(name: str, complete: bool) -> None:
        spool.noticed(name, complete=complete)
        bell.ring(Ring.SPOOL)

    watch = Watch(polled=polled)
    watch.add(spool.pending, in_pending)
    watch.start()
    return watch


def _drop_ambient_capabilities() -> None:
    """Hooks and helpers get none of ours: execve(2) hands on what is ambient, nothing else."""
    ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _use_one_heap() -> None:
    """One heap for all threads, see mallopt(3): one each would keep what a thousand jobs freed."""
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _ring_on_signals(bell: Bell) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bell.ring(Ring.STOP))
    signal.signal(signal.SIGHUP, lambda *_: bell.ring(Ring.CONFIG))
