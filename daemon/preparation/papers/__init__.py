"""The papers of a prepared job: what is kept, and what goes into the box."""

from daemon.preparation.papers.asked import perform
from daemon.preparation.papers.contents import (
    MANIFEST,
    RECEIPT,
    SLIP,
    filed,
    files,
    folder,
    place,
    slip,
)

__all__ = ["MANIFEST", "RECEIPT", "SLIP", "filed", "files", "folder", "perform", "place", "slip"]
