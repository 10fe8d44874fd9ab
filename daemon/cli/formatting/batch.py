"""`driveprep format --batch`: a bench of disks, several at a time.

All or nothing is checked first. What would be lost is shown; only disks with nothing on them are
formatted without a further question.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import click

from daemon.cli.formatting import one
from daemon.cli.formatting.one import Ask
from daemon.cli.formatting.plan import Assignment, Rules
from daemon.cli.output import columns
from daemon.cli.progress import Bar
from daemon.drives.medium import formatting, losses
from daemon.drives.medium.contents import readable
from daemon.drives.medium.losses import Losses
from daemon.errors import DriveError

AT_ONCE = 8  # disks: most of the time is theirs, not the machine's


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one disk."""

    assignment: Assignment
    text: str
    is_made: bool


def run(assignments: Sequence[Assignment], ask: Ask, rules: Rules, *, erase: bool) -> bool:
    """Format the disks, once a person has agreed to what is lost; return whether all succeeded.

    Raises DriveError, and then nothing was written.
    """
    one.check_programs()
    with Bar("looking at the disks", len(assignments)) as bar, ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(
            bar.each(pool.map(lambda it: losses.find(it.disk, rules.prepared), assignments))
        )
    _show(assignments, found)
    _agree([lost for lost in found if not lost.is_nothing], ask, erase=erase)
    results = _format_all(list(zip(assignments, found, strict=True)), rules)
    one.settle()
    columns.show([("bay", "disk", "deviceId", "result"), *map(_result_row, results)])
    failed = [result for result in results if not result.is_made]
    click.echo(f"{len(results) - len(failed)} of {len(results)} disks are NTFS, as read back")
    return not failed


def _agree(lost: Sequence[Losses], ask: Ask, *, erase: bool) -> None:
    if not lost:
        return
    nodes = ", ".join(one.disk.device.node for one in lost)
    if not erase:
        raise DriveError(
            f"not empty: {nodes}", f"{formatting.UNTOUCHED} To erase what is on them, add --erase."
        )
    if ask(f"To erase {nodes}, type how many disks that is").strip() != str(len(lost)):
        raise DriveError("that is not their number", formatting.UNTOUCHED)


def _format_all(work: Sequence[tuple[Assignment, Losses]], rules: Rules) -> list[_Result]:
    """Format several disks at a time; one that fails stops no other.

    After Ctrl-C those under way are finished, and no others are begun.
    """
    with Bar("formatting", len(work)) as bar, ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(_format, *item, rules) for item in work]
        try:
            for done, _ in enumerate(as_completed(futures), 1):
                bar.reach(done)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
    return [
        _Result(assignment, f"NOT BEGUN. {formatting.UNTOUCHED}", is_made=False)
        if future.cancelled()
        else future.result()
        for future, (assignment, _) in zip(futures, work, strict=True)
    ]


def _format(assignment: Assignment, before: Losses, rules: Rules) -> _Result:
    device = assignment.disk.device
    try:
        now = losses.find(formatting.probe(device, device), rules.prepared)
        with formatting.hold(device) as descriptor:
            rules.check(now.disk, assignment.device_id)
            if losses.differs(before, now):
                raise DriveError("it is not as it was shown", formatting.UNTOUCHED)
            made = formatting.make_ntfs(device, descriptor, assignment.device_id)
    except DriveError as error:
        return _Result(assignment, f"FAILED: {error}. {error.hint}", is_made=False)
    return _Result(assignment, f"NTFS on {made.device.node}", is_made=True)


def _show(assignments: Sequence[Assignment], found: Sequence[Losses]) -> None:
    click.secho("All that is on these disks will be ERASED:", bold=True)
    rows = [
        (
            *_place(assignment),
            assignment.disk.identity.model or "",
            assignment.disk.identity.serial or "",
            readable(assignment.disk.device.size),
            lost.text,
            assignment.device_id,
        )
        for assignment, lost in zip(assignments, found, strict=True)
    ]
    columns.show([("bay", "disk", "model", "serial", "size", "what is lost", "becomes"), *rows])


def _result_row(result: _Result) -> tuple[str, ...]:
    return (*_place(result.assignment), result.assignment.device_id, result.text)


def _place(assignment: Assignment) -> tuple[str, str]:
    return assignment.bay, assignment.disk.device.node
