"""What the page shows, as values: the contract between the server and the page.

`/api/view` and each `view` event of `/events` send a View as JSON (`as_json`). Names are those of
the fields here, in the JSON's spelling (deviceId, jobId, ...). Moments are ISO 8601 in UTC, lengths
of time are seconds, and None means "not known" or "there is none". Texts that come from drives,
manifests or the service have their invisible and reordering characters escaped, and are no markup:
the page must insert them as text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

VERSION = 1  # of the JSON; it changes when a field goes or changes its meaning

# What a card says by colour, symbol and word.
#   prepared   SIGNATURE is on the drive: safe to remove
#   progress   the daemon works on it: do not unplug
#   waiting    nothing to be done by a person: it continues by itself
#   attention  a person must act; `next` says how
#   free       a bay without a drive
Status = Literal["prepared", "progress", "waiting", "attention", "free"]
# What the page offers for a job; see docs/board.md for the requests.
Action = Literal[
    "retry",
    "as-it-is",
    "same-drive",
    "dismiss",
    "ship",
    "undo-shipment",
    "slip",
    "sticker",
    "print",
    "withdraw",
]
Service = Literal["unknown", "reachable", "away"]
# In this order; a job has passed all stages before its own.
Stage = Literal["made", "shipped", "received", "loading", "returned"]


@dataclass(frozen=True, slots=True)
class Printing:
    """Where a paper of a prepared job is on its way to a printer."""

    paper: str  # slip or sticker
    state: Literal["waits", "printed", "failed"]
    printed_at: str | None
    why: str  # it is not printed, and what to do; "" unless it failed


@dataclass(frozen=True, slots=True)
class Card:
    """One bay or drive; or a job that needs a person and has no drive here."""

    key: str  # identifies the card as long as bay and drive stay; unique
    bay: str | None
    status: Status
    word: str  # such as "Safe to remove", "In progress", "No manifest"; short
    title: str  # in large letters: deviceId, or the drive's label or serial, or "free"
    device_id: str | None
    job_id: str | None
    manifest: str | None  # name of its file
    next: str  # what to do next, in one or two sentences; "" if nothing
    since: str | None  # when the job's state began
    code: str | None  # of the obstacle, stable
    retry_at: str | None
    expires_at: str | None  # the drive must have arrived before
    is_urgent: bool  # late, or not shipped in time
    drive: dict[str, str | int]  # label, serial, model, deviceNode, mountPoint, size: known ones
    papers: tuple[Printing, ...]  # those that are or were to be printed
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers in the headline. Shipments are those of the local day of the board's machine."""

    made_today: int  # jobs of the service's day, which is UTC's
    daily_limit: int  # jobs that the service makes for the account on a day, as configured
    waiting: int  # manifests that wait, for a drive or anything else; most have no card
    in_progress: int
    prepared: int  # drives here that are safe to remove
    attention: int
    shipped_today: int
    on_their_way: int  # jobs that the service has not finished, whose drives were signed


@dataclass(frozen=True, slots=True)
class Day:
    """Jobs made on one day of the service."""

    date: str  # such as 2026-11-12, UTC
    jobs: int


@dataclass(frozen=True, slots=True)
class Duration:
    """From plug-in to SIGNATURE of one job."""

    device_id: str
    job_id: str
    signed_at: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Charts:
    """What the charts show; `svg` has them drawn: jobs_per_day and to_signature."""

    days: tuple[Day, ...]  # 14, oldest first, today last; days without jobs too
    durations: tuple[Duration, ...]  # up to 50, oldest first; only where the mount was recorded
    median: float | None  # of the durations
    slowest: float | None
    svg: dict[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage that a job has reached; `at` is None where no one recorded when."""

    stage: Stage
    at: str | None


@dataclass(frozen=True, slots=True)
class Followed:
    """One job that the service has, in the timeline."""

    device_id: str
    job_id: str
    stage: Stage  # the last one of `steps`
    steps: tuple[Step, ...]
    progress: str | None  # the service's own words
    location: str | None
    days_left: int | None  # until the drive must have arrived; None once it has
    is_late: bool  # few days left, and it has not arrived
    is_unshipped: bool  # signed a while ago, and no one has said that it left
    carrier: str | None
    tracking: str | None
    papers: tuple[Printing, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon, and the service as the daemon found it."""

    is_running: bool
    service: Service
    detail: str  # what the daemon says about the service if it is away; else ""
    last_scan: str | None
    problems: tuple[str, ...]  # one sentence each: what is wrong beside the jobs


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A job or a manifest at another station: what is done about it is done there."""

    key: str
    bay: str | None
    status: Status
    word: str
    device_id: str
    job_id: str | None


@dataclass(frozen=True, slots=True)
class OtherBench:
    """Another station of the pool, as the daemon saw it last."""

    station: str
    seen_at: str
    is_silent: bool  # it has not been seen for an hour
    waiting: int  # manifests
    attention: int  # jobs that are in doubt
    prepared: int  # jobs that are signed, and not finished by the service
    jobs: tuple[Elsewhere, ...]  # with a drive there, or a step to take


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page. `problem` is set where the journal cannot be read."""

    station: str
    at: str  # when it was read
    is_read_only: bool  # the configuration, or the link of this reader, allows no action
    problem: str
    daemon: Daemon
    counts: Counts
    cards: tuple[Card, ...]  # bays in the order of the configuration, other drives, then jobs
    charts: Charts
    timeline: tuple[Followed, ...]  # the most urgent first
    timeline_total: int  # of which `timeline` shows the first 100
    benches: tuple[OtherBench, ...] = ()  # the other stations, by name
    version: int = VERSION


def as_json(view: View) -> bytes:
    """Return the JSON that the page gets."""
    return json.dumps(plain(view), ensure_ascii=False, separators=(",", ":")).encode()


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return a dataclass as JSON's types, with its fields in JSON's spelling."""
    if is_dataclass(value):
        return {_spelled(one.name): plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value


def _spelled(name: str) -> str:
    """Return a field's name as JSON spells it: job_id is jobId, is_running is running."""
    first, *more = name.removeprefix("is_").split("_")
    return first + "".join(word.capitalize() for word in more)
