"""The documents that are printed for a prepared job, made from what is filed and recorded."""

from __future__ import annotations

from daemon.errors import ManifestError, PaperError
from daemon.jobs.job import Job, Signed
from daemon.manifest import rules
from daemon.manifest.rules import Manifest
from daemon.preparation.papers import contents, rendering
from daemon.preparation.papers import sticker as stickers
from daemon.spool.spool import Spool


def slip(spool: Spool, job: Job, station: str) -> bytes:
    """Return the packing slip as PDF, with the shipment if it is known. Raises PaperError."""
    state, manifest = _filed(spool, job)
    return rendering.pdf(contents.slip(job, state, manifest, station))


def sticker(spool: Spool, job: Job, template: str, station: str) -> bytes:
    """Return the sticker for the drive, by a template. Raises PaperError."""
    state, manifest = _filed(spool, job)
    return stickers.make(template, job, state, manifest, station)


def _filed(spool: Spool, job: Job) -> tuple[Signed, Manifest]:
    data = contents.filed(spool, job)
    if data is None or not isinstance(job.state, Signed):
        hint = "Papers that were removed from prepared/ cannot be printed."
        raise PaperError(f"the papers of {job.job_id} cannot be read", hint, code="papers-gone")
    try:
        return job.state, rules.read(data, contents.MANIFEST)
    except ManifestError as error:
        raise PaperError(str(error), error.hint, code="papers-gone") from error
