"""The other stations of the pool: what they have, and where a person has to act on it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from daemon import spool
from daemon.config.loading import Config
from daemon.errors import DriveprepError
from daemon.jobs import reader
from daemon.jobs.job import Ceded, Job
from daemon.system.printable import printable, timestamp

SILENT_SECONDS = 3600.0  # a station that was not seen for so long may be gone
ANSWER_SECONDS = 40.0  # for the daemon, which may notice a question by its timer only (30 s)


@dataclass(frozen=True, slots=True)
class Bench:
    """This station, and what it knows of the others."""

    station: str  # its name: in the pool, or else in config.yml
    is_member: bool  # of a pool
    stations: list[dict[str, Any]] = field(default_factory=list)  # see daemon/pool/benches.py
    day: str = ""  # of the service when that was read, such as 2026-11-27
    made: int = 0  # jobs of that day, by all stations

    def made_on(self, day_began: float, here: int) -> int:
        """Return how many jobs were made that day, of which `here` were made by this station."""
        return max(here, self.made if self.day == timestamp(day_began)[:10] else 0)

    def of_drive(self, device_ids: Collection[str]) -> str:
        """Return which other station has a job or a manifest for a drive here; "" if none has."""
        for one in self.stations:
            for job in one["jobs"]:
                if job["deviceId"] in device_ids:
                    return _said(one["station"], job["jobId"], job["deviceId"])
        return ""


ALONE = Bench("", is_member=False)  # nothing is known of other stations


def bench(config: Config) -> Bench:
    """Return what the journal has about the pool, read last by the daemon. Raises JournalError."""
    found = reader.membership(config.spool) if config.pool.address else None
    if found is None:
        return Bench(config.station, is_member=False)
    name = str(json.loads(found[0])["name"])
    seen = json.loads(found[1]) if found[1] else {"stations": [], "day": "", "made": 0}
    return Bench(name, is_member=True, **seen)


def may_be(job: Job | None, word: str) -> bool:
    """Return whether what a person means by `word` may be at another station.

    `job` is what is here: nothing, a job that was left to the other, or an old one of the drive.
    """
    return job is None or isinstance(job.state, Ceded) or (job.is_closed and job.job_id != word)


def refuse(config: Config, word: str, *, is_known: bool = False) -> None:
    """Raise DriveprepError if another station has this job, drive or manifest.

    It is the daemon that asks the pool. Where that is not possible, DriveprepError is raised, too,
    unless something here `is_known` to be meant. Does nothing without a pool.
    """
    if not config.pool.address:
        return
    try:
        found = _ask(config, word)
    except DriveprepError as error:
        if is_known:
            return
        raise DriveprepError(
            f"there is no job {printable(word)} here, and the pool was not asked: {error}",
            error.hint or "`driveprep pool status` shows the pool.",
        ) from error
    if found:
        raise DriveprepError(
            _said(found["station"], found["job_id"], found["device_id"]),
            "Do this at that station.",
            code="elsewhere",
        )


def _said(station: str, job_id: str | None, device_id: str) -> str:
    what = f"job {job_id} for" if job_id else "what waits for"
    return f"station {printable(station)} has {what} {printable(device_id)}"


def _ask(config: Config, word: str) -> dict[str, str] | None:
    if reader.daemon_info(config.spool) is None:
        raise DriveprepError("the driveprep daemon does not run", "systemctl start driveprep")
    question = json.dumps({"elsewhere": word}).encode()
    answer = json.loads(spool.ask(config.spool, question, ANSWER_SECONDS))
    if "elsewhere" not in answer:
        raise DriveprepError(answer.get("problem", "its version is another one"), answer["hint"])
    found: dict[str, str] | None = answer["elsewhere"]
    return found
