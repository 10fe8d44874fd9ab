"""`driveprep shipped`: a drive has left, and its job leaves the daily list."""

from __future__ import annotations

import click

from daemon.cli.orders import asking
from daemon.config.loading import Config
from daemon.system.printable import printable


def ship(
    config: Config, words: tuple[str, ...], at: float, carrier: str, tracking: str, *, undo: bool
) -> None:
    """Have the daemon record that the drives of these jobs have left, or with `undo` have not.

    `at` is in seconds since the epoch. Raises DriveprepError, and then none is recorded.
    """
    order: dict[str, object] = {"order": "not shipped", "words": list(words)}
    if not undo:
        shipment = {"at": at, "carrier": carrier, "tracking": tracking}
        order |= {"order": "ship"} | shipment
    answer = asking.give(config, order)
    for job in answer["jobs"] if answer else ():
        done = "is on the list again" if undo else "is shipped"
        click.echo(f"job {job['jobId']} for {printable(job['deviceId'])} {done}")
