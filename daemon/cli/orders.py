"""`driveprep shipped` and `driveprep dismiss`: what a person tells the daemon to record."""

from __future__ import annotations

import click

from daemon.config.loading import Config
from daemon.desk import elsewhere, orders
from daemon.documents.fields import Findings
from daemon.errors import DriveprepError
from daemon.manifest import device_range
from daemon.system.printable import printable


def ship(
    config: Config, words: tuple[str, ...], at: float, carrier: str, tracking: str, *, undo: bool
) -> None:
    """Have the daemon record that the drives of these jobs have left, or with `undo` have not.

    A word can be a range of deviceIds, HD001..HD040. `at` is in seconds since the epoch. Raises
    DriveprepError, and then none is recorded.
    """
    words = tuple(name for word in words for name in _expanded(word))
    if undo:
        answer = orders.undo_shipment(config, words)
    else:
        answer = orders.ship(config, words, at, carrier, tracking)
    for job in _carried_out(answer).get("jobs", ()):
        done = "is on the list again" if undo else "is shipped"
        click.echo(f"job {job['jobId']} for {printable(job['deviceId'])} {done}")


def print_papers(config: Config, words: tuple[str, ...], at: float) -> None:
    """Have the daemon print the papers of these jobs again.

    `at` is in seconds since the epoch. Raises DriveprepError, and then none is printed.
    """
    answer = _carried_out(orders.print_papers(config, words, at))
    for job in answer.get("jobs", ()):
        papers = " and ".join(config.print)
        click.echo(
            f"{papers} of job {job['jobId']} for {printable(job['deviceId'])}: to be printed"
        )


def dismiss(config: Config, words: tuple[str, ...]) -> None:
    """Dismiss the rejections of manifests or deviceIds; of all without any word.

    Raises DriveprepError if a word has none.
    """
    answer = orders.dismiss(config, words) if words else orders.dismiss_all(config)
    counts: dict[str, int] | None = _carried_out(answer).get("dismissed")
    if counts is None:
        return
    done = sum(counts.values())
    click.echo(f"{done} dismissed; manifests and reasons stay in {config.spool / 'rejected'}")
    if missing := [word for word, count in counts.items() if word and not count]:
        elsewhere.refuse(config, missing[0], is_known=True)
        hint = "`driveprep status` shows the rejections, with the names of their manifests."
        names = ", ".join(map(printable, missing))
        raise DriveprepError(f"there is no rejection of {names}", hint)


def retry(config: Config, device_id: str, *, as_it_is: bool, same_drive: bool) -> None:
    """Have the daemon try again at once; use its drive `as_it_is`, or take it for the `same_drive`.

    Raises DriveprepError, also if no job waits for a drive that is to be used as it is.
    """
    if as_it_is:
        _carried_out(orders.retry_as_it_is(config, device_id))
    if same_drive or not as_it_is:
        orders.retry(config, device_id, same_drive=same_drive)
    click.echo(f"the daemon is asked to try {device_id} again; see `driveprep status`")


def _expanded(word: str) -> list[str]:
    """Return the deviceIds of a range, or the word itself."""
    if ".." not in word:
        return [word]
    findings = Findings("JOB")
    names = [row[device_range.DEVICE_ID].text for row in device_range.read([word], findings).rows]
    for fault in findings.faults:
        raise DriveprepError(
            f"{fault.key} {fault.problem}", f"Nothing was recorded: {fault.remedy}"
        )
    return names


def _carried_out(answer: orders.Answer | None) -> orders.Answer:
    if answer is None:
        click.echo("the driveprep daemon is not running; it does so when it starts", err=True)
    return answer or {}
