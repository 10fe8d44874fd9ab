"""`driveprep dismiss`: rejections that were dealt with leave the status."""

from __future__ import annotations

import click

from daemon.cli.orders import asking
from daemon.config.loading import Config
from daemon.errors import DriveprepError
from daemon.system.printable import printable


def dismiss(config: Config, words: tuple[str, ...]) -> None:
    """Dismiss the rejections of manifests or deviceIds; of all without any word.

    Raises DriveprepError if a word has none.
    """
    one: dict[str, object] = {"order": "dismiss", "words": list(words)}
    if (answer := asking.give(config, one if words else {"order": "dismiss all"})) is None:
        return
    counts: dict[str, int] = answer["dismissed"]
    done = sum(counts.values())
    click.echo(f"{done} dismissed; manifests and reasons stay in {config.spool / 'rejected'}")
    if missing := ", ".join(
        printable(word) for word, count in counts.items() if word and not count
    ):
        hint = "`driveprep status` shows the rejections, with the names of their manifests."
        raise DriveprepError(f"there is no rejection of {missing}", hint)
