"""What Prometheus gets from /metrics. docs/board.md describes each metric."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from daemon.board.view import View
from daemon.jobs import overview
from daemon.jobs.overview import Figures
from daemon.system.clocks import Clock

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds


@dataclass(frozen=True, slots=True)
class Metrics:
    """Makes the text of /metrics from the journal and the newest view."""

    figures: Callable[[], Figures]  # raises JournalError
    clock: Clock

    def text(self, view: View) -> bytes:
        """Return all metrics in Prometheus' text format. Raises JournalError."""
        registry = CollectorRegistry()
        registry.register(_Collected([*self._of_journal(), *_of_view(view)]))
        return generate_latest(registry)

    def _of_journal(self) -> Iterator[Metric]:
        found = self.figures()
        jobs = GaugeMetricFamily("driveprep_jobs", "Jobs in the journal.", labels=["state"])
        for state in overview.STATES:
            jobs.add_metric([state], found.states.get(state, 0))
        yield jobs
        stuck = GaugeMetricFamily(
            "driveprep_obstacles", "Unfiled jobs with an obstacle, by its code.", labels=["code"]
        )
        for code, count in sorted(found.obstacles.items()):
            stuck.add_metric([code], count)
        yield stuck
        oldest = found.oldest_waiting
        yield GaugeMetricFamily(
            "driveprep_oldest_waiting_seconds",
            "Age of the oldest manifest that waits; 0 if none does.",
            value=max(0.0, self.clock() - oldest) if oldest is not None else 0.0,
        )
        yield _histogram(found.seconds)


class _Collected:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _histogram(seconds: Iterable[float]) -> Metric:
    counts, total = [0] * (len(BUCKETS) + 1), 0.0
    for one in seconds:
        counts[bisect_left(BUCKETS, one)] += 1
        total += one
    bounds = [*map(str, BUCKETS), "+Inf"]
    reached = [sum(counts[: number + 1]) for number in range(len(bounds))]
    return HistogramMetricFamily(
        "driveprep_mount_to_signature_seconds",
        "From the first sight of a mounted drive to its SIGNATURE, of jobs where both are known.",
        buckets=list(zip(bounds, reached, strict=True)),
        sum_value=total,
    )


def _of_view(view: View) -> Iterator[Metric]:
    daemon = view.daemon
    drives = sum(bool(card.drive) for card in view.cards)
    yield _gauge("daemon_running", "1 if the daemon runs.", float(daemon.is_running))
    if daemon.service != "unknown":
        is_reachable = float(daemon.service == "reachable")
        yield _gauge("service_reachable", "1 if the service answered last.", is_reachable)
    if daemon.last_scan:
        at = datetime.fromisoformat(daemon.last_scan).timestamp()
        yield _gauge("last_scan_timestamp_seconds", "When pending/ was last scanned.", at)
    yield InfoMetricFamily("driveprep_station", "This station.", value={"station": view.station})
    if view.benches:
        yield from _of_benches(view)
    yield _gauge("drives", "Mounted drives that concern the bench.", float(drives))
    yield _gauge("jobs_made_today", "Jobs made since 00:00 UTC.", float(view.counts.made_today))
    limit = float(view.counts.daily_limit)
    yield _gauge("jobs_daily_limit", "Jobs that the account may make a day.", limit)


def _of_benches(view: View) -> Iterator[Metric]:
    seen = GaugeMetricFamily(
        "driveprep_other_station_seen_timestamp_seconds",
        "When another station of the pool was seen last.",
        labels=["station"],
    )
    waiting = GaugeMetricFamily(
        "driveprep_other_station_waiting", "Manifests that wait there.", labels=["station"]
    )
    doubt = GaugeMetricFamily(
        "driveprep_other_station_in_doubt", "Jobs there that are in doubt.", labels=["station"]
    )
    for one in view.benches:
        seen.add_metric([one.station], datetime.fromisoformat(one.seen_at).timestamp())
        waiting.add_metric([one.station], one.waiting)
        doubt.add_metric([one.station], one.attention)
    yield from (seen, waiting, doubt)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"driveprep_{name}", text, value=value)
