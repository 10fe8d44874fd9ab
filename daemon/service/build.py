"""Wires the daemon's parts together, for `driveprep run` and for the tests alike."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from daemon.config.loading import Config
from daemon.drives.eject import eject
from daemon.drives.inventory import Drives
from daemon.errors import PoolError
from daemon.importexport.client import Client
from daemon.jobs.job import Job, Obstacle
from daemon.jobs.journal import Journal
from daemon.pool.values import Pool
from daemon.preparation import papers
from daemon.preparation.arrivals import Arrivals
from daemon.preparation.intake import Intake
from daemon.preparation.polling import StatusPoller
from daemon.preparation.signing import Signer
from daemon.preparation.steps import Preparation
from daemon.preparation.under_way import UnderWay
from daemon.preparation.witnesses import Witnesses
from daemon.service.answering import Answering
from daemon.service.bell import Bell, Ring
from daemon.service.loop import Loop
from daemon.service.pending_folder import PendingFolder
from daemon.service.pooling import shared
from daemon.service.reload import Reloadable
from daemon.service.reporting.hooks import HookQueue
from daemon.service.reporting.outcomes import Outcomes
from daemon.service.reporting.presence import Presence
from daemon.service.reporting.printing import Papers, Printing
from daemon.service.retry import Retry
from daemon.service.scheduler import Scheduler
from daemon.service.survey import Survey
from daemon.service.workers import Thread, Workers
from daemon.spool.spool import Spool
from daemon.system import logs, programs
from daemon.system.clocks import Clocks

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.foreground")


def _client(settings: Config, clocks: Clocks) -> Client:
    return Client(
        settings.endpoint,
        settings.credentials,
        settings.timeout,
        ca_bundle=settings.ca_bundle,
        clock=clocks.wall,
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon meets outside itself. A test passes its own."""

    clocks: Clocks = field(default_factory=Clocks)
    drives: Drives = field(default_factory=Drives)
    client: Callable[[Config, Clocks], Client] = _client
    thread: Callable[..., Thread] = threading.Thread
    jitter: Callable[[float, float], float] = random.uniform
    path: str = os.defpath  # the PATH by which hooks and udisksctl are found


def build(
    settings: Config,
    load: Callable[[], Config],
    bell: Bell,
    spool: Spool,
    journal: Journal,
    outside: Outside,
    on_timer: Callable[[], None] = lambda: None,
) -> Loop:
    """Return the main loop, ready to run.

    `load` reads the configuration again. `on_timer` is called on each timer: it may ring the bell.
    """
    clocks = outside.clocks
    under_way = UnderWay(clocks.steady)
    workers = Workers(lambda: bell.ring(Ring.WORK), clocks.steady, outside.thread)

    def report(error: PoolError | None, unpublished: list[str]) -> None:
        scheduler.parts.outcomes.pool(error, unpublished)

    pool, pooling = shared(settings, journal, spool, workers, bell, clocks.steady, report)
    reloadable = _exchanged(journal, spool, outside, under_way, pool)
    survey = Survey(outside.drives)
    scheduler = Scheduler(journal, survey, workers, reloadable(settings), clocks.steady)
    pending = _pending(bell, spool, journal, under_way, clocks, scheduler)
    printing = _printing(journal, workers, clocks, scheduler)
    return Loop(
        bell,
        journal,
        spool,
        pending,
        survey,
        scheduler,
        workers,
        Answering(spool, journal, workers, pool, clocks.wall),
        printing,
        pooling,
        partial(_reload, settings, load, reloadable),
        on_timer,
        clocks,
    )


def _exchanged(
    journal: Journal, spool: Spool, outside: Outside, under_way: UnderWay, pool: Pool
) -> Callable[[Config], Reloadable]:
    """Return what makes the parts that are exchanged when the configuration changes."""
    witnesses = Witnesses(journal, spool, under_way, outside.clocks.wall, pool)
    preparation = partial(_preparation, journal, spool, outside, under_way, witnesses, pool)
    outcomes = partial(_outcomes, journal, HookQueue(outside.path), outside, Presence(), Presence())

    def make(settings: Config) -> Reloadable:
        named = replace(settings, station=pool.name or settings.station)
        logs.name_station(named.station)
        return _reloadable(preparation, outcomes, spool, outside, named)

    return make


def _printing(journal: Journal, workers: Workers, clocks: Clocks, scheduler: Scheduler) -> Printing:
    def unprinted(job: Job, obstacle: Obstacle) -> None:
        scheduler.parts.outcomes.unprinted(job, obstacle)

    return Printing(journal, workers, clocks, unprinted)


def _reload(
    settings: Config, load: Callable[[], Config], reloadable: Callable[[Config], Reloadable]
) -> Reloadable:
    loaded = load()
    for what in ("spool", "pool"):
        if getattr(loaded, what) != getattr(settings, what):
            log.warning("another %s is used only after a restart", what)
    return reloadable(loaded)


def _reloadable(
    preparation: Callable[[Config], Preparation],
    outcomes: Callable[[Config], Outcomes],
    spool: Spool,
    outside: Outside,
    settings: Config,
) -> Reloadable:
    return Reloadable(
        preparation(settings),
        outcomes(settings),
        settings.recognition,
        settings.validate_on_drop,
        settings.requests,
        Papers(spool, settings.station, settings.print, programs.environment(outside.path)),
    )


def _pending(
    bell: Bell,
    spool: Spool,
    journal: Journal,
    under_way: UnderWay,
    clocks: Clocks,
    scheduler: Scheduler,
) -> PendingFolder:
    def report(job: Job) -> None:
        scheduler.parts.outcomes.taken_in(job)

    arrivals = Arrivals(spool, journal.worklist, clocks.wall, clocks.steady)
    intake = Intake(
        arrivals,
        spool,
        journal,
        under_way,
        clocks.wall,
        texts=lambda: scheduler.parts.preparation.texts,
        report=report,
    )
    return PendingFolder(spool, intake, bell, clocks.steady)


def _preparation(
    journal: Journal,
    spool: Spool,
    outside: Outside,
    under_way: UnderWay,
    witnesses: Witnesses,
    pool: Pool,
    settings: Config,
) -> Preparation:
    clock = outside.clocks.wall
    under_way.drive_limit = settings.workers
    journal.publish(accessKeyId=settings.credentials.access_key_id)
    client = outside.client(settings, outside.clocks)
    poller = StatusPoller(journal, client, clock, partial(papers.filed, spool))
    signer = Signer(journal, outside.drives, under_way, settings.require_empty, pool)
    return Preparation(
        journal,
        spool,
        client,
        poller,
        signer,
        under_way,
        witnesses,
        clock,
        settings.station,
        settings.recognition.bays,
        tuple(settings.print),
        pool,
    )


def _outcomes(
    journal: Journal,
    hooks: HookQueue,
    outside: Outside,
    service: Presence,
    pool: Presence,
    settings: Config,
) -> Outcomes:
    environment = programs.environment(outside.path)
    ejecting = partial(eject, inventory=outside.drives, environment=environment)

    def hook(event: str, job: Job) -> None:
        if command := settings.hooks.get(event):
            hooks.run(command, event, job, papers.place(settings.spool, job), settings.station)

    def on_change(event: str, state: str, reason: str) -> None:
        if command := settings.hooks.get(event):
            hooks.run_for(command, event, state, reason, settings.station)

    retry = Retry(outside.jitter)
    ejects = ejecting if settings.eject else None
    wall, within = outside.clocks.wall, settings.ship_within
    return Outcomes(journal, wall, retry, hook, ejects, within, service, on_change, pool)
