"""The service, asked by the daemon for a person who may not read the secret key."""

from __future__ import annotations

from daemon import spool
from daemon.config.loading import Config
from daemon.desk.orders import ANSWER_SECONDS
from daemon.importexport.relay import RelayedClient


def client(config: Config) -> RelayedClient:
    """Return a client whose questions a running daemon passes on."""
    seconds = ANSWER_SECONDS + 2 * config.timeout
    return RelayedClient(lambda question: spool.ask(config.spool, question, seconds))
