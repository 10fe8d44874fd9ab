"""What a station and the pool say to each other. Opens no connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """A station's right to send one CreateJob for a deviceId: that one, with that Timestamp."""

    id: str  # a UUID; another one for each CreateJob. "": the pool makes it
    device_id: str
    name: str  # of the manifest's file
    sha256: str  # of the manifest as dropped
    file_system: str
    text: bytes  # the manifest as dropped
    signed_at: float  # the Timestamp, by the service's clock, seconds since the epoch
    endpoint: str
    access_key_id: str
    drive: Mapping[str, str | int | None]  # the identities of the drive it is for


@dataclass(frozen=True, slots=True)
class Held:
    """An open claim, as the pool has it."""

    claim: Claim
    station: str  # the id of the station that holds it
    station_name: str
    generation: int  # raised whenever another station takes it over
    job_id: str = ""  # "" as long as it is in doubt
    made: Mapping[str, Any] | None = None  # what the service answered, as the journal has it


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A job or a waiting manifest of another station."""

    station: str  # its name
    device_id: str
    job_id: str = ""  # "" as long as it is not known, or the manifest waits


class Pool(Protocol):
    """What the path of a job needs of the pool. Safe to use from several threads.

    Each call that may ask the database ends within some seconds. Raises PoolAwayError when the
    database does not answer, and PoolError when it forbids the step.
    """

    is_shared: bool  # with other stations
    name: str  # of this station in it; "": it is alone

    def claim(self, claim: Claim, previous: str) -> str:
        """Commit a claim and return its id, or raise: then nothing may be sent.

        `previous` is the id of this station's last claim for the job, if the journal proves that
        nothing was made under it; "" if there is none.
        """

    def sent(self, claim_id: str) -> None:
        """The journal has recorded that the CreateJob of a claim leaves now. Returns at once."""

    def give_back(self, claim_id: str) -> None:
        """Nothing is sent under this claim: it may be released. Returns at once."""

    def check(self, device_id: str, claim_id: str) -> None:
        """Raise PoolError if another station holds the claim now. Silent if that is not known."""

    def is_of_others(self, job_id: str, device_id: str) -> bool:
        """Return whether a job of the service is, or may be, one of another station."""

    def station_of(self, job_id: str) -> str:
        """Return the name of another station that has made a job; "" if that is not known."""

    def elsewhere(self, word: str) -> Elsewhere | None:
        """Return what another station has for a JobId, a deviceId or the name of a manifest."""

    def has_changed(self) -> None:
        """The journal has news for the pool. Returns at once."""
