"""The six operations of AWS Import/Export (Disk), as Python calls. Keeps no record of jobs."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from daemon.errors import ClockRefusedError, InDoubtError
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
_PAGE = "100"  # jobs; what is looked for is nearly always on the first page
_ADDRESS = (
    *("name", "company", "phoneNumber", "country", "stateOrProvince"),
    *("city", "postalCode", "street1", "street2", "street3"),
)


class Client:
    """A caller of the service. One may serve many threads at once.

    Every call raises RefusedError (a 4xx answer: the service did not act), UnreachableError
    (nothing was sent) or InDoubtError (anything else without a usable answer), and returns or
    raises within `timeout` seconds a request: look-up, connect, TLS, sending and reading together.

    A refusal of our clock teaches the client the service's time. It then asks again once by
    itself, except for a CreateJob that is meant: that one is never sent twice by this class.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        timeout: float,
        *,
        clock: Callable[[], float] = time.time,
        transport: Callable[[str, float], Transport] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.access_key_id = credentials.access_key_id
        self.timeout = timeout  # seconds, of one request
        self._clock = clock
        self._new_transport = transport or _transport
        self._auth = SignatureVersion2(credentials, self.now)
        self._offset = 0.0  # seconds the service's clock is ahead of ours, as far as known
        self._opening = threading.Lock()
        self._transport: Transport | None = None

    def now(self) -> float:
        """The service's time as far as known, in seconds since the epoch."""
        return self._clock() + self._offset

    def create_job(
        self, manifest: str, *, validate_only: bool = False, job_type: str = "Export"
    ) -> CreatedJob:
        """Make a job; with `validate_only` only learn whether it could be made.

        Not safe to repeat after InDoubtError: every CreateJob makes another job.
        """
        parameters = {
            "JobType": job_type,
            "Manifest": manifest,
            "ValidateOnly": _boolean(validate_only),
        }
        created = self._call(
            results.created_job, "CreateJob", parameters, may_ask_again=validate_only
        )
        if not validate_only and created.job_id.upper().endswith(_VALIDATION):
            raise InDoubtError(
                f"CreateJob: asked for a job, answered with the validation {created.job_id}",
                "Look up what the service did before asking again.",
                code="in-doubt-validation",
            )
        return created

    def update_job(
        self,
        job_id: str,
        manifest: str,
        *,
        validate_only: bool = False,
        job_type: str = "Export",
    ) -> Updated:
        """Replace a job's manifest. Safe to repeat. GetStatus tells the SIGNATURE from then on."""
        parameters = {
            "JobId": job_id,
            "JobType": job_type,
            "Manifest": manifest,
            "ValidateOnly": _boolean(validate_only),
        }
        return self._call(results.updated, "UpdateJob", parameters)

    def cancel_job(self, job_id: str) -> None:
        """Cancel a job. Safe to repeat: a second time is refused with the code CanceledJobId."""
        self._call(results.canceled, "CancelJob", {"JobId": job_id})

    def get_status(self, job_id: str) -> JobStatus:
        """Where a job stands. Safe to repeat."""
        status = self._call(results.job_status, "GetStatus", {"JobId": job_id})
        if status.job_id.upper() != job_id.upper():
            raise InDoubtError(
                f"GetStatus: asked for {job_id}, answered with {status.job_id}",
                "Ask again; if this persists, see what stands between this machine and service.",
                code="in-doubt-other-job",
            )
        return status

    def list_jobs(self) -> Iterator[ListedJob]:
        """Every job of the account, newest first; a page is asked for when it is reached."""
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
                    "ListJobs: there are more jobs, but the page does not lead on to them",
                    "Ask again; if this persists, tell the operators of the service.",
                    code="in-doubt-list",
                )
            markers.add(marker)
            parameters = {"MaxJobs": _PAGE, "Marker": marker}

    def get_shipping_label(self, job_ids: Iterable[str], **address: str) -> ShippingLabel:
        """The prepaid label for a parcel with these jobs' drives. Safe to repeat.

        `address` may be a manifest's returnAddress as it stands: the same names, in AWS's
        spelling; what the operation does not know is left out.
        """
        parameters = {f"jobIds.member.{i}": job_id for i, job_id in enumerate(job_ids, 1)}
        parameters |= {name: address[name] for name in _ADDRESS if address.get(name)}
        return self._call(results.shipping_label, "GetShippingLabel", parameters)

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
        *,
        may_ask_again: bool = True,
    ) -> T:
        request = {"Action": operation, "Version": _VERSION, **parameters}
        answer = self._opened().post(request, self._auth)
        try:
            return read(answer)
        except ClockRefusedError:
            if not self._has_learned(answer) or not may_ask_again:
                raise
        return read(self._opened().post(request, self._auth))

    def _has_learned(self, answer: Answer) -> bool:
        """Take the service's time from the answer that refused ours."""
        if answer.date is None:
            return False
        self._offset = answer.date - self._clock()
        _logger.warning(
            "clock refused by the service: from now on its time is used, %+.0f s from ours",
            self._offset,
        )
        return True

    def _opened(self) -> Transport:
        with self._opening:
            if self._transport is None:
                self._transport = self._new_transport(self.endpoint, self.timeout)
            return self._transport


def _transport(endpoint: str, timeout: float) -> Transport:
    # An idle daemon stays small: requests is loaded with the first request.
    from daemon.importexport.transport import Transport  # noqa: PLC0415

    return Transport(endpoint, timeout)


def _boolean(value: bool) -> str:
    return "true" if value else "false"
