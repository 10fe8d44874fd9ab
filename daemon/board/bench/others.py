"""The other stations of the pool: one panel for each, with a small card for each drive there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from daemon.board.view import Elsewhere, OtherBench, Status
from daemon.desk.elsewhere import SILENT_SECONDS
from daemon.system.printable import printable, timestamp

# State of a job, and whether its drive is there -> what its card says.
WORDS: Mapping[tuple[str, bool], tuple[Status, str]] = {
    ("Pending", True): ("progress", "In progress"),
    ("Submitting", True): ("attention", "In doubt"),
    ("Submitting", False): ("attention", "In doubt"),
    ("Submitted", True): ("progress", "To be signed"),
    ("Submitted", False): ("attention", "Drive missing"),
    ("Signed", True): ("prepared", "Safe to remove"),
    ("Signed", False): ("prepared", "Drive elsewhere"),
}


def benches(stations: Iterable[Mapping[str, Any]], now: float) -> Iterator[OtherBench]:
    """Yield a panel for each station that the journal knows of."""
    for one in stations:
        station = printable(one["station"])
        yield OtherBench(
            station=station,
            seen_at=timestamp(one["seenAt"]),
            is_silent=now - one["seenAt"] > SILENT_SECONDS,
            waiting=one["waiting"],
            attention=one["open"].get("Submitting", 0),
            prepared=one["open"].get("Signed", 0),
            jobs=tuple(_jobs(station, one["jobs"])),
        )


def _jobs(station: str, jobs: Iterable[Mapping[str, Any]]) -> Iterator[Elsewhere]:
    for job in jobs:
        status, word = WORDS.get((job["state"], job["isHere"]), ("waiting", "Waiting"))
        device_id = printable(job["deviceId"])
        yield Elsewhere(
            key=f"{station}:{device_id}:{printable(job['jobId'] or job['manifest'])}",
            bay=job["bay"] and printable(job["bay"]),
            status=status,
            word=word,
            device_id=device_id,
            job_id=job["jobId"],
        )
