"""Several stations, one pool: who may make the job of a drive, decided in one PostgreSQL database.

docs/pool.md has the protocol and why it holds. A station without a pool uses `Alone`.
"""

from daemon.pool.alone import Alone
from daemon.pool.membership import Membership
from daemon.pool.values import Claim, Elsewhere, Held, Pool

__all__ = ["Alone", "Claim", "Elsewhere", "Held", "Membership", "Pool"]
