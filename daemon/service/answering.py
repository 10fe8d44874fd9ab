"""Answers what commands ask of the service, on behalf of operators, and of the journal."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial

from daemon.errors import PoolError, SpoolError
from daemon.importexport import relay
from daemon.importexport.client import Client
from daemon.jobs import orders
from daemon.jobs.journal import Journal
from daemon.pool.values import Pool
from daemon.preparation import papers
from daemon.service.reporting.printing import Papers
from daemon.service.workers import Workers
from daemon.spool import questions
from daemon.spool.spool import Spool
from daemon.system.untrusted import json_value

# A fixed name: it is part of the interface and does not follow the file.
log = logging.getLogger("daemon.service")

KEY = "/answers"  # of its worker


class Answering:
    """One worker answers all questions, one after the other. For the main loop's thread only."""

    def __init__(
        self,
        spool: Spool,
        journal: Journal,
        workers: Workers,
        pool: Pool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._journal = journal
        self._workers = workers
        self._pool = pool
        self._clock = clock
        self._asked: dict[str, None] = {}  # names of questions in pending/

    def notice(self, names: Iterable[str]) -> None:
        """Some of the files with these names in pending/ may be questions."""
        self._asked |= dict.fromkeys(filter(questions.is_question, names))

    def run(self, client: Client, printable: Papers) -> None:
        """Start the worker if there is a question and it does not run."""
        if self._asked and KEY not in self._workers.busy():
            asked, self._asked = self._asked, {}
            self._workers.start(KEY, partial(self._answer, client, printable, asked))

    def _answer(self, client: Client, printable: Papers, names: Iterable[str]) -> None:
        try:
            for number, question in self._spool.questions(names):
                answer = orders.perform(self._journal, question)
                if answer is None:
                    answer = papers.perform(
                        self._spool, self._journal, question, printable.readable_sticker
                    )
                if answer is None:
                    answer = self._elsewhere(question)
                if answer is None:
                    answer = relay.perform(client, question)
                    log.info("the service was asked on behalf of an operator")
                self._spool.answer(number, answer, self._clock())
        except SpoolError as error:  # the command tells its operator that there is no answer
            log.warning("a question is not answered: %s", error)

    def _elsewhere(self, question: bytes) -> bytes | None:
        """Return which station of the pool has a job; None if that is not the question."""
        match json_value(question):
            case {"elsewhere": str(word)}:
                try:
                    found = self._pool.elsewhere(word)
                except PoolError as error:
                    return json.dumps({"problem": str(error), "hint": error.hint}).encode()
                return json.dumps({"elsewhere": asdict(found) if found else None}).encode()
        return None
