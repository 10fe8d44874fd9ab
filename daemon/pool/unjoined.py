"""The pool of a station whose configuration and journal disagree: nothing is claimed."""

from __future__ import annotations

from daemon.errors import PoolError
from daemon.pool.alone import Alone
from daemon.pool.values import Claim


class Unjoined(Alone):
    """A `Pool` that allows no CreateJob, and says what is to be done first."""

    def __init__(self, *, is_configured: bool) -> None:
        self._is_configured = is_configured

    def claim(self, claim: Claim, previous: str) -> str:
        """Raise PoolError."""
        del claim, previous
        if self._is_configured:
            raise PoolError(
                "config.yml has a pool, but this station has not joined it",
                "Stop driveprep, then: driveprep pool join NAME",
                code="pool-not-joined",
            )
        raise PoolError(
            "this station is in a pool, but config.yml has none",
            "Write `pool` again, or leave it first: driveprep pool leave",
            code="pool-not-configured",
        )
