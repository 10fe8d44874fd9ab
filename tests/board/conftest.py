"""The fixtures of the board's tests: a daemon, and a board beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from board_process import BoardProcess, Page, beside
from daemon_process import DaemonProcess, service, start

__all__ = ["service", "start"]


@pytest.fixture
def daemon(start) -> DaemonProcess:
    """Return a daemon that runs."""
    return start()


@pytest.fixture
def board(daemon, tmp_path) -> Iterator[BoardProcess]:
    """Yield a board beside the daemon."""
    with beside(daemon, tmp_path / "board") as process:
        yield process


@pytest.fixture
def page(board) -> Page:
    """Return the page of an operator who has logged in."""
    return board.log_in()
