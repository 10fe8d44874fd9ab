"""The pool of a station that shares with no one: every claim is good."""

from __future__ import annotations

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
