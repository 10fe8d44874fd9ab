"""The service: reachable, trusted, on time, and willing to answer with these credentials."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.cli.doctor.finding import Finding, Verdict, ok, problem
from daemon.errors import ClockRefusedError, CredentialsRefusedError, ServiceError
from daemon.importexport import trust
from daemon.importexport.client import Client
from daemon.system.printable import printable, timestamp

if TYPE_CHECKING:
    from daemon.config.loading import Config

SKEW_SECONDS = 300  # the service refuses signatures from 15 minutes on; clocks drift further


def service(settings: Config, environment: Mapping[str, str] | None) -> Iterator[Finding]:
    """Check that it answers, agrees with our clock, and lets us list jobs. Makes no job.

    `environment` is that of the running service: its proxies and certificate authorities count.
    """
    is_tls = settings.endpoint.startswith("https:")
    client = Client(
        settings.endpoint, settings.credentials, settings.timeout, ca_bundle=settings.ca_bundle
    )
    whose = "" if environment is not None else "; asked with the proxies of this shell, not its own"
    try:
        with _network_of(os.environ if environment is None else environment):
            probe = client.probe()
    except ServiceError as error:
        yield problem("service", f"{settings.endpoint}: {error}{whose}", error.hint)
        return
    finally:
        client.close()
    how = "its certificate is good" if is_tls else "without TLS, on this machine"
    yield ok("service", f"{settings.endpoint} answers; {how}{whose}")
    yield _clock(probe.date)
    if settings.credentials.secret_access_key:  # else it was asked without
        yield _credentials(printable(settings.credentials.access_key_id), probe.refusal)


@contextmanager
def _network_of(environment: Mapping[str, str]) -> Iterator[None]:
    """Take the variables that decide about proxies and certificates from another environment."""
    ours = {name: value for name, value in os.environ.items() if _is_of_network(name)}
    theirs = {name: value for name, value in environment.items() if _is_of_network(name)}
    try:
        for name in ours:
            del os.environ[name]
        os.environ.update(theirs)
        yield
    finally:
        for name in theirs:
            del os.environ[name]
        os.environ.update(ours)


def _is_of_network(name: str) -> bool:
    return name in trust.VARIABLES or name.lower().endswith("_proxy")


def _credentials(access_key_id: str, refusal: ServiceError | None) -> Finding:
    match refusal:
        case None:
            return ok("credentials", f"{access_key_id} may list its jobs")
        case CredentialsRefusedError():
            return problem("credentials", f"{access_key_id}: {refusal}", refusal.hint)
        case ClockRefusedError():
            return problem("credentials", f"not checked: {refusal}", refusal.hint)
        case _:
            return problem("service", str(refusal), refusal.hint)


def _clock(date: float | None) -> Finding:
    if date is None:
        return Finding(Verdict.UNSEEN, "clock", "the service does not report its time")
    skew = time.time() - date
    fact = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's"
    if abs(skew) > SKEW_SECONDS:
        remedy = f"Set it (the service says {timestamp(date)}): timedatectl set-ntp true"
        return problem("clock", fact, remedy)
    return ok("clock", fact)
