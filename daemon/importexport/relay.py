"""The service for those who must not have the secret key: they ask the daemon, which has it.

A request and its answer are JSON texts. What can be asked for makes no job, and is safe to repeat.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from daemon import errors
from daemon.errors import DriveprepError
from daemon.importexport.client import Client
from daemon.importexport.results import Artifact, CreatedJob, JobStatus, ShippingLabel, Updated
from daemon.system.untrusted import json_value

Ask = Callable[[bytes], bytes]


def perform(client: Client, request: bytes) -> bytes:
    """Carry out a request. Every outcome is an answer, an error too."""
    try:
        result = _perform(client, request)
    except DriveprepError as error:
        kind = type(error).__name__
        told = {"kind": kind, "message": str(error), "hint": error.hint, "code": error.code}
        return json.dumps({"error": told}).encode()
    return json.dumps({"result": result}).encode()


def _perform(client: Client, request: bytes) -> object:
    match json_value(request):
        case {"operation": "GetAccessKeyId"}:
            return client.access_key_id
        case {"operation": "GetStatus", "jobId": str(job_id)}:
            # Without the manifest, which may have passwords: no command that asks here needs it.
            return asdict(client.get_status(job_id)) | {"current_manifest": None}
        case {"operation": "CancelJob", "jobId": str(job_id)}:
            client.cancel_job(job_id)
            return None
        case {"operation": "UpdateJob", "jobId": str(job_id), "manifest": str(manifest)}:
            return asdict(client.update_job(job_id, manifest))
        case {"operation": "GetShippingLabel", "jobIds": list(job_ids), "address": dict(address)}:
            texts = {str(key): str(value) for key, value in address.items()}
            return asdict(client.get_shipping_label(map(str, job_ids), **texts))
        case {"operation": "ValidateManifest", "manifest": str(manifest)}:
            return asdict(client.validate(manifest))
    raise DriveprepError("this request is not known", "Use the command of the daemon's version.")


class RelayedClient:
    """Like a Client, for what a command needs. `ask` carries a request to the daemon.

    Raises what the client of the daemon raised, or what `ask` raises.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    @property
    def access_key_id(self) -> str:
        """The public name of the daemon's key."""
        return str(self._call("GetAccessKeyId"))

    def get_status(self, job_id: str) -> JobStatus:
        """Return the status of a job. Safe to repeat."""
        return JobStatus(**_with_artifacts(self._call("GetStatus", jobId=job_id)))

    def cancel_job(self, job_id: str) -> None:
        """Cancel a job. Safe to repeat: a second time is refused with the code CanceledJobId."""
        self._call("CancelJob", jobId=job_id)

    def update_job(self, job_id: str, manifest: str) -> Updated:
        """Replace a job's manifest. Safe to repeat."""
        return Updated(**_with_artifacts(self._call("UpdateJob", jobId=job_id, manifest=manifest)))

    def get_shipping_label(self, job_ids: Iterable[str], **address: str) -> ShippingLabel:
        """Return the prepaid label for a parcel with these jobs' drives. Safe to repeat."""
        found = self._call("GetShippingLabel", jobIds=list(job_ids), address=address)
        return ShippingLabel(**found)

    def validate(self, manifest: str) -> CreatedJob:
        """Learn whether a job could be made. Makes none."""
        return CreatedJob(**_with_artifacts(self._call("ValidateManifest", manifest=manifest)))

    def _call(self, operation: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        request = json.dumps({"operation": operation, **arguments}).encode()
        answer = json.loads(self._ask(request))
        if error := answer.get("error"):
            raise _raised(error)
        return answer["result"]


def _raised(told: Mapping[str, str]) -> DriveprepError:
    kind = getattr(errors, told["kind"], DriveprepError)
    if not (isinstance(kind, type) and issubclass(kind, errors.ServiceError)):
        kind = DriveprepError
    error: DriveprepError = kind(told["message"], told["hint"], told["code"])
    return error


def _with_artifacts(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"artifact_list": tuple(Artifact(**one) for one in result["artifact_list"])}
