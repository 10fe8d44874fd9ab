"""What the service has answered about a job that it made, as the journal has it."""

from __future__ import annotations

from daemon.drives import signature
from daemon.importexport.results import CreatedJob, JobStatus
from daemon.jobs.job import Artifact, Submitted, Submitting


def submitted(sent: Submitting, answer: CreatedJob | JobStatus, warning: str = "") -> Submitted:
    """Return the state of a job that the service has. Raises InDoubtError for a bad SIGNATURE."""
    return Submitted(
        job_id=answer.job_id,
        signature=signature.text(answer.signature_file_contents or "", answer.job_id),
        shipping_address=answer.aws_shipping_address or "",
        warning=warning,
        # The service ends the job 30 days after its own date, not after ours.
        submitted_at=answer.creation_date or sent.sent_at,
        drive=sent.drive,
        artifact_list=tuple(
            Artifact(one.description or "", one.url or "") for one in answer.artifact_list
        ),
    )
