"""The two clocks of a machine, passed to whatever needs the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]  # seconds


@dataclass(frozen=True, slots=True)
class Clocks:
    """Both clocks. Only the first can be compared with times from outside this process."""

    wall: Clock = time.time  # seconds since the epoch; it can be set, also backwards
    steady: Clock = time.monotonic  # cannot be set; stands still while the machine sleeps
