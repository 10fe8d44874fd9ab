"""One View from the journal, the mount table and udev. Reads only, and touches no drive."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon.board.bench.cards import Cards
from daemon.board.bench.others import benches
from daemon.board.bench.timeline import followed
from daemon.board.page import charts
from daemon.board.view import Card, Charts, Counts, Daemon, Day, Duration, Service, View
from daemon.config.loading import Config
from daemon.desk import elsewhere, quota, report
from daemon.desk.elsewhere import Bench
from daemon.drives.drive import Drive
from daemon.drives.inventory import Drives
from daemon.errors import DriveError, JournalError
from daemon.jobs import overview, reader
from daemon.jobs.job import Job, Signed
from daemon.jobs.overview import Overview
from daemon.system.clocks import Clock
from daemon.system.printable import printable, timestamp

DAYS = 14
SIGNED = 50  # jobs in the chart of durations
MAX_TIMELINE = 100
NOTHING = Overview((), 0, 0, 0, (), (), (), None)


@dataclass(frozen=True, slots=True)
class Collector:
    """Makes views. For one thread. `clock` is the wall clock; `settings` are asked each time."""

    settings: Callable[[], Config]
    clock: Clock
    drives: Drives

    def view(self, dropped_here: frozenset[tuple[str, str]] = frozenset()) -> View:
        """Return what there is to see now. A journal that cannot be read is a `problem` of it."""
        config, now = self.settings(), self.clock()
        mounted, problem = self._mounted()
        names = {name for one in mounted for name in config.recognition.device_ids(one)}
        journal, facts, bench = NOTHING, None, Bench(config.station, is_member=False)
        try:
            bench = elsewhere.bench(config)
            facts = reader.daemon_info(config.spool)
            since = quota.day_began(now) - (DAYS - 1) * quota.DAY
            found = overview.read(config.spool, since, names, SIGNED)
            journal = found or NOTHING
        except JournalError as error:
            problem = f"{error}. {error.hint}"
        cards = tuple(
            Cards(config, facts is not None, now, bench, dropped_here).make(journal.jobs, mounted)
        )
        made_today = bench.made_on(quota.day_began(now), _made_today(now, journal))
        daemon = _daemon(config, facts, made_today)
        view = _view(config, now, cards, journal, daemon, problem)
        return replace(
            view,
            station=printable(bench.station),
            benches=tuple(benches(bench.stations, now)),
            counts=replace(view.counts, made_today=made_today),
        )

    def _mounted(self) -> tuple[Sequence[Drive], str]:
        try:
            return self.drives.mounted(), ""
        except DriveError as error:
            return (), f"{error}. {error.hint}"


def _view(
    config: Config,
    now: float,
    cards: tuple[Card, ...],
    journal: Overview,
    daemon: Daemon,
    problem: str,
) -> View:
    timeline = followed(journal.jobs, now, config)
    return View(
        station=printable(config.station),
        at=timestamp(now),
        is_read_only=config.board.is_read_only,
        problem=printable(problem),
        daemon=daemon,
        counts=_counts(config, now, cards, journal, len(timeline)),
        cards=cards,
        charts=_charts(config, now, journal),
        timeline=tuple(timeline[:MAX_TIMELINE]),
        timeline_total=len(timeline),
    )


def _daemon(config: Config, facts: dict[str, Any] | None, made_today: int) -> Daemon:
    known, is_running = facts or {}, facts is not None
    away = str(known.get("service") or "")
    problems = [*_problems(config, known, is_running=is_running)]
    if few := quota.warning(made_today, config.daily_limit):
        problems.append(f"Daily limit: {few}.")
    service: Service = "unknown"
    if is_running and "service" in known:
        service = "away" if away else "reachable"
    return Daemon(
        is_running=is_running,
        service=service,
        detail=printable(away),
        last_scan=known.get("lastScan"),
        problems=tuple(problems),
    )


def _problems(config: Config, facts: dict[str, Any], *, is_running: bool) -> list[str]:
    found = [] if is_running else ["The driveprep daemon does not run: nothing is prepared."]
    if limit := facts.get("limit"):
        found.append(f"Changes are found later than usual: {printable(str(limit))}")
    if pool := facts.get("pool"):
        found.append(f"Pool: {printable(str(pool))}")
    if unpublished := facts.get("unpublished"):
        found.append(
            f"Not in the pool yet: changes of {printable(str(unpublished))}; another station may"
            " still use what was there before."
        )
    if unreadable := facts.get("unreadable"):
        found.append(f"The daemon cannot read {printable(str(unreadable))} in pending/.")
    ignored = report.ignored(config.spool / "pending")
    return [*found, *(f"{printable(one['name'])} is ignored: {one['reason']}." for one in ignored)]


def _counts(
    config: Config, now: float, cards: Sequence[Card], journal: Overview, on_their_way: int
) -> Counts:
    midnight = _midnight(now)
    status = [card.status for card in cards]
    return Counts(
        made_today=_made_today(now, journal),
        daily_limit=config.daily_limit,
        waiting=journal.waiting,
        in_progress=status.count("progress"),
        prepared=status.count("prepared"),
        attention=status.count("attention"),
        shipped_today=sum(at >= midnight for at in journal.shipped_at),
        on_their_way=on_their_way,
    )


def _made_today(now: float, journal: Overview) -> int:
    return sum(at >= quota.day_began(now) for at in journal.made_at)


def _charts(config: Config, now: float, journal: Overview) -> Charts:
    today = datetime.fromtimestamp(now, UTC).date()
    dates = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    made = [datetime.fromtimestamp(at, UTC).date() for at in journal.made_at]
    days = tuple(Day(f"{date}", made.count(date)) for date in dates)
    durations = tuple(filter(None, map(_duration, reversed(journal.signed))))
    seconds = [one.seconds for one in durations]
    return Charts(
        days=days,
        durations=durations,
        median=statistics.median(seconds) if seconds else None,
        slowest=max(seconds, default=None),
        svg=charts.draw(days, durations, config.daily_limit),
    )


def _duration(job: Job) -> Duration | None:
    state = job.state
    if not isinstance(state, Signed) or state.mounted_at is None:
        return None
    seconds = max(0.0, state.signed_at - state.mounted_at)
    return Duration(
        printable(job.device_id), state.job_id, timestamp(state.signed_at), round(seconds, 3)
    )


def _midnight(now: float) -> float:
    """Return when the local day began."""
    local = datetime.fromtimestamp(now).astimezone()
    return local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def for_reader(view: View, *, is_read_only: bool) -> View:
    """Return the view as it is for someone who may not act."""
    if not is_read_only:
        return view
    cards = tuple(replace(card, actions=()) for card in view.cards)
    timeline = tuple(replace(one, actions=()) for one in view.timeline)
    return replace(view, is_read_only=True, cards=cards, timeline=timeline)
