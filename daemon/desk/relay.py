"""The service, asked by the daemon for a person who may not read the secret key."""

from __future__ import annotations

import json

from daemon import spool
from daemon.config.loading import Config
from daemon.desk.orders import ANSWER_SECONDS
from daemon.errors import DriveprepError
from daemon.importexport.relay import RelayedClient


def slip(config: Config, job_id: str) -> str:
    """Return the packing slip of a job as it is filed. Raises DriveprepError."""
    question = json.dumps({"paper": "slip", "job": job_id}).encode()
    answer = json.loads(spool.ask(config.spool, question, ANSWER_SECONDS))
    if "slip" not in answer:
        problem = answer.get("problem", "the daemon does not know this question")
        raise DriveprepError(problem, answer.get("hint", "Use the command of its version."))
    return str(answer["slip"])


def client(config: Config) -> RelayedClient:
    """Return a client whose questions a running daemon passes on."""
    seconds = ANSWER_SECONDS + 2 * config.timeout
    return RelayedClient(lambda question: spool.ask(config.spool, question, seconds))
