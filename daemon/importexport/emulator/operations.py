"""The emulated service behind its counter: what the six operations do.

Checked are who asks (`gate`), the operation, its parameters, then the manifest
(`manifest`) or the job, in this order. The first fault is the answer.
"""

from __future__ import annotations

import base64
import hmac
import re
import threading
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from daemon.importexport.emulator.authentication import authenticated
from daemon.importexport.emulator.manifest import log_key, warning
from daemon.importexport.emulator.store import Job, Ledger
from daemon.importexport.emulator.xml import Fields, Refusal, result
from daemon.system.printable import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.importexport.credentials import Credentials
    from daemon.importexport.emulator.authentication import Call
    from daemon.importexport.emulator.manifest import ManifestRules

Outcome: TypeAlias = tuple[Fields, str]  # what is answered, and the JobId it is about

_VERSIONS = {"", "2010-06-01", "2010-06-03"}
_LOADED = {"Complete", "Success", "SuccessWithErrors"}
_LOCATIONS = {
    "NotReceived": "AWS has not received your device.",
    "AtAWS": "Your device is at AWS.",
    "Returned": "Your device was returned by {carrier}, tracking number {tracking_number}.",
}
_PROGRESS = {
    "Pending": "The specified job has not started.",
    "InProgress": "The specified job is in progress.",
    "Complete": "The job is complete. The log is {log_key} in {log_bucket}.",
    "SuccessWithErrors": "{error_count} errors. The log is {log_key} in {log_bucket}.",
    "Canceled": "The job was canceled.",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """The XML of an operation that was done, and the job it was about."""

    body: bytes
    job_id: str = ""


class Service:
    """Jobs of several accounts. Calls may come from many threads; each is done alone."""

    def __init__(
        self,
        accounts: Iterable[Credentials],
        ledger: Ledger,
        rules: ManifestRules,
        quota: int,
        clock: Callable[[], float],
    ) -> None:
        self._accounts = {account.access_key_id: account for account in accounts}
        self._ledger = ledger
        self._rules = rules
        self._quota = quota  # jobs an account and day (UTC)
        self._clock = clock
        self._lock = threading.Lock()
        self._operations: dict[str, Callable[[Credentials, dict[str, str]], Outcome]] = {
            "CreateJob": self._create_job,
            "UpdateJob": self._update_job,
            "CancelJob": self._cancel_job,
            "GetStatus": self._get_status,
            "ListJobs": self._list_jobs,
            "GetShippingLabel": self._get_shipping_label,
        }

    def perform(self, call: Call) -> Reply:
        """Do what is asked. Raises Refusal when it is not done."""
        account = authenticated(call, self._accounts, self._clock())
        if not call.operation:
            raise Refusal("MissingAction", "The request names no Action")
        if (operation := self._operations.get(call.operation)) is None:
            raise Refusal("InvalidAction", f"There is no operation {call.operation}")
        parameters = call.parameters
        if parameters.get("Version", "") not in _VERSIONS:
            raise Refusal("InvalidParameterException", "Version must be 2010-06-01")
        if not parameters.get("APIVersion", "1.0").replace(".", "").isdigit():
            raise Refusal("InvalidVersionException", "The client tool's version is not accepted")
        with self._lock:
            fields, job_id = operation(account, parameters)
        return Reply(result(call.operation, fields), job_id)

    def jobs(self) -> tuple[Job, ...]:
        """Every job, oldest first."""
        with self._lock:
            return self._ledger.all()

    def move(self, job_id: str, **changes: object) -> Job:
        """Change a job from behind the counter. Raises KeyError or TypeError for what is not there.

        A job that becomes loaded gets its log.
        """
        with self._lock:
            if (job := self._ledger.find(job_id)) is None:
                raise KeyError(job_id)
            job = replace(job, **changes)  # type: ignore[arg-type] # replace raises TypeError
            if job.progress_code in _LOADED and job.log_key is None:
                manifest = self._rules.read(job.manifest)
                bucket = str(manifest.get("logBucket", ""))
                job = replace(job, log_bucket=bucket, log_key=log_key(manifest, job.job_id))
            self._ledger.put(job)
            return job

    def _create_job(self, account: Credentials, parameters: dict[str, str]) -> Outcome:
        _require(parameters, "JobType", "Manifest")
        job_type, is_validation = _job_type(parameters), _validate_only(parameters)
        text = parameters["Manifest"]
        manifest = self._rules.check(text, job_type, account.access_key_id)
        now = self._clock()
        job_id = self._ledger.new_id()
        if is_validation:
            job_id += "-VALIDATE-ONLY"
        elif self._ledger.made_on_day(account.access_key_id, now) >= self._quota:
            message = f"No more than {self._quota} jobs can be created on a day"
            raise Refusal("CreateJobQuotaExceededException", message)
        signature = job_signature(account.secret_access_key, job_id, text)
        job = Job(
            job_id,
            account.access_key_id,
            job_type,
            str(manifest["deviceId"]),
            text,
            signature,
            creation_date=float(int(now)),  # the service reports whole seconds
        )
        if not is_validation:
            self._ledger.put(job)
        said = ("WarningMessage", warning(manifest))
        return [("JobType", job_type), ("JobId", job_id), *_papers(job), said], job_id

    def _update_job(self, account: Credentials, parameters: dict[str, str]) -> Outcome:
        _require(parameters, "JobId", "JobType", "Manifest")
        job_type, is_validation = _job_type(parameters), _validate_only(parameters)
        job = self._live_job(account, parameters["JobId"])
        if job.progress_code != "Pending":
            message = f"Job {job.job_id} has started and cannot be updated"
            raise Refusal("UnableToUpdateJobIdException", message)
        text = parameters["Manifest"]
        manifest = self._rules.check(text, job_type, account.access_key_id)
        if not is_validation:
            updated = replace(
                job,
                job_type=job_type,
                device_id=str(manifest["deviceId"]),
                manifest=text,
                # The formula covers the manifest: a new one needs a new SIGNATURE.
                signature=job_signature(account.secret_access_key, job.job_id, text),
            )
            self._ledger.put(updated)
        return [("Success", True), ("WarningMessage", warning(manifest))], job.job_id

    def _cancel_job(self, account: Credentials, parameters: dict[str, str]) -> Outcome:
        job = self._live_job(account, parameters.get("JobId", ""))
        if job.progress_code in _LOADED:
            message = f"Job {job.job_id} is complete and cannot be canceled"
            raise Refusal("UnableToCancelJobIdException", message)
        self._ledger.put(replace(job, is_canceled=True, progress_code="Canceled"))
        return [("Success", True)], job.job_id

    def _get_status(self, account: Credentials, parameters: dict[str, str]) -> Outcome:
        job = self._known_job(account, parameters.get("JobId", ""))
        fields: Fields = [
            ("JobType", job.job_type),
            ("JobId", job.job_id),
            ("CreationDate", timestamp(job.creation_date)),
            ("LocationCode", job.location_code),
            ("LocationMessage", _LOCATIONS.get(job.location_code, "").format(**asdict(job))),
            ("ProgressCode", job.progress_code),
            ("ProgressMessage", _PROGRESS.get(job.progress_code, "").format(**asdict(job))),
            ("Carrier", job.carrier),
            ("TrackingNumber", job.tracking_number),
            ("ErrorCount", job.error_count),
            ("LogBucket", job.log_bucket),
            ("LogKey", job.log_key),
            ("CurrentManifest", job.manifest),
            *_papers(job),
        ]
        return fields, job.job_id

    def _list_jobs(self, account: Credentials, parameters: dict[str, str]) -> Outcome:
        limit = _max_jobs(parameters)
        mine = [job for job in self._ledger.all() if job.account == account.access_key_id]
        mine.reverse()  # newest first
        if marker := parameters.get("Marker"):
            names = [job.job_id for job in mine]
            if marker.upper() not in names:
                raise Refusal("InvalidParameterException", "Marker must be one of your jobs")
            mine = mine[names.index(marker.upper()) + 1 :]
        members: Fields = [("member", _listed(job)) for job in mine[:limit]]
        return [("Jobs", members), ("IsTruncated", len(mine) > limit)], ""

    def _get_shipping_label(self, account: Credentials, parameters: dict[str, str]) -> Outcome:
        named = {n: value for n, value in parameters.items() if n.startswith("jobIds.member.")}
        if not named:
            raise Refusal("InvalidParameterException", "jobIds must be specified")
        jobs = [self._live_job(account, named[name]) for name in sorted(named)]
        needs_state = parameters.get("country", "").upper() in {"US", "USA", "CANADA"}
        if needs_state and not parameters.get("stateOrProvince"):
            raise Refusal("InvalidAddressException", "stateOrProvince must be specified")
        bucket = self._rules.read(jobs[0].manifest).get("logBucket", "")
        url = f"https://s3.amazonaws.com/{bucket}/shipping-label-{jobs[0].job_id}.pdf"
        return [("ShippingLabelURL", url)], jobs[0].job_id

    def _known_job(self, account: Credentials, job_id: str) -> Job:
        job = self._ledger.find(job_id)
        if job is None or job.account != account.access_key_id:
            message = (
                f"No such job {job_id} for your account" if job_id else "JobId must be specified"
            )
            raise Refusal("InvalidJobIdException", message)
        if job.is_gone(self._clock()):
            raise Refusal("ExpiredJobIdException", f"Job {job.job_id} has expired")
        return job

    def _live_job(self, account: Credentials, job_id: str) -> Job:
        """A job that can still be acted on."""
        job = self._known_job(account, job_id)
        if job.progress_code == "Expired":
            raise Refusal("ExpiredJobIdException", f"Job {job.job_id} has expired")
        if job.is_canceled:
            raise Refusal("CanceledJobIdException", f"Job {job.job_id} was canceled")
        return job


def job_signature(secret_access_key: str, job_id: str, manifest: str) -> str:
    """SIGNATURE's signature by the formula of 2009; that of version 2.0 was never published."""
    text = f"{job_id}\n{manifest}".replace("\r\n", "\n")
    digest = hmac.digest(secret_access_key.encode(), text.encode(), "sha1")
    return base64.b64encode(digest).decode()


def _papers(job: Job) -> Fields:
    """What goes onto the drive and onto the box."""
    keys = ("version:2.0", "signingMethod:HmacSHA1", f"jobId:{job.job_id}")
    address = ("AWS Import/Export", f"JOBID {job.job_id}", "2646 Rainier Ave South")
    return [
        ("Signature", job.signature),
        ("SignatureFileContents", "\n".join([*keys, f"signature:{job.signature}", ""])),
        ("AwsShippingAddress", "\n".join([*address, "Seattle, WA 98144"])),
    ]


def _listed(job: Job) -> Fields:
    return [
        ("JobType", job.job_type),
        ("CreationDate", timestamp(job.creation_date)),
        ("IsCanceled", job.is_canceled),
        ("JobId", job.job_id),
    ]


def _require(parameters: dict[str, str], *names: str) -> None:
    for name in names:
        if not parameters.get(name):
            raise Refusal("MissingParameterException", f"{name} must be specified")


def _job_type(parameters: dict[str, str]) -> str:
    job_type = parameters["JobType"]
    if job_type not in {"Import", "Export"}:
        raise Refusal("InvalidParameterException", "JobType must be Import or Export")
    return job_type


def _validate_only(parameters: dict[str, str]) -> bool:
    value = parameters.get("ValidateOnly", "false").lower()
    if value not in {"true", "false"}:
        raise Refusal("InvalidParameterException", "ValidateOnly must be true or false")
    return value == "true"


def _max_jobs(parameters: dict[str, str]) -> int:
    text = parameters.get("MaxJobs", "1000")
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > 1000:
        raise Refusal("InvalidParameterException", "MaxJobs must be between 0 and 1000")
    return int(text)
