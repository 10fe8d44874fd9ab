"""The folders pending/, prepared/ and rejected/, and how files move through them."""

from daemon.spool.dropping import (
    SUFFIXES,
    ask_to_retry,
    drop,
    drop_all,
    ignored,
    is_manifest_name,
    safe_name,
)
from daemon.spool.filing import digest
from daemon.spool.questions import ask, leave
from daemon.spool.spool import Found, Spool

__all__ = [
    "SUFFIXES",
    "Found",
    "Spool",
    "ask",
    "ask_to_retry",
    "digest",
    "drop",
    "drop_all",
    "ignored",
    "is_manifest_name",
    "leave",
    "safe_name",
]
