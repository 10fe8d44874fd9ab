"""The service, asked by the daemon for a person who may not read the secret key."""

from __future__ import annotations

import json

from daemon import spool
from daemon.config.loading import Config
from daemon.desk.elsewhere import ANSWER_SECONDS
from daemon.errors import DriveprepError
from daemon.importexport.relay import RelayedClient
from daemon.jobs import reader


def paper(config: Config, kind: str, job_id: str) -> str:
    """Return the packing slip of a job as it is filed, or its sticker. Raises DriveprepError."""
    if reader.daemon_info(config.spool) is None:
        raise DriveprepError("the driveprep daemon does not run", "systemctl start driveprep")
    question = json.dumps({"paper": kind, "job": job_id}).encode()
    answer = json.loads(spool.ask(config.spool, question, ANSWER_SECONDS))
    if kind not in answer:
        problem = answer.get("problem", "the daemon does not know this question")
        raise DriveprepError(problem, answer.get("hint", "Use the command of its version."))
    return str(answer[kind])


def client(config: Config) -> RelayedClient:
    """Return a client whose questions a running daemon passes on."""
    seconds = ANSWER_SECONDS + 2 * config.timeout
    return RelayedClient(lambda question: spool.ask(config.spool, question, seconds))
