"""Jobs that the service has: how far each is, and which is the most urgent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daemon.board.bench.papers import offered, printing
from daemon.board.view import Action, Followed, Stage, Step
from daemon.config.loading import Config
from daemon.jobs.deadlines import expires_at, has_arrived, is_late, is_unshipped
from daemon.jobs.job import Job, Signed
from daemon.system.printable import printable, timestamp

DAY = 24 * 3600  # seconds
AWAY = frozenset({"AtAWS", "Returned"})  # where a drive is that has arrived
NOT_STARTED = frozenset({None, "", "Pending"})


def followed(jobs: Iterable[Job], now: float, config: Config) -> list[Followed]:
    """Return the open jobs whose drives were signed, the most urgent first."""
    found = [
        (_urgency(job, job.state), _followed(job, job.state, now, config))
        for job in jobs
        if isinstance(job.state, Signed) and job.filed and not job.is_closed
    ]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _urgency(job: Job, state: Signed) -> tuple[bool, bool, float]:
    """Late ones first, then those that must still arrive, soonest first."""
    return not is_late(job), has_arrived(job), expires_at(state)


def _followed(job: Job, state: Signed, now: float, config: Config) -> Followed:
    progress, shipment = job.progress, job.shipment
    steps = tuple(_steps(job, state))
    left = int((expires_at(state) - now) // DAY)
    shipping: Action = "undo-shipment" if shipment else "ship"
    may_ship = () if has_arrived(job) else (shipping,)
    return Followed(
        device_id=printable(job.device_id),
        job_id=state.job_id,
        stage=steps[-1].stage,
        steps=steps,
        progress=_first(
            progress and progress.progress_message, progress and progress.progress_code
        ),
        location=_first(
            progress and progress.location_message, progress and progress.location_code
        ),
        days_left=None if has_arrived(job) else max(0, left),
        is_late=is_late(job),
        is_unshipped=is_unshipped(job, now - config.ship_within),
        carrier=_first(shipment and shipment.carrier, progress and progress.carrier),
        tracking=_first(shipment and shipment.tracking, progress and progress.tracking_number),
        papers=printing(job),
        actions=(*offered(config.print), *may_ship),
    )


def _steps(job: Job, state: Signed) -> Iterable[Step]:
    progress = job.progress
    location = progress.location_code if progress else None
    code = progress.progress_code if progress else None
    yield Step("made", timestamp(state.submitted_at))
    if job.shipment or has_arrived(job):
        yield Step("shipped", timestamp(job.shipment.at) if job.shipment else None)
    stages: list[tuple[Stage, bool]] = [
        ("received", has_arrived(job)),
        ("loading", has_arrived(job) and code not in NOT_STARTED),
        ("returned", location == "Returned"),
    ]
    reached = _reached(progress.changes) if progress else {}
    for stage, is_reached in stages:
        if is_reached:
            yield Step(stage, timestamp(reached[stage]) if stage in reached else None)


def _reached(changes: Mapping[str, float]) -> dict[str, float]:
    """Return when each stage was first reported."""
    found: dict[str, float] = {}
    for pair, at in changes.items():
        location, _, code = pair.partition("/")
        if location in AWAY:
            found["received"] = min(at, found.get("received", at))
            if code not in NOT_STARTED:
                found["loading"] = min(at, found.get("loading", at))
        if location == "Returned":
            found["returned"] = min(at, found.get("returned", at))
    return found


def _first(*texts: object) -> str | None:
    """Return the first text that is not empty."""
    return next((printable(str(text)) for text in texts if text), None)
