"""The papers of a prepared job: what the page offers, and where each is on its way to a printer."""

from __future__ import annotations

from collections.abc import Mapping

from daemon.board.view import Action, Printing
from daemon.config.printing import PrintCommand
from daemon.jobs.job import Job, Paper
from daemon.system.printable import printable, timestamp


def offered(commands: Mapping[str, PrintCommand]) -> tuple[Action, ...]:
    """Return what can be done with the papers, where these are configured to be printed."""
    return ("slip", "sticker", "print") if commands else ("slip", "sticker")


def printing(job: Job) -> tuple[Printing, ...]:
    """Return the papers of a job that are or were to be printed."""
    return tuple(map(_printing, job.papers))


def _printing(paper: Paper) -> Printing:
    if paper.printed_at is not None:
        return Printing(paper.kind, "printed", timestamp(paper.printed_at), "")
    if paper.obstacle is None:
        return Printing(paper.kind, "waits", None, "")
    why = printable(f"{paper.obstacle.reason}. {paper.obstacle.hint}")
    return Printing(paper.kind, "failed", None, why)
