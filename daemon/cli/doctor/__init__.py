"""`driveprep doctor`: whether this machine can do the work, and what to do where it cannot.

Makes no job and writes no file. What this user has no permission to see is reported as unseen,
never taken for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from daemon.cli.doctor import endpoint, machine, sandbox, shared, state
from daemon.cli.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]


def examine(path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Every finding, each as soon as it is known; the slow ones, which ask the service, last."""
    yield from machine.drivers()
    yield from machine.identities()
    yield from machine.unit()
    yield from machine.group()
    settings, findings = state.settings(path, environment)
    yield from findings
    if settings:
        yield from state.spool(settings)
        yield from shared.pool(settings)
    table = sandbox.table(settings) if settings else None
    yield from sandbox.mount_roots(table)
    yield from sandbox.drives(table)
    if settings:
        yield from endpoint.service(settings, sandbox.environment(settings))
    else:
        yield Finding(Verdict.UNSEEN, "service", "not checked: there is no usable configuration")
