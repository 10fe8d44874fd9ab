"""A local service that speaks AWS Import/Export's API: for demos, for tests, for trying things out.

It forgets its jobs when it stops, unless it is given a file. Drives it has never seen do not worry
it: a job is moved on by hand (`control`), and errors occur on request (`faults`).
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

from daemon.importexport.credentials import Credentials
from daemon.importexport.emulator.faults import Faults
from daemon.importexport.emulator.http import Server
from daemon.importexport.emulator.manifest import ManifestRules
from daemon.importexport.emulator.operations import Service
from daemon.importexport.emulator.store import Job, Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# AWS's published example; there is no such account.
ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 - as above
EXAMPLE = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)

_logger = logging.getLogger("daemon.importexport.emulator.house")


class Emulator:
    """A running service from `start` to `stop`, or for the length of a `with` block.

    `accounts` may call it; each sees its own jobs. `state` is a file that keeps the jobs.
    `era` is "classic" or "strict2015". `quota` is in jobs an account and day. `buckets` maps each
    existing bucket to its region ("denied": no rights); None means that every bucket exists.
    `clock` gives the service's time in seconds since the epoch.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        accounts: Sequence[Credentials] = (EXAMPLE,),
        state: Path | None = None,
        era: str = "classic",
        quota: int = 50,
        buckets: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.faults = Faults()
        self._ledger = Ledger(state)
        rules = ManifestRules(era, buckets)
        self._service = Service(accounts, self._ledger, rules, quota, clock)
        try:
            self._server = Server((host, port), self._service, self.faults, clock)
        except OSError:  # the port is taken
            self._ledger.close()
            raise
        serve_forever = self._server.serve_forever
        self._thread = threading.Thread(target=serve_forever, name="emulator", daemon=True)

    @property
    def endpoint(self) -> str:
        """Where it listens, as `endpoint` in config.yml wants it."""
        host, port = self._server.server_name, self._server.server_port
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Every job of every account, oldest first."""
        return self._service.jobs()

    def move(self, job_id: str, **changes: object) -> Job:
        """Change fields of a job, such as progress_code="Complete", as the data centre would."""
        return self._service.move(job_id, **changes)

    def start(self) -> Self:
        """Begin to answer. Only once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End every connection and close the file. Idempotent."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.close()
        self._ledger.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(
    host: str = "127.0.0.1",
    port: int = 8470,
    *,
    accounts: Sequence[Credentials] = (EXAMPLE,),
    state: Path | None = None,
) -> None:
    """Answer until SIGINT or SIGTERM. Called on the main thread.

    Raises OSError when the port cannot be had, sqlite3.Error when the file cannot.
    """
    ends = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the first thread is made, so that no thread but this one gets them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Emulator(host, port, accounts=accounts, state=state) as emulator:
            _logger.info("emulator ready: %s", emulator.endpoint)
            signal.sigwait(ends)
            _logger.info("emulator stopped")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
