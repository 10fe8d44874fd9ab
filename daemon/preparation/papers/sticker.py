"""The sticker for a drive: the values that a template can use, and the templates we supply."""

from __future__ import annotations

from pathlib import Path

from daemon.errors import PaperError
from daemon.jobs.deadlines import expires_at
from daemon.jobs.job import Job, Signed
from daemon.manifest.rules import Manifest
from daemon.preparation.papers import rendering
from daemon.preparation.papers.packing_slip import return_lines
from daemon.system.printable import printable, timestamp

MAX_BYTES = 64 * 1024  # of a template
SUPPLIED = {name: Path(__file__).with_name(f"sticker.{name}.j2") for name in ("zpl", "text")}
OF_THE_DRIVE = ("bay", "label", "serial", "uuid", "model")


def make(template: str, job: Job, state: Signed, manifest: Manifest, station: str) -> bytes:
    """Return the sticker by a template, one of SUPPLIED or a file. Raises PaperError."""
    place = SUPPLIED.get(template) or Path(template)
    try:
        with place.open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _unusable(f"{place} cannot be read: {error}") from error
    if len(text) > MAX_BYTES:
        raise _unusable(f"{place} is longer than {MAX_BYTES // 1024} KiB")
    return rendering.sticker(text, values(job, state, manifest, station))


def values(job: Job, state: Signed, manifest: Manifest, station: str) -> dict[str, object]:
    """Return what a template can use. Every text is printable, and "" where there is none."""
    shown: dict[str, str] = {
        "job_id": state.job_id,
        "device_id": job.device_id,
        "file_system": job.file_system,
        "manifest": job.name,
        "station": station,
        "signed_on": timestamp(state.signed_at)[:10],
        "expires_on": timestamp(expires_at(state))[:10],
        "tracking": job.shipment.tracking if job.shipment else "",
    } | {key: str(state.drive.get(key) or "") for key in OF_THE_DRIVE}
    lines = {
        "ship_to": [line.strip() for line in state.shipping_address.splitlines() if line.strip()],
        "return_to": return_lines(manifest.return_address),
    }
    texts: dict[str, object] = {key: printable(text) for key, text in shown.items()}
    return texts | {key: list(map(printable, some)) for key, some in lines.items()}


def _unusable(problem: str) -> PaperError:
    hint = "Correct print.sticker.template in the configuration, or the file."
    return PaperError(f"the sticker's template {problem}", hint, code="sticker-template")
