"""The results of the operations, as frozen values. Opens no connection.

An absent or empty element is `None`: "the response does not say", never "not known yet". Every
function raises RefusedError or InDoubtError, see `response`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.importexport.response import Result

if TYPE_CHECKING:
    from daemon.importexport.response import Answer

_DONE = {"Complete", "Success", "SuccessWithErrors", "Canceled", "Expired"}
_ABORTED = {"DeviceError", "InvalidSignature", "MissingSignature", "MissingDevice"}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A paper that the service wants in the box, such as a customs form."""

    description: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class CreatedJob:
    """A job that the service made or, with ValidateOnly, would have made."""

    job_id: str
    job_type: str | None
    signature: str | None = field(repr=False)
    signature_file_contents: str = field(repr=False)  # raw, as the service sent it
    aws_shipping_address: str | None  # lines joined by LF
    warning_message: str | None
    artifact_list: tuple[Artifact, ...]
    creation_date: float | None = None  # by the service's clock (Date header), since the epoch


@dataclass(frozen=True, slots=True)
class Updated:
    """The service accepted the new manifest; SIGNATURE may have changed (see GetStatus)."""

    warning_message: str | None
    artifact_list: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One job in ListJobs."""

    job_id: str
    job_type: str | None
    creation_date: float  # seconds since the epoch
    is_canceled: bool


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of ListJobs, newest first; the next page starts after its last JobId."""

    jobs: tuple[ListedJob, ...]
    is_truncated: bool


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job."""

    job_id: str
    job_type: str | None
    location_code: str | None
    location_message: str | None
    progress_code: str | None
    progress_message: str | None
    carrier: str | None
    tracking_number: str | None
    log_bucket: str | None
    log_key: str | None
    error_count: int | None
    signature: str | None = field(repr=False)
    signature_file_contents: str | None = field(repr=False)  # raw, as the service sent it
    current_manifest: str | None = field(repr=False)  # raw; can hold trueCryptPassword, pinCode
    creation_date: float | None  # seconds since the epoch
    aws_shipping_address: str | None  # lines joined by LF
    artifact_list: tuple[Artifact, ...]

    @property
    def is_terminal(self) -> bool:
        """Return whether the service has finished the job. An unknown code is not an end."""
        code = self.progress_code or ""
        return code in _DONE | _ABORTED or code.startswith("Unsupported")


@dataclass(frozen=True, slots=True)
class ShippingLabel:
    """Where the prepaid label can be fetched."""

    shipping_label_url: str
    warning: str | None


def created_job(answer: Answer) -> CreatedJob:
    """Read the response to CreateJob, which must have JobId and SignatureFileContents."""
    result = Result(answer)
    return CreatedJob(
        job_id=result.job_id(),
        job_type=result.text("JobType"),
        signature=result.text("Signature"),
        signature_file_contents=result.required(result.raw("SignatureFileContents"), "SIGNATURE"),
        aws_shipping_address=result.lines("AwsShippingAddress"),
        warning_message=result.text("WarningMessage"),
        artifact_list=_artifacts(result),
        creation_date=answer.date,
    )


def updated(answer: Answer) -> Updated:
    """Read the response to UpdateJob."""
    result = Result(answer)
    result.require_success()
    return Updated(result.text("WarningMessage"), _artifacts(result))


def canceled(answer: Answer) -> None:
    """Read the response to CancelJob."""
    Result(answer).require_success()


def job_status(answer: Answer) -> JobStatus:
    """Read the response to GetStatus, which must have JobId."""
    result = Result(answer)
    return JobStatus(
        job_id=result.job_id(),
        job_type=result.text("JobType"),
        location_code=result.text("LocationCode"),
        location_message=result.text("LocationMessage"),
        progress_code=result.text("ProgressCode"),
        progress_message=result.text("ProgressMessage"),
        carrier=result.text("Carrier"),
        tracking_number=result.text("TrackingNumber"),
        log_bucket=result.text("LogBucket"),
        log_key=result.text("LogKey"),
        error_count=result.integer("ErrorCount"),
        signature=result.text("Signature"),
        signature_file_contents=result.raw("SignatureFileContents"),
        current_manifest=result.raw("CurrentManifest"),
        creation_date=result.time("CreationDate"),
        aws_shipping_address=result.lines("AwsShippingAddress"),
        artifact_list=_artifacts(result),
    )


def job_page(answer: Answer) -> JobPage:
    """Read the response to ListJobs.

    It must have Jobs and IsTruncated: if an empty response were read as "no jobs", a job whose
    CreateJob is in doubt would be made a second time.
    """
    result = Result(answer)
    jobs = result.required(result.members("Jobs"), "Jobs")
    truncated = result.required(result.boolean("IsTruncated"), "IsTruncated")
    return JobPage(tuple(map(_listed_job, jobs)), truncated)


def _listed_job(member: Result) -> ListedJob:
    return ListedJob(
        job_id=member.job_id(),
        job_type=member.text("JobType"),
        creation_date=member.required(member.time("CreationDate"), "CreationDate"),
        is_canceled=member.boolean("IsCanceled") or False,
    )


def shipping_label(answer: Answer) -> ShippingLabel:
    """Read the response to GetShippingLabel."""
    result = Result(answer)
    url = result.required(result.text("ShippingLabelURL"), "ShippingLabelURL")
    return ShippingLabel(url, result.text("Warning"))


def _artifacts(result: Result) -> tuple[Artifact, ...]:
    members = result.members("ArtifactList") or ()
    return tuple(Artifact(each.text("Description"), each.text("URL")) for each in members)
