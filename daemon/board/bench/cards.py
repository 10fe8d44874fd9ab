"""The large cards: one for each bay or drive, and one for each job that needs a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from daemon.board.bench.papers import offered, printing
from daemon.board.view import Action, Card
from daemon.config.loading import Config
from daemon.desk.elsewhere import Bench
from daemon.drives.drive import Drive
from daemon.drives.recognition import resemblance
from daemon.jobs.deadlines import expires_at, has_arrived, is_late, is_unshipped
from daemon.jobs.job import (
    Ceded,
    Job,
    Obstacle,
    Pending,
    Rejected,
    Signed,
    Submitted,
    Submitting,
    drive_of,
)
from daemon.system.printable import printable, timestamp

SHOWN_OF_DRIVE = ("label", "serial", "model", "deviceNode", "mountPoint", "size")
NTFS = "ntfs"
# What a person can decide about an obstacle, by its code.
DECISIONS: Mapping[str, tuple[Action, ...]] = {
    "not-empty": ("as-it-is",), "other-bridge": ("same-drive",),
}  # fmt: skip
EMPTY = Card(
    key="", bay=None, status="free", word="Free", title="free", device_id=None, job_id=None,
    manifest=None, next="", since=None, code=None, retry_at=None, expires_at=None,
    is_urgent=False, drive={}, papers=(), actions=(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cards:
    """Makes the cards of one moment. `now` is in seconds since the epoch."""

    config: Config
    is_running: bool  # the daemon
    now: float
    bench: Bench  # what the other stations have
    dropped_here: frozenset[tuple[str, str]] = field(default=frozenset())  # name, sha256

    def make(self, jobs: Sequence[Job], drives: Sequence[Drive]) -> Iterator[Card]:
        """Yield bays in the order of the configuration, other drives, then jobs without a drive."""
        by_device = _newest(jobs)
        shown: set[int] = set()
        in_bay = self._by_bay(drives)
        for bay in dict.fromkeys(self.config.bays.values()):
            inside = in_bay.get(bay, [])
            for drive in inside:
                yield self._of_drive(drive, bay, by_device, shown)
            if not inside:
                yield replace(EMPTY, key=f"bay:{bay}", bay=printable(bay))
        for drive in drives:
            if self._is_shown(drive, by_device):
                yield self._of_drive(drive, None, by_device, shown)
        for job in jobs:
            if job.number not in shown and self._needs_a_person(job):
                yield self._of_job(job, is_here=False)

    def _by_bay(self, drives: Iterable[Drive]) -> Mapping[str, list[Drive]]:
        bays = self.config.recognition.bays
        found: dict[str, list[Drive]] = {}
        for drive in drives:
            if bay := bays.of(drive):
                found.setdefault(bay, []).append(drive)
        return found

    def _is_shown(self, drive: Drive, by_device: Mapping[str, Job]) -> bool:
        """Return whether a drive outside of the bays concerns the bench: not each disk does."""
        rules = self.config.recognition
        if rules.bays.of(drive) or drive.mount.is_system:
            return False
        is_asked = not by_device.keys().isdisjoint(rules.device_ids(drive))
        return is_asked or (not self.config.bays and drive.identity.file_system == NTFS)

    def _needs_a_person(self, job: Job) -> bool:
        if job.is_off_the_list or job.is_closed:
            return False
        return isinstance(job.state, Rejected) or (
            not job.filed and job.obstacle is not None and not job.obstacle.is_absence
        )

    def _of_drive(
        self, drive: Drive, bay: str | None, by_device: Mapping[str, Job], shown: set[int]
    ) -> Card:
        names = sorted(self.config.recognition.device_ids(drive))
        jobs = [by_device[name] for name in names if name in by_device]
        # Bays have few drives, and a mount point has one.
        key = f"drive:{drive.device.node}:{drive.mount_point}"
        facts = _facts(drive)
        if jobs:
            shown.update(job.number for job in jobs)
            card = self._of_job(jobs[0], is_here=True)
            if isinstance(jobs[0].state, Signed):
                card = _unless_other_drive(card, jobs[0], drive)
        else:
            card = replace(
                EMPTY,
                status="attention",
                word="No manifest",
                title=_name(names, facts),
                next="No manifest names this drive. Drop one, or take the drive out.",
            )
            if where := self.bench.of_drive(names):
                text = f"{where[0].upper()}{where[1:]}. What is to be done is done there."
                card = replace(card, status="waiting", word="Elsewhere", next=text)
            if drive.identity.trouble:
                trouble = f"It could not be identified: {printable(drive.identity.trouble)}."
                card = replace(card, word="Not known", next=trouble)
        return replace(card, key=printable(key), bay=bay and printable(bay), drive=facts)

    def _of_job(self, job: Job, *, is_here: bool) -> Card:
        state = job.state
        card = replace(
            EMPTY,
            key=f"job:{job.number}",
            bay=_text(drive_of(job).get("bay")),
            title=printable(job.device_id or job.name),
            device_id=_text(job.device_id),
            job_id=job.job_id or None,
            manifest=printable(job.name),
            since=timestamp(job.since),
            is_urgent=is_late(job) or is_unshipped(job, self.now - self.config.ship_within),
            papers=printing(job),
        )
        match state:
            case Rejected():
                return self._rejected(card, state)
            case Signed() if job.filed:
                return self._prepared(card, job, state)
            case Ceded(station=station):
                text = f"Station {printable(station)} has this job now."
                return replace(card, status="waiting", word="Elsewhere", next=text)
        if isinstance(state, Submitted | Signed):
            card = replace(card, expires_at=timestamp(expires_at(state)))
        if not self.is_running:
            return replace(
                card, status="waiting", word="Stopped", next="The daemon does not run. Start it."
            )
        if job.obstacle and not (job.obstacle.is_absence and is_here):
            return self._blocked(card, job, job.obstacle)
        return self._moving(card, job, is_here=is_here)

    def _rejected(self, card: Card, state: Rejected) -> Card:
        reason = printable(state.reason.split("\n", 1)[0])
        return replace(
            card,
            status="attention",
            word="Rejected",
            code="rejected",
            next=f"{reason}. Correct the manifest and drop it again.",
            actions=("dismiss",),
        )

    def _prepared(self, card: Card, job: Job, state: Signed) -> Card:
        end = _day(expires_at(state))
        card = replace(
            card, status="prepared", word="Safe to remove", expires_at=timestamp(expires_at(state))
        )
        papers = offered(self.config.print)
        if job.shipment:
            at = _day(job.shipment.at)
            return replace(card, next=f"Shipped on {at}.", actions=(*papers, "undo-shipment"))
        if has_arrived(job):
            return replace(card, next="The service has received it.", actions=papers)
        urge = "Ship it now: it" if card.is_urgent else "Put its slip in the box and ship it. It"
        if is_late(job):
            card = replace(card, status="attention", word="Ship now")
        return replace(card, next=f"{urge} must arrive before {end}.", actions=(*papers, "ship"))

    def _blocked(self, card: Card, job: Job, obstacle: Obstacle) -> Card:
        """A job with an obstacle waits by itself if it is tried again, or if its drive is away."""
        continues = obstacle.retry_at is not None or obstacle.is_absence
        reason = printable(f"{obstacle.reason}. {obstacle.hint}".strip())
        return replace(
            card,
            status="waiting" if continues else "attention",
            word="Waiting" if continues else "Needs attention",
            next=reason,
            code=obstacle.code or None,
            retry_at=timestamp(obstacle.retry_at) if obstacle.retry_at else None,
            actions=self._withdrawal(job) + (_answers(obstacle) if job.device_id else ()),
        )

    def _moving(self, card: Card, job: Job, *, is_here: bool) -> Card:
        match job.state:
            case Submitting():
                step = "The service is asked to make the job. Do not unplug the drive."
            case Submitted():
                step = "SIGNATURE is written. Do not unplug the drive."
            case Signed():
                step = "The papers are filed."
            case _:
                step = "The drive is checked. Do not unplug it."
        if is_here or not isinstance(job.state, Pending | Submitted):
            return replace(card, status="progress", word="In progress", next=step)
        return replace(
            card,
            status="waiting",
            word="Waiting",
            next="Plug in its drive.",
            actions=self._withdrawal(job),
        )

    def _withdrawal(self, job: Job) -> tuple[Action, ...]:
        is_ours = isinstance(job.state, Pending) and (job.name, job.sha256) in self.dropped_here
        return ("withdraw",) if is_ours else ()


def _answers(obstacle: Obstacle) -> tuple[Action, ...]:
    return ("retry", *DECISIONS.get(obstacle.code, ()))


def _newest(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return for each deviceId its newest job that still concerns a drive here."""
    return {job.device_id: job for job in jobs if job.device_id and not _is_over(job)}


def _is_over(job: Job) -> bool:
    return job.is_closed or isinstance(job.state, Rejected)


def _unless_other_drive(card: Card, job: Job, drive: Drive) -> Card:
    """A job belongs to a drive, not to a deviceId: its twin is not prepared."""
    _, differing = resemblance.compare(drive_of(job), drive.identities())
    if not differing:
        return card
    return replace(
        card,
        status="attention",
        word="Other drive",
        next=f"Job {job.job_id} was made for another drive ({', '.join(differing)} differ)."
        " Take this one out.",
        actions=(),
    )


def _facts(drive: Drive) -> dict[str, str | int]:
    texts = {name: printable(text) for name, text in drive.identities().items()}
    known: dict[str, str | int] = {**texts, "size": drive.device.size}
    return {name: value for name in SHOWN_OF_DRIVE if (value := known.get(name))}


def _name(names: Sequence[str], facts: Mapping[str, str | int]) -> str:
    found = (facts.get("label"), *map(printable, names), facts.get("serial"))
    return str(next(filter(None, found), facts.get("deviceNode", "drive")))


def _text(value: object) -> str | None:
    return printable(str(value)) if value else None


def _day(seconds: float) -> str:
    """Return a moment's local date, such as 25 Dec."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%-d %b}"
