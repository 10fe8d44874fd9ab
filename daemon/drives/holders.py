"""The processes that use a drive and keep it from being unmounted, for the commands that root runs.

The service itself cannot ask: in its sandbox it does not see the processes of other users.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.system.printable import printable

SEARCH_SECONDS = 2.0  # a machine with thousands of processes is not searched to the end
MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has its working folder, its program or an open file on a drive."""

    pid: int
    name: str


def find(
    mount_points: Collection[str], *, steady: Callable[[], float] = time.monotonic
) -> Mapping[str, Sequence[Holder]]:
    """The processes that use the drives at these mount points, as far as this user may see them.

    Touches no drive, so it cannot hang with one. Processes that end meanwhile are left out.
    """
    found: dict[str, list[Holder]] = {}
    places = [place for place in mount_points if place != "/"]  # every process uses that
    if not places:
        return found
    import psutil  # noqa: PLC0415 - only the commands that show this should pay for loading it

    deadline = steady() + SEARCH_SECONDS
    for process in psutil.process_iter():
        if steady() > deadline:
            break
        with suppress(psutil.Error):  # it has ended, or it is hidden from this user
            for place in _used(process.pid, places):
                found.setdefault(place, []).append(Holder(process.pid, process.name()))
    return found


def describe(holders: Sequence[Holder]) -> str:
    """Such as "in use by vlc (process 4711)", safe to print."""
    shown = [f"{printable(one.name)} (process {one.pid})" for one in holders[:MAX_SHOWN]]
    more = [f"{len(holders) - MAX_SHOWN} more"] if len(holders) > MAX_SHOWN else []
    return f"in use by {', '.join([*shown, *more])}"


def _used(pid: int, places: Collection[str]) -> set[str]:
    if pid == os.getpid():
        return set()
    paths = list(_paths(pid))
    return {place for place in places if any(f"{path}/".startswith(f"{place}/") for path in paths)}


def _paths(pid: int) -> Iterator[str]:
    """The working folder, the program and the open files and folders of a process.

    psutil's open_files() leaves folders out, and calls stat() on each file, which can hang with a
    dead drive or file server. Reading the links does not touch what they lead to.
    """
    links = [f"/proc/{pid}/cwd", f"/proc/{pid}/exe"]
    with suppress(OSError):
        links += [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    for link in links:
        with suppress(OSError):
            yield str(Path(link).readlink())
