"""Is there ever a second job? Every interleaving of two stations, database, network and service.

One manifest, one deviceId; the drive may be at either station. Time is a small integer, and WINDOW
is the service's: it refuses older requests. A station that is frozen is one whose turn does not
come; a crash keeps what its journal holds. `SENTENCES` are those of docs/pool.md: they
are switched off, to see that they are needed. The search is wide, so what it finds is shortest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

TIMES, WINDOW, TAKE_OVERS = 4, 1, 2
SENTENCES = (
    "claim_has_the_timestamp",  # the request that is sent is the one that was announced
    "another_request_another_claim",  # an UPDATE that only the holder can do
    "doubt_waits_for_the_window",  # also after a take-over and after a loss
    "service_has_a_window",
    "closed_after_a_loss",  # until both have said what they hold
    "unknown_claim_is_in_doubt",  # of a restored journal
    # After a loss; one of two is enough, so that pairs are switched off.
    "newest_generation_holds",
    "latest_timestamp_counts",
    "reopened_is_in_doubt",
)
SWITCHED_OFF = [
    *((one,) for one in SENTENCES[:6]),
    ("newest_generation_holds", "latest_timestamp_counts"),
    ("newest_generation_holds", "reopened_is_in_doubt"),
]
State = tuple[Any, ...]


@dataclass(frozen=True)
class Station:
    """What a station's journal holds, and what its process is about to do."""

    step: str = "idle"  # idle, signed, claimed, doubt (its own), other (another's), has (a job)
    sent_at: int = 0  # the Timestamp of its request
    generation: int = 0  # of the claim that it holds or held
    epoch: int = 0  # of the database that it has seen
    has_said: bool = False
    restores: int = 0  # of its journal, from a backup that has nothing of this job


@dataclass(frozen=True)
class World:
    """Everything that may differ."""

    now: int = 0
    jobs: int = 0
    network: frozenset[tuple[int, str]] = frozenset()  # requests on their way: Timestamp, sender
    claim: tuple[str, int, int] | None = None  # holder, Timestamp, generation
    epoch: int = 0  # raised when the database loses the claim
    is_open: bool = True
    losses: int = 0  # that the database may still have
    take_overs: int = TAKE_OVERS
    a: Station = field(default_factory=Station)
    b: Station = field(default_factory=Station)


def successors(world: World, on: frozenset[str], restores: int) -> Iterator[World]:
    """Yield every world that can be next."""
    if world.now < TIMES:
        yield replace(world, now=world.now + 1)
    yield from arrivals(world, on)
    if world.losses and world.claim:
        yield replace(world, claim=None, epoch=world.epoch + 1, losses=world.losses - 1)
    for name, other in (("a", "b"), ("b", "a")):
        yield from steps(world, name, other, on)
        me: Station = getattr(world, name)
        if me.restores < restores and me.step != "idle":
            fresh = Station(epoch=me.epoch, restores=me.restores + 1)
            yield replace(world, **{name: fresh})


def arrivals(world: World, on: frozenset[str]) -> Iterator[World]:
    """A request is lost, refused, or makes a job whose answer may be lost."""
    for request in world.network:
        rest, (sent_at, sender) = world.network - {request}, request
        yield replace(world, network=rest)
        if world.now <= sent_at + WINDOW or "service_has_a_window" not in on:
            made = replace(world, network=rest, jobs=world.jobs + 1)
            yield made
            if getattr(world, sender).step == "doubt":
                yield replace(made, **{sender: replace(getattr(world, sender), step="has")})


def steps(world: World, name: str, other: str, on: frozenset[str]) -> Iterator[World]:
    """What one station, or a person at it, can do."""
    me: Station = getattr(world, name)
    holds = world.claim is not None and (world.claim[0], world.claim[2]) == (name, me.generation)
    is_seen = me.epoch == world.epoch and world.is_open
    may_write = is_seen or "closed_after_a_loss" not in on

    def to(step: str, changes: dict[str, Any] | None = None, **of_world: Any) -> World:
        return replace(world, **{name: replace(me, step=step, **(changes or {}))}, **of_world)

    if not is_seen and "closed_after_a_loss" in on and not me.has_said:
        yield from said(world, name)
        return
    if me.step == "idle":
        yield to("signed", {"sent_at": world.now})
        if world.claim and world.claim[0] == name and may_write:  # its journal does not know it
            step = "other" if "unknown_claim_is_in_doubt" in on else "idle"
            claim = world.claim if "unknown_claim_is_in_doubt" in on else None
            yield to(step, {"sent_at": world.claim[1], "generation": world.claim[2]}, claim=claim)
    is_of_other = world.claim is not None and world.claim[0] == other
    if me.step in {"idle", "lost"} and may_write and world.take_overs and is_of_other:
        taken = (name, world.claim[1], world.claim[2] + 1)
        changes = {"sent_at": taken[1], "generation": taken[2]}
        yield to("other", changes, claim=taken, take_overs=world.take_overs - 1)
    if me.step == "signed":
        if world.claim is None and may_write:
            yield to("claimed", {"generation": 1}, claim=(name, me.sent_at, 1))
        else:
            yield to("idle", {"sent_at": 0})
    if (
        me.step == "claimed"
    ):  # `Submitting` is journaled; the request leaves at once, later or never
        sent_at = me.sent_at if "claim_has_the_timestamp" in on else world.now
        yield to("doubt", network=world.network | {(sent_at, name)})
        yield to("doubt")
    yield from settled(world, name, me, to, on, holds=holds, may_write=may_write)


