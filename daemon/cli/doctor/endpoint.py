"""The service at the other end: reached, trusted, on time, and willing to be asked by us."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from daemon.cli.doctor.finding import Finding, Verdict, ok, problem
from daemon.errors import ClockRefusedError, CredentialsRefusedError, ServiceError
from daemon.importexport import results
from daemon.importexport.authentication import SignatureVersion2
from daemon.system.printable import printable, timestamp

if TYPE_CHECKING:
    from daemon.config.loading import Config
    from daemon.importexport.response import Answer

SKEW_SECONDS = 300  # the service refuses signatures from 15 minutes on; clocks drift further


def service(settings: Config) -> Iterator[Finding]:
    """Whether it answers, keeps our time, and lets us list our jobs. Makes no job."""
    is_tls = settings.endpoint.startswith("https:")
    try:
        answer = _ask(settings)
    except ServiceError as error:
        yield problem("service", f"{settings.endpoint}: {error}", error.hint)
        return
    how = "its certificate is good" if is_tls else "without TLS, on this machine"
    yield ok("service", f"{settings.endpoint} answers; {how}")
    yield _clock(answer)
    who = printable(settings.credentials.access_key_id)
    try:
        results.job_page(answer)
        yield ok("credentials", f"{who} may list its jobs")
    except CredentialsRefusedError as error:
        yield problem("credentials", f"{who}: {error}", error.hint)
    except ClockRefusedError as error:
        yield problem("credentials", f"not looked at: {error}", error.hint)
    except ServiceError as error:
        yield problem("service", str(error), error.hint)


def _ask(settings: Config) -> Answer:
    """One page of ListJobs, not read yet."""
    # `requests` is heavy, and the other findings need not wait for it.
    from daemon.importexport.transport import Transport  # noqa: PLC0415

    transport = Transport(settings.endpoint, settings.timeout)
    try:
        question = {"Action": "ListJobs", "Version": "2010-06-01", "MaxJobs": "1"}
        return transport.post(question, SignatureVersion2(settings.credentials, time.time))
    finally:
        transport.close()


def _clock(answer: Answer) -> Finding:
    if answer.date is None:
        return Finding(Verdict.UNSEEN, "clock", "the service does not tell its time")
    skew = time.time() - answer.date
    fact = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's"
    if abs(skew) > SKEW_SECONDS:
        remedy = f"Set it (the service says {timestamp(answer.date)}): timedatectl set-ntp true"
        return problem("clock", fact, remedy)
    return ok("clock", fact)
