"""What people ask the daemon to record in the journal. An order and its answer are JSON texts."""

from __future__ import annotations

import json
import logging
from typing import Any

from daemon.errors import DriveprepError
from daemon.jobs.job import Ceded, Job, Shipment, Signed, about
from daemon.jobs.journal import Journal
from daemon.system.printable import printable
from daemon.system.untrusted import json_value

Answer = dict[str, Any]

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.orders")

PAPERS = ("slip", "sticker")  # kinds that can be printed
MAX_TEXT = 100  # characters of a carrier or a tracking number


def perform(journal: Journal, request: bytes) -> bytes | None:
    """Carry out an order and return the answer; None if the request is no order.

    Safe to repeat. Raises JournalError, and then nothing is recorded.
    """
    try:
        answer = _perform(journal, json_value(request))
    except _RefusedError as error:
        answer = {"problem": str(error), "hint": error.hint, "unknown": error.unknown}
    return None if answer is None else json.dumps(answer).encode()


class _RefusedError(DriveprepError):
    """It cannot be done; nothing is recorded. `unknown` is what there is no job of."""

    def __init__(self, message: str, hint: str, unknown: str = "") -> None:
        super().__init__(message, hint)
        self.unknown = unknown


def _perform(journal: Journal, order: object) -> Answer | None:
    answer: Answer | None
    match order:
        case {"order": "print", "words": list(words), "papers": list(kinds), "at": float(at)}:
            answer = _print(journal, words, kinds, at)
        case {"order": "dismiss", "words": list(words)}:
            answer = {"dismissed": {str(word): journal.dismiss(str(word)) for word in words}}
        case {"order": "dismiss all"}:
            answer = {"dismissed": {"": journal.dismiss_all()}}
        case {"order": "ship", "words": list(words), "at": float(at), **more}:
            carrier, tracking = str(more.get("carrier", "")), str(more.get("tracking", ""))
            shipment = Shipment(at, _checked(carrier), _checked(tracking))
            answer = _ship(journal, words, shipment)
        case {"order": "not shipped", "words": list(words)}:
            answer = _ship(journal, words, None)
        case {"order": "as it is", "deviceId": str(device_id)}:
            answer = _allow(journal, device_id)
        case _:
            answer = None
    return answer


def _allow(journal: Journal, device_id: str) -> Answer:
    jobs = journal.allow_as_it_is(device_id)
    for job in jobs:
        log.info("its drive may be used as it is", extra=about(job))
    if not jobs:
        log.warning("no job waits for the drive %s; none is used as it is", printable(device_id))
    return {"jobs": [job.name for job in jobs]}


def _print(journal: Journal, words: list[object], kinds: list[object], at: float) -> Answer:
    """Record that these papers of these jobs are to be printed; all or none."""
    jobs = [_prepared(journal, str(word)) for word in words]
    journal.ask_for_papers(jobs, [kind for kind in PAPERS if kind in kinds], at)
    return {"jobs": [{"jobId": job.job_id, "deviceId": job.device_id} for job in jobs]}


def _ship(journal: Journal, words: list[object], shipment: Shipment | None) -> Answer:
    """Record that the drives of these jobs have left, or have not; all or none."""
    jobs = [_prepared(journal, str(word)) for word in words]
    journal.record_shipments([(job, _merged(job.shipment, shipment)) for job in jobs])
    done = "not shipped" if shipment is None else "shipped"
    for job in jobs:
        log.info("drive %s", done, extra=about(job))
    return {"jobs": [{"jobId": job.job_id, "deviceId": job.device_id} for job in jobs]}


def _prepared(journal: Journal, word: str) -> Job:
    job = journal.job_of(word)
    if job is None or isinstance(job.state, Ceded):
        hint = "Nothing was recorded. `driveprep jobs` lists all jobs."
        raise _RefusedError(f"there is no job {word}", hint, unknown=word)
    if not isinstance(job.state, Signed) or not job.filed:
        hint = f"Nothing was recorded. `driveprep show {word}` shows what it waits for."
        raise _RefusedError(f"the drive of {word} is not prepared yet", hint)
    return job


def _merged(before: Shipment | None, after: Shipment | None) -> Shipment | None:
    """Return what is known now; said twice, a drive has left when it was said first."""
    if before is None or after is None:
        return after
    carrier, tracking = after.carrier or before.carrier, after.tracking or before.tracking
    return Shipment(before.at, carrier, tracking)


def _checked(text: str) -> str:
    if len(text) > MAX_TEXT or not text.isprintable():
        raise _RefusedError(
            "carrier and tracking number have one line each",
            f"Nothing was recorded. Write at most {MAX_TEXT} characters.",
        )
    return text