def settled(
    world: World,
    name: str,
    me: Station,
    to: Any,
    on: frozenset[str],
    *,
    holds: bool,
    may_write: bool,
) -> Iterator[World]:
    """What a station in doubt can do after it has read the service's list."""
    if me.step in {"doubt", "other"} and world.jobs:
        yield to("has")
    if world.jobs:
        return
    is_own_landed = me.step == "doubt" and not any(who == name for _, who in world.network)
    is_past = world.now > me.sent_at + WINDOW or "doubt_waits_for_the_window" not in on
    if not (is_own_landed or (me.step == "other" and is_past)):
        return
    if "another_request_another_claim" not in on:
        yield to("claimed", {"sent_at": world.now})
    elif holds and may_write:
        claim = (name, world.now, me.generation)
        yield to("claimed", {"sent_at": world.now}, claim=claim)


def said(world: World, name: str) -> Iterator[World]:
    """A station says what it holds; the pool is closed meanwhile. Not one step for both.

    A worker that has its claim may send at any time: that is a request that is on its way.
    """
    me: Station = getattr(world, name)
    step = me.step if me.step in {"doubt", "other", "has"} else "idle"
    step = "doubt" if me.step == "claimed" else step
    after = replace(world, is_open=False, **{name: replace(me, step=step, has_said=True)})
    yield after
    if me.step == "claimed":
        yield replace(after, network=world.network | {(me.sent_at, name)})


def reopened(world: World, on: frozenset[str]) -> Iterator[World]:
    """Both have said what they hold: the last one opens the pool again."""
    if world.is_open or not (world.a.has_said and world.b.has_said):
        return
    both = {"a": world.a, "b": world.b}
    held = {name: one for name, one in both.items() if one.step not in {"idle", "signed", "lost"}}
    claim, new = None, {}
    if held:
        newest = max(held, key=lambda one: held[one].generation)
        holder = newest if "newest_generation_holds" in on else min(held)
        latest = max(one.sent_at for one in held.values())
        sent_at = latest if "latest_timestamp_counts" in on else held[holder].sent_at
        generation = max(one.generation for one in held.values()) + 1
        claim = (holder, sent_at, generation)
    for name, one in both.items():
        step, own = one.step, {}
        if name in held and one.step != "has":
            is_holder = claim is not None and claim[0] == name
            step = "other" if is_holder else "lost"
            if is_holder and "reopened_is_in_doubt" not in on:
                step = one.step
        if claim and claim[0] == name:
            own = {"sent_at": claim[1], "generation": claim[2]}
        new[name] = replace(one, step=step, epoch=world.epoch, has_said=False, **own)
    yield replace(world, claim=claim, is_open=True, **new)


def second_job(*without: str, losses: int, restores: int) -> tuple[int, int, list[World]]:
    """Return how many worlds there are, in how many there is a job, and the way to a second one."""
    on = frozenset(SENTENCES) - {*without}
    begin = World(losses=losses)
    came_from: dict[World, World | None] = {begin: None}
    todo, with_job = deque([begin]), 0
    while todo:
        world = todo.popleft()
        with_job += world.jobs == 1
        if world.jobs > 1:
            way = [world]
            while (before := came_from[way[-1]]) is not None:
                way.append(before)
            return len(came_from), with_job, way[::-1]
        for after in (*successors(world, on, restores), *reopened(world, on)):
            if after not in came_from:
                came_from[after] = world
                todo.append(after)
    return len(came_from), with_job, []


@pytest.mark.parametrize(("losses", "restores"), [(1, 0), (0, 1)])
def test_there_is_never_a_second_job(losses, restores):
    """Whatever happens in whatever order; and there are many worlds with one.

    The database loses what it had, or a journal does. If both do, only papers and the service's
    list know of the job: the witnesses of docs/backup.md.
    """
    worlds, with_job, way = second_job(losses=losses, restores=restores)

    assert not way, "\n".join(map(str, way))
    assert (worlds > 10_000, with_job > 1_000) == (True, True)


@pytest.mark.parametrize("sentences", SWITCHED_OFF)
def test_the_sentences_are_needed(sentences):
    """Without them there are two jobs."""
    is_of_journal = sentences == ("unknown_claim_is_in_doubt",)
    _, _, way = second_job(*sentences, losses=not is_of_journal, restores=is_of_journal)

    assert way
