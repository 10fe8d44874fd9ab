"""The papers of a prepared job: what is kept, and what goes into the box."""

from __future__ import annotations

import json
from pathlib import Path

from daemon.drives import signature
from daemon.errors import SpoolError
from daemon.jobs.deadlines import expires_at
from daemon.jobs.job import Job, Shipment, Signed, Submitted
from daemon.manifest.rules import Manifest
from daemon.preparation.papers import packing_slip
from daemon.preparation.papers.packing_slip import Contact, Slip
from daemon.spool import safe_name
from daemon.spool.filing import digest
from daemon.spool.spool import Spool
from daemon.system.printable import timestamp

SLIP = "slip.html"
MANIFEST = "manifest.yml"
RECEIPT = "receipt.json"


def folder(job_id: str, device_id: str) -> str:
    """Return the name of the folder with a job's papers."""
    return f"{safe_name(job_id)}-{safe_name(device_id)}"


def place(spool: Path, job: Job) -> str:
    """Return the folder with a job's papers; "" before they are filed."""
    is_there = bool(job.job_id) and job.filed
    return str(spool / "prepared" / folder(job.job_id, job.device_id)) if is_there else ""


def files(job: Job, state: Signed, manifest: Manifest, station: str) -> dict[str, bytes]:
    """Return the files of prepared/<JobId>-<deviceId>/; the same job gives the same files."""
    return {
        MANIFEST: manifest.data,
        signature.FILE_NAME: state.signature.encode(),
        RECEIPT: _receipt(job, state, manifest, station),
        SLIP: slip(job, state, manifest, station).encode(),
    }


def filed(spool: Spool, job: Job) -> bytes | None:
    """Return the manifest in a job's papers; None if it cannot be read.

    Someone may have removed the papers.
    """
    try:
        return spool.paper(folder(job.job_id, job.device_id), MANIFEST)
    except SpoolError:
        return None


def slip(job: Job, state: Submitted | Signed, manifest: Manifest, station: str) -> str:
    """Return the printable page that goes into the box, as HTML."""
    address = manifest.return_address
    return packing_slip.render(
        Slip(
            job_id=state.job_id,
            device_id=job.device_id,
            file_system=job.file_system,
            drive=state.drive,
            shipping_address=state.shipping_address,
            return_address=address,
            contact=Contact(address["name"], address["phoneNumber"], manifest.notification_email),
            submitted_at=state.submitted_at,
            expires_at=expires_at(state),
            manifest_name=job.name,
            station=station,
            warning=state.warning,
            shipment=_shipment(job.shipment),
            artifacts=[(one.description, one.url) for one in state.artifact_list],
        )
    )


def _shipment(shipment: Shipment | None) -> str:
    if shipment is None:
        return ""
    told = (timestamp(shipment.at)[:10], shipment.carrier, shipment.tracking)
    return " ".join(filter(None, told))


def _receipt(job: Job, state: Signed, manifest: Manifest, station: str) -> bytes:
    current = digest(manifest.data)
    receipt = {
        "jobId": state.job_id,
        "deviceId": job.device_id,
        "station": station,
        "shippingAddress": state.shipping_address,
        "drive": dict(state.drive),
        "submittedAt": timestamp(state.submitted_at),
        "signedAt": timestamp(state.signed_at),
        "expiresAt": timestamp(expires_at(state)),
        "manifest": {"name": job.name, "sha256": current},
        "manifestBefore": None if current == job.sha256 else {"sha256": job.sha256},
        "signature": {"sha256": digest(state.signature.encode())},
        "warning": state.warning,
    }
    return (json.dumps(receipt, indent=2, ensure_ascii=False) + "\n").encode()
