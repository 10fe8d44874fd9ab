"""What a station remembers of its pool, kept in its journal: who it is, and which database it saw.

A database that lost commits is not the one that was seen last: after a failover its timeline is
another, after a restore its row was written by another transaction, and a copy of its files has a
lower revision. Then nobody claims until all members have said what they hold; see `reopening`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True, slots=True)
class Facts:
    """Which database this is, and how far it has come."""

    system: str  # pg_control_system(): of the cluster, also of its copies
    timeline: str  # raised when a standby is promoted
    database: int  # the OID
    pool: str  # a UUID, made by `pool init`
    is_original: bool  # the pool's row was written by the pool, not by a restore
    revision: int  # raised by every write of the pool
    epoch: int  # raised whenever members had to say again what they hold

    def lost_since(self, seen: Facts) -> str:
        """Return how this database differs from the one that was seen before; "" if it does not."""
        if self.pool != seen.pool:
            return "it is another pool"
        if (self.system, self.database) != (seen.system, seen.database):
            return "it is another database"
        if self.timeline != seen.timeline:
            return f"a standby was promoted (timeline {self.timeline})"
        if not self.is_original:
            return "it was restored from a dump"
        if self.revision < seen.revision:
            return f"it is older than before (revision {self.revision}, seen: {seen.revision})"
        return ""


@dataclass(frozen=True, slots=True)
class Membership:
    """A station of a pool."""

    station: str  # a UUID, made by `pool join`
    name: str  # is only shown
    generation: int  # of the station: another one means that it was taken over
    facts: Facts  # of the database when it was seen last

    def seeing(self, facts: Facts) -> Membership:
        """Return the same station after it has seen the database."""
        return replace(self, facts=facts)

    def dump(self) -> str:
        """Return it as the journal keeps it."""
        return json.dumps(asdict(self))


def load(text: str) -> Membership:
    """Return what `dump` returned."""
    values = json.loads(text)
    return Membership(**values | {"facts": Facts(**values["facts"])})
