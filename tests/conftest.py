"""What all tests share: they do not depend on this machine's drives, mounts and environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import private_mounts
import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("as_operator", "daemon_process", "loop_drives")

# What a shell, a CI job or systemd may have exported, and what the daemon or a program that it
# runs would act on.
FOREIGN = ("AWS_", "LANG", "LC_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY")
FOREIGN += ("DRIVEPREP_CONFIG", "JOURNAL_STREAM", "LISTEN_", "COLUMNS", "LINES", "NO_COLOR")

# How long an example takes says nothing on a busy machine; pytest-timeout ends what hangs.
settings.register_profile("driveprep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("driveprep")

WHY_NOT_PRIVATE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's environment and mounts. With pytest-xdist each worker does so."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ["LC_ALL"] = "C.UTF-8"
    needed = [config.rootpath, Path(config.option.basetemp or config.rootpath)]
    config.stash[WHY_NOT_PRIVATE] = private_mounts.enter(*needed)


def pytest_report_header(config: pytest.Config) -> str:
    """Show whether the tests see the mounts of this machine."""
    reason = config.stash[WHY_NOT_PRIVATE]
    return f"mounts: this machine's ({reason})" if reason else "mounts: private"


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Iterator[Any]:
    """Let a worker of pytest-xdist report output with file names that are not UTF-8."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value
