"""Drives that are prepared and have not left: to erase one is to lose its SIGNATURE."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from daemon.jobs import reader
from daemon.jobs.job import drive_of
from daemon.system.printable import printable


def by_uuid(spool: Path) -> Mapping[str, str]:
    """Return, by the UUIDs of their file systems, what drives of open jobs are prepared for.

    Raises JournalError.
    """
    return {
        str(uuid): f"the drive of job {job.job_id or '?'} for {printable(job.device_id)}"
        for job in reader.recent(spool, time.time())
        if (uuid := drive_of(job).get("uuid")) and not (job.is_closed or job.shipment)
    }
