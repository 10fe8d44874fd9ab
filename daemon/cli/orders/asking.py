"""An order on its way to the daemon, which alone writes the journal."""

from __future__ import annotations

import json
from typing import Any

import click

from daemon import spool
from daemon.cli.options import ANSWER_SECONDS
from daemon.config.loading import Config
from daemon.errors import DriveprepError
from daemon.jobs import reader


def give(config: Config, order: dict[str, object]) -> dict[str, Any] | None:
    """Return the daemon's answer; None if none runs: one that starts later carries the order out.

    Raises DriveprepError if the daemon refuses.
    """
    question = json.dumps(order).encode()
    try:
        if reader.daemon_info(config.spool) is None:
            spool.leave(config.spool, question)
            click.echo("the driveprep daemon is not running; it does so when it starts", err=True)
            return None
        data = spool.ask(config.spool, question, ANSWER_SECONDS, is_durable=True)
    except FileNotFoundError as error:
        hint = "The daemon creates it when it starts: systemctl start driveprep"
        raise DriveprepError(f"there is no folder {config.spool / 'pending'}", hint) from error
    answer: dict[str, Any] = json.loads(data)
    if "problem" in answer:
        raise DriveprepError(answer["problem"], answer["hint"])
    if "error" in answer:  # a daemon of an earlier version
        raise DriveprepError(answer["error"]["message"], answer["error"]["hint"])
    return answer
