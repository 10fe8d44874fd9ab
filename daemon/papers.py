"""The papers of a prepared job: what is kept of it, and what goes into the box. Opens no file."""

from __future__ import annotations

import hashlib
import json

from daemon import signature
from daemon.job import Job, Signed
from daemon.printable import timestamp

EXPIRY_SECONDS = 30 * 24 * 3600  # the guide: a job expires 30 days after it was made


def files(job: Job, state: Signed, dropped: bytes) -> dict[str, bytes]:
    """Names and contents of the folder prepared/<JobId>-<deviceId>/; the same for the same job."""
    return {
        "manifest.yml": dropped,
        signature.NAME: state.signature.encode(),
        "receipt.json": _receipt(job, state, dropped),
    }


def _receipt(job: Job, state: Signed, dropped: bytes) -> bytes:
    receipt = {
        "jobId": state.job_id,
        "deviceId": job.device_id,
        "shippingAddress": state.shipping_address,
        "drive": dict(state.drive),
        "submittedAt": timestamp(state.submitted_at),
        "signedAt": timestamp(state.signed_at),
        "expiresAt": timestamp(state.submitted_at + EXPIRY_SECONDS),
        "manifest": {"name": job.name, "sha256": _digest(dropped)},
        "signature": {"sha256": _digest(state.signature.encode())},
        "warning": state.warning,
    }
    return (json.dumps(receipt, indent=2, ensure_ascii=False) + "\n").encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
