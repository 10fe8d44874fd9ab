"""A local service that speaks AWS Import/Export's API: the other side of the wire.

`house` builds it, `http` is its door, `gate` lets requests in, `service` has the operations and
their rules, `manifest` what is asked of a manifest, `ledger` the jobs, `answers` the XML,
`control` and `faults` what tests and demos make it do.
"""

from daemon.importexport.emulator.emulator import (
    ACCESS_KEY_ID,
    EXAMPLE,
    SECRET_ACCESS_KEY,
    Emulator,
    serve,
)

__all__ = ["ACCESS_KEY_ID", "EXAMPLE", "SECRET_ACCESS_KEY", "Emulator", "serve"]
