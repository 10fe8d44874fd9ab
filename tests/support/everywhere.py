"""All that crashes can lead to: a life of the daemon from each world that a crash leaves."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import remains
from outside import TIMEOUT
from world import Photo, World

TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# An effect, what a kill before it would leave, and what a power cut would.
Album = list[tuple[str, Photo, Photo]]


@dataclass
class Tally:
    """What was tried."""

    lives: dict[str, list[str]] = field(default_factory=dict)  # world -> the worlds of its kills
    first: str = ""

    @property
    def singles(self) -> int:
        """Effects before which the first daemon was killed."""
        return len(self.lives[self.first])

    @property
    def pairs(self) -> int:
        """Effects before which the second daemon was killed, for each way the first one died."""
        return sum(len(self.lives[left]) for left in self.lives[self.first])

    def __str__(self) -> str:
        return f"{self.singles} effects, {self.pairs} pairs, {len(self.lives)} worlds"


def crash_everywhere(world: World, check: Callable[[], None]) -> Tally:
    """Live from here, and from wherever any crashes lead; `check` at the end of each life."""
    start = world.photo()
    tally = Tally(first=key(start))
    waiting = deque([(start, ())])
    seen = {tally.first}
    while waiting:
        photo, past = waiting.popleft()
        tally.lives[key(photo)] = kills = []
        for what, *left in life(world, photo, check, past):
            for how, after in zip(("killed", "power cut"), left, strict=True):
                found = key(after)
                if how == "killed":
                    kills.append(found)
                if found not in seen:
                    seen.add(found)
                    waiting.append((after, (*past, f"{how} before {what}")))
    return tally


def life(
    world: World, photo: Photo, check: Callable[[], None] = lambda: None, past: tuple[str, ...] = ()
) -> Album:
    """One daemon from start to rest: what each crash would leave."""
    album: Album = []
    world.restore(photo)
    try:
        world.live(lambda what: album.append((what, world.photo(), world.photo_after_power_cut())))
        check()
    except BaseException as error:
        error.add_note("\nafter: ".join(["The daemon started", *past]))
        raise
    return album


def key(photo: Photo) -> str:
    """The same for worlds that no daemon can tell apart: times count by what they decide."""
    files = {
        name: data and TIMES.sub("T", data.decode())
        for name, data in photo.files.items()
        if not name.startswith("spool/journal.")
    }
    rows = [_row(row, photo.now) for row in remains.rows(photo.files)]
    made = [(job.job_id, job.manifest, job.progress_code) for job in photo.made]
    return repr((sorted(files.items()), rows, made, len(photo.mounted)))


def _row(row: dict[str, Any], now: float) -> dict[str, Any]:
    state = json.loads(row["fields"])
    obstacle = json.loads(row["obstacle"] or "{}")
    if "sent_at" in state:
        state["sent_at"] = min(now - state["sent_at"], 2 * TIMEOUT)
    if obstacle.get("retry_at"):
        obstacle["retry_at"] = max(0.0, obstacle["retry_at"] - now)
        obstacle["attempts"] = min(obstacle["attempts"], 5)  # from there on the pause is the same
    for times in (state, obstacle, row := dict(row)):
        for name in ("submitted_at", "signed_at", "mounted_at", "since"):
            times.pop(name, None)
    progress = json.loads(row["progress"] or "{}")
    progress["changes"] = [*progress.get("changes", ())]  # when each came decides nothing
    return row | {"fields": state, "obstacle": obstacle, "progress": progress}
