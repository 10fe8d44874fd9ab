"""Prints the papers of filed jobs: one after the other, in the order in which they were asked for.

A paper that cannot be printed has an obstacle of its own and is tried again; its job is not
affected. Before and after a document leaves, that is recorded: what may be at the printer when the
daemon ends is not sent again by itself, but only by `driveprep print`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from daemon.config.printing import PrintCommand
from daemon.errors import DriveprepError, PaperError, PrinterError, SpoolError
from daemon.jobs.job import Job, Obstacle, Paper, about
from daemon.jobs.journal import Journal
from daemon.preparation.papers import printed
from daemon.service.reporting.printers import Printer
from daemon.service.workers import Workers
from daemon.spool.spool import Spool
from daemon.system.clocks import Clocks
from daemon.system.programs import Environment

log = logging.getLogger("daemon.printing")

KEY = "/printing"  # of its worker
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 10.0, 300.0  # between attempts; they double
CHECK_SECONDS = 300.0  # between two looks at printers that have nothing to print
IN_DOUBT = "print-in-doubt"
READABLE = {"": "text", "zpl": "text"}  # template for a screen, by the one for the printer


@dataclass(frozen=True, slots=True)
class Papers:
    """What is configured to be printed, and how its documents are made."""

    spool: Spool
    station: str
    commands: Mapping[str, PrintCommand] = field(default_factory=dict)  # by the kind of paper
    environment: Environment = field(default_factory=dict)

    def printer(self, kind: str) -> Printer:
        """Return the printer for a kind of paper. Raises PaperError."""
        if kind not in self.commands:
            hint = f"Name a command under `print.{kind}` in the configuration."
            raise PaperError(f"no command prints the {kind}", hint, code="print-not-configured")
        return Printer(self.commands[kind].words, self.environment)

    def document(self, job: Job, kind: str) -> bytes:
        """Return a paper of a job, as it is now. Raises PaperError, or SpoolError."""
        if kind == "slip":
            return printed.slip(self.spool, job, self.station)
        return printed.sticker(self.spool, job, self.commands[kind].template, self.station)

    def readable_sticker(self, job: Job) -> bytes:
        """Return the sticker for a screen: in words where it is ZPL of ours or not configured.

        Raises PaperError, or SpoolError.
        """
        template = self.commands["sticker"].template if "sticker" in self.commands else ""
        return printed.sticker(self.spool, job, READABLE.get(template, template), self.station)


class Printing:
    """One worker prints everything. For the main loop's thread only.

    `warn` is called with a job and why one of its papers is not printed, once for each cause.
    """

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        clocks: Clocks,
        warn: Callable[[Job, Obstacle], None],
    ) -> None:
        self._journal = journal
        self._workers = workers
        self._clocks = clocks
        self._warn = warn
        self._papers: Papers | None = None  # of the last call
        # Failures in a row and the next attempt (steady), of a kind's printer or of one paper.
        self._retry: dict[str | tuple[int, str], tuple[int, float]] = {}
        self._faults: dict[str, str] = {}  # kind: why its printer cannot be reached
        self._next_at = -math.inf  # steady
        self._is_stopping = False

    def run(self, papers: Papers) -> None:
        """Start the worker if something is due and it does not run."""
        has_news = self._journal.has_news or papers is not self._papers
        if KEY in self._workers.busy() or not (has_news or self.pause() <= 0):
            return
        if has_news:  # a person is waiting, or has corrected something
            self._journal.has_news = False
            self._papers = papers
            self._retry.clear()
        self._workers.start(KEY, lambda: self._print_all(papers))

    def pause(self) -> float:
        """Return the seconds until `run` has something to do by itself."""
        is_busy = KEY in self._workers.busy()  # its end rings the bell
        return math.inf if is_busy else self._next_at - self._clocks.steady()

    def stop(self) -> None:
        """Let the worker end after the paper that it prints now."""
        self._is_stopping = True

    def _print_all(self, papers: Papers) -> None:
        self._look(papers)
        while (found := self._next()) and not self._is_stopping:
            job, paper = found
            if paper.sent_at is None:
                self._print(job, paper, papers)
            else:
                self._doubt(job, paper, "driveprep ended while it printed")
            self._publish(papers)
        now = self._clocks.steady()
        usual = now + CHECK_SECONDS if papers.commands else math.inf
        self._next_at = min([usual, *(at for _, at in self._retry.values() if at > now)])

    def _look(self, papers: Papers) -> None:
        """See which printers can be reached, for `status`."""
        self._faults.clear()
        for kind in papers.commands:
            try:
                papers.printer(kind).check()
            except PrinterError as error:
                self._faults[kind] = f"{error}. {error.hint}"
        self._publish(papers)

    def _publish(self, papers: Papers) -> None:
        if papers.commands:
            self._journal.publish(printer=" ".join(dict.fromkeys(self._faults.values())))

    def _next(self) -> tuple[Job, Paper] | None:
        """Return the first paper whose time has come; all papers of a kind wait for its printer."""
        now = self._clocks.steady()
        for job, paper in self._journal.unprinted():
            keys = (paper.kind, (job.number, paper.kind))
            if all(self._retry.get(key, (0, now))[1] <= now for key in keys):
                return job, paper
        return None

    def _print(self, job: Job, paper: Paper, papers: Papers) -> None:
        try:
            printer = papers.printer(paper.kind)
            printer.check()
            document = papers.document(job, paper.kind)
            sent = replace(paper, sent_at=self._clocks.wall(), obstacle=None)
            self._journal.record_paper(job, sent)
            printer.send(document)
        except TimeoutError as error:
            self._doubt(job, sent, str(error))
        except (PaperError, SpoolError) as error:
            self._failed(job, paper, error)
        else:
            for key in (paper.kind, (job.number, paper.kind)):
                self._retry.pop(key, None)
            self._faults.pop(paper.kind, None)
            self._journal.record_paper(job, replace(sent, printed_at=self._clocks.wall()))
            log.info("%s printed", paper.kind, extra=about(job))

    def _failed(self, job: Job, paper: Paper, error: DriveprepError) -> None:
        is_printer = isinstance(error, PrinterError)
        key = paper.kind if is_printer else (job.number, paper.kind)
        attempts = self._retry.get(key, (0, 0.0))[0] + 1
        pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempts - 1, 10))
        self._retry[key] = attempts, self._clocks.steady() + pause
        if is_printer:
            self._faults[paper.kind] = f"{error}. {error.hint}"
        now = self._clocks.wall()
        after = Obstacle(str(error), error.hint, now, attempts, now + pause, code=error.code)
        self._record(job, replace(paper, obstacle=after), paper.obstacle)

    def _doubt(self, job: Job, paper: Paper, reason: str) -> None:
        """It may be printed, so it is not sent again unless a person asks for it."""
        hint = f"Look at the printer; if it is not there: driveprep print {job.job_id}"
        problem = f"the {paper.kind} may be printed or not: {reason}"
        after = Obstacle(problem, hint, self._clocks.wall(), 0, None, code=IN_DOUBT)
        self._record(job, replace(paper, obstacle=after), None)

    def _record(self, job: Job, paper: Paper, before: Obstacle | None) -> None:
        self._journal.record_paper(job, paper)
        if paper.obstacle and not paper.obstacle.is_like(before):
            log.warning("%s. %s", paper.obstacle.reason, paper.obstacle.hint, extra=about(job))
            self._warn(job, paper.obstacle)
