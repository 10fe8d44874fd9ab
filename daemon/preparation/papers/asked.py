"""Papers for people who may not read a job's folder, because its manifest may have passwords."""

from __future__ import annotations

import json
from collections.abc import Callable

from daemon.errors import PaperError, SpoolError
from daemon.jobs.job import Job
from daemon.jobs.journal import Journal
from daemon.preparation.papers.contents import SLIP, folder
from daemon.spool.spool import Spool
from daemon.system.untrusted import json_value

NAMES = {"slip": "packing slip", "sticker": "sticker"}


def perform(
    spool: Spool, journal: Journal, question: bytes, sticker: Callable[[Job], bytes]
) -> bytes | None:
    """Answer a question for a packing slip, as filed, or a `sticker`; None if it is none."""
    match json_value(question):
        case {"paper": "slip" | "sticker" as kind, "job": str(word)}:
            pass
        case _:
            return None
    try:
        text = _text(spool, journal.job_of(word), kind, sticker)
    except PaperError as error:
        return json.dumps({"problem": str(error), "hint": error.hint}).encode()
    if text is None:
        problem = f"there is no {NAMES[kind]} of {word}"
        return json.dumps({"problem": problem, "hint": "`driveprep show` shows why."}).encode()
    return json.dumps({kind: text.decode("utf-8", "replace")}).encode()


def _text(
    spool: Spool, job: Job | None, kind: str, sticker: Callable[[Job], bytes]
) -> bytes | None:
    if job is None or not job.job_id:
        return None
    if kind == "sticker":
        return sticker(job)
    try:
        return spool.paper(folder(job.job_id, job.device_id), SLIP)
    except SpoolError:
        return None
