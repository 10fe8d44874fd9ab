"""The service's API, REST 2010-06-01, from both sides: client and emulator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.importexport.client import Client
    from daemon.importexport.credentials import Credentials
    from daemon.importexport.results import CreatedJob, JobStatus

__all__ = ["Client", "CreatedJob", "Credentials", "JobStatus"]

# `status` needs only the credentials, and must not wait for a client.
_MODULES = {
    "Client": "client",
    "CreatedJob": "results",
    "Credentials": "credentials",
    "JobStatus": "results",
}


def __getattr__(name: str) -> object:
    """Load a name of the interface when it is first used, PEP 562."""
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no {name}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
