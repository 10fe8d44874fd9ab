"""One job's path: intake, submission, reconciliation, signing, polling, papers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.preparation.intake import Intake
    from daemon.preparation.pairing import Pairing
    from daemon.preparation.polling import StatusPoller
    from daemon.preparation.steps import Preparation

__all__ = ["Intake", "Pairing", "Preparation", "StatusPoller"]

# `status` needs only the pairing, and must not wait for the rest.
_MODULES = {
    "Intake": "intake",
    "Pairing": "pairing",
    "Preparation": "steps",
    "StatusPoller": "polling",
}


def __getattr__(name: str) -> object:
    """Load a name of the interface when it is first used, PEP 562."""
    if name not in _MODULES:
        raise AttributeError(f"{__name__} has no {name}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
