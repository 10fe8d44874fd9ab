"""The pools without a database: a station alone, and one that must not claim yet."""

from __future__ import annotations

from daemon.errors import PoolError
from daemon.pool.values import Claim, Elsewhere


class Alone:
    """A `Pool` without a database. Loads nothing and waits for nothing."""

    is_shared = False
    name = ""

    def claim(self, claim: Claim, previous: str) -> str:
        """Return "": there is no one else."""
        del claim, previous
        return ""

    def sent(self, claim_id: str) -> None:
        """Do nothing."""

    def give_back(self, claim_id: str) -> None:
        """Do nothing."""

    def check(self, device_id: str, claim_id: str) -> None:
        """Do nothing: there is no one else."""

    def is_of_others(self, job_id: str, device_id: str) -> bool:
        """Return False."""
        del job_id, device_id
        return False

    def station_of(self, job_id: str) -> str:
        """Return "": there is no one else."""
        del job_id
        return ""

    def elsewhere(self, word: str) -> Elsewhere | None:
        """Return None: there is no one else."""
        del word
        return None

    def has_changed(self) -> None:
        """Do nothing."""


class Unjoined(Alone):
    """The `Pool` of a station whose configuration and journal disagree: nothing is claimed."""

    def __init__(self, *, is_configured: bool) -> None:
        self._is_configured = is_configured

    def claim(self, claim: Claim, previous: str) -> str:
        """Raise PoolError, which says what is to be done first."""
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
