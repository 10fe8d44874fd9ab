"""The six operations of AWS Import/Export (Disk), as Python calls. Keeps no record of jobs."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from daemon.errors import ClockRefusedError, InDoubtError, ServiceError
from daemon.importexport import results
from daemon.importexport.authentication import SignatureVersion2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from daemon.importexport.credentials import Credentials
    from daemon.importexport.response import Answer
    from daemon.importexport.results import (
        CreatedJob,
        JobPage,
        JobStatus,
        ListedJob,
        ShippingLabel,
        Updated,
    )
    from daemon.importexport.transport import Transport

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_VERSION = "2010-06-01"
_VALIDATION = "-VALIDATE-ONLY"  # ends the JobId of a job that was only validated
_PAGE = "100"  # jobs; the one that is searched for is nearly always on the first page
_ADDRESS = (
    "name", "company", "phoneNumber", "country", "stateOrProvince",
    "city", "postalCode", "street1", "street2", "street3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Probe:
    """What a service said to a question that changes nothing."""

    date: float | None  # the service's clock, seconds since the epoch; None: it did not say
    refusal: ServiceError | None


class Client:
    """Calls the service. One client may be used by many threads at once.

    Every call raises RefusedError (a 4xx answer: the service did not act), UnreachableError
    (nothing was sent) or InDoubtError (anything else without a usable response). Each request
    returns or raises within `timeout` seconds: name look-up, connect, TLS, sending and reading
    together.

    If the service refuses our clock, the client adopts the service's time. It then repeats the
    request once by itself, except for a real CreateJob: this class never sends one twice.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        timeout: float,
        *,
        ca_bundle: str = "",
        clock: Callable[[], float] = time.time,
        transport: Callable[[str, float], Transport] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.access_key_id = credentials.access_key_id
        self.timeout = timeout  # seconds, of one request
        self._clock = clock
        self._new_transport = transport or partial(_transport, ca_bundle)
        self._auth = SignatureVersion2(credentials, self.now)
        self._offset = 0.0  # seconds the service's clock is ahead of ours, as far as known
        self._opening = threading.Lock()
        self._transport: Transport | None = None

    def now(self) -> float:
        """Return the service's time as far as it is known, in seconds since the epoch."""
        return self._clock() + self._offset

    def create_job(
        self, manifest: str, *, validate_only: bool = False, signed_at: float | None = None
    ) -> CreatedJob:
        """Make a job; with `validate_only`, only learn whether it could be made.

        `signed_at` is the request's Timestamp, in seconds since the epoch, if that was announced to
        others: the service refuses the request when that is more than 15 minutes ago. Not safe to
        repeat after InDoubtError: every CreateJob makes another job.
        """
        parameters = {
            "JobType": "Export",
            "Manifest": manifest,
            "ValidateOnly": "true" if validate_only else "false",
        }
        auth = self._auth if signed_at is None else self._auth.at(signed_at)
        created = self._call(
            results.created_job, "CreateJob", parameters, auth, may_ask_again=validate_only
        )
        if not validate_only and created.job_id.upper().endswith(_VALIDATION):
            raise InDoubtError(
                f"CreateJob: the response to a real request is the validation {created.job_id}",
                "Check what the service did before trying again.",
                code="in-doubt-validation",
            )
        return created

    def validate(self, manifest: str) -> CreatedJob:
        """Learn whether a job could be made. Makes none."""
        return self.create_job(manifest, validate_only=True)

    def update_job(self, job_id: str, manifest: str) -> Updated:
        """Replace a job's manifest. Safe to repeat. GetStatus then returns the SIGNATURE."""
        parameters = {
            "JobId": job_id,
            "JobType": "Export",
            "Manifest": manifest,
            "ValidateOnly": "false",
        }
        return self._call(results.updated, "UpdateJob", parameters)

    def cancel_job(self, job_id: str) -> None:
        """Cancel a job. Safe to repeat: a second time is refused with the code CanceledJobId."""
        self._call(results.canceled, "CancelJob", {"JobId": job_id})

    def get_status(self, job_id: str) -> JobStatus:
        """Return the status of a job. Safe to repeat."""
        status = self._call(results.job_status, "GetStatus", {"JobId": job_id})
        if status.job_id.upper() != job_id.upper():
            raise InDoubtError(
                f"GetStatus: asked for {job_id}, the response is about {status.job_id}",
                "Try again; if this persists, check what is between this machine and the service.",
                code="in-doubt-other-job",
            )
        return status

    def list_jobs(self) -> Iterator[ListedJob]:
        """Yield every job of the account, newest first; each page is fetched when it is reached."""
        parameters = {"MaxJobs": _PAGE}
        markers: set[str] = set()
        while True:
            page: JobPage = self._call(results.job_page, "ListJobs", parameters)
            yield from page.jobs
            if not page.is_truncated:
                return
            marker = page.jobs[-1].job_id if page.jobs else ""
            if not marker or marker in markers:
                raise InDoubtError(
                    "ListJobs: there are more jobs, but the page has no usable marker for them",
                    "Try again; if this persists, report it to the operators of the service.",
                    code="in-doubt-list",
                )
            markers.add(marker)
            parameters = {"MaxJobs": _PAGE, "Marker": marker}

    def get_shipping_label(self, job_ids: Iterable[str], **address: str) -> ShippingLabel:
        """Return the prepaid label for a parcel with these jobs' drives. Safe to repeat.

        `address` can be a manifest's returnAddress: the names are the same. Keys that the
        operation does not have are left out.
        """
        parameters = {f"jobIds.member.{i}": job_id for i, job_id in enumerate(job_ids, 1)}
        parameters |= {name: address[name] for name in _ADDRESS if address.get(name)}
        return self._call(results.shipping_label, "GetShippingLabel", parameters)

    def probe(self) -> Probe:
        """Ask for one page of ListJobs, to learn whether the service answers and accepts us.

        Makes no job. Raises UnreachableError or InDoubtError when no whole response arrived; a
        refusal is part of the result.
        """
        request = {"Action": "ListJobs", "Version": _VERSION, "MaxJobs": "1"}
        answer = self._opened().post(request, self._auth)
        try:
            results.job_page(answer)
        except ServiceError as error:
            return Probe(answer.date, error)
        return Probe(answer.date, None)

    def expect_request(self) -> None:
        """A request may follow soon: have a connection open for it. Returns at once; sends nothing.

        Safe to repeat.
        """
        if (transport := self._transport) is not None:
            transport.open_ahead()

    def close(self) -> None:
        """Close the connections kept open. Idempotent; a later call opens new ones."""
        with self._opening:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def _call(
        self,
        read: Callable[[Answer], T],
        operation: str,
        parameters: dict[str, str],
        auth: SignatureVersion2 | None = None,
        *,
        may_ask_again: bool = True,
    ) -> T:
        request = {"Action": operation, "Version": _VERSION, **parameters}
        answer = self._opened().post(request, auth or self._auth)
        try:
            return read(answer)
        except ClockRefusedError:
            if not self._has_learned(answer) or not may_ask_again:
                raise
        return read(self._opened().post(request, self._auth))

    def _has_learned(self, answer: Answer) -> bool:
        """Adopt the service's time from the response that refused ours."""
        if answer.date is None:
            return False
        self._offset = answer.date - self._clock()
        _logger.warning(
            "the service refused our clock; using its time from now on, which is %+.0f s from ours",
            self._offset,
        )
        return True

    def _opened(self) -> Transport:
        with self._opening:
            if self._transport is None:
                self._transport = self._new_transport(self.endpoint, self.timeout)
            return self._transport


def _transport(ca_bundle: str, endpoint: str, timeout: float) -> Transport:
    # An idle daemon stays small: requests is loaded with the first request.
    from daemon.importexport.transport import Transport  # noqa: PLC0415

    return Transport(endpoint, timeout, ca_bundle)
