"""`driveprep format`: a person has a whole disk made into the NTFS drive of a deviceId.

What would be lost is shown, and the disk's serial must be typed. Where config.yml would not
recognise the drive afterwards, it is not erased in the first place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from daemon.drives import probes, sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.medium import formatting, losses
from daemon.drives.medium.contents import readable
from daemon.drives.medium.losses import Losses
from daemon.errors import DriveError
from daemon.system import programs
from daemon.system.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.cli.formatting.plan import Rules

Ask = Callable[[str], str]  # puts a question to a person; the answer as typed

ENOUGH = 4  # characters of a serial, from its end
UDEV_SETTLE_SECONDS = 10  # udev's programs seldom need more than one


def run(path: Path, device_id: str, ask: Ask, rules: Rules) -> None:
    """Erase the disk at `path` and make it the NTFS drive `device_id`, once a person has agreed.

    Raises DriveError where that is not allowed or fails. Safe to repeat after each failure.
    """
    check_programs()
    disk = formatting.find(path)
    seen = formatting.probe(disk, disk)
    rules.check(seen, device_id)
    lost = losses.find(seen, rules.prepared)
    with formatting.hold(disk) as descriptor:
        found = formatting.probe(disk, disk)
        rules.check(found, device_id)
        _show(found, device_id, lost)
        _confirm(found, device_id, rules.disks, ask)
        made = formatting.make_ntfs(disk, descriptor, device_id)
    settle()
    click.echo(f"{made.describe()} is NTFS, as read back, and recognised as {device_id}.")
    click.echo(f"Mount it in the desktop, or with: udisksctl mount -b {made.device.node}")


def ask_terminal(question: str) -> str:
    """Return what a person types at the terminal. Raises DriveError without a terminal."""
    if not sys.stdin.isatty():
        raise DriveError("format needs a person at a terminal", formatting.UNTOUCHED)
    answer: str = click.prompt(question, default="", show_default=False)
    return answer


def proof(disk: Unmounted, device_id: str, here: Iterable[Unmounted]) -> tuple[str, str]:
    """Return what proves that a person means this disk, and what it is called.

    The last four characters of the serial are on the disk's label. Where another disk that is here
    has the same, it is the whole serial; without a serial, it is the deviceId.
    """
    serial = _serial(disk)
    if not serial:
        return device_id, "the deviceId"
    end = serial[-ENOUGH:]
    others = [one for one in here if one.device.number != disk.device.number]
    if any(_serial(one).endswith(end) for one in others):
        return serial, f"its whole serial (another disk here ends with {end}, too)"
    return end, f"the last {ENOUGH} characters of its serial"


def is_agreed(answer: str, disk: Unmounted, proved: str) -> bool:
    """Return whether the answer is the proof, or the whole serial, as a scanner types it."""
    return bool(proved) and answer.strip() in {proved, _serial(disk) or proved}


def check_programs() -> None:
    """Raise DriveError if a program that formatting needs is not installed."""
    needed = formatting.FORMAT_PROGRAMS
    missing = [name for name in needed if not programs.find(name, programs.SYSTEM)]
    if missing:
        packages = sorted({needed[name] for name in missing})
        raise DriveError(
            f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(packages)}"
        )


def _show(disk: Unmounted, device_id: str, lost: Losses) -> None:
    click.secho(f"All that is on {disk.device.node} will be ERASED:", bold=True)
    click.echo(f"   model   {printable(disk.identity.model or 'not known')}")
    click.echo(f"   serial  {_serial(disk) or 'not known'}")
    click.echo(f"   size    {_exactly(disk.device.size)}")
    click.echo(f"   on it   {lost.text}")
    for part in (disk.device, *sysfs.built_on(disk.device)):
        on_it = formatting.probe(part, disk.device).identity
        label = f' with the label "{printable(on_it.label)}"' if on_it.label else ""
        held = f"{on_it.file_system or 'no file system known'}{label}"
        click.echo(f"   {part.node}, {_exactly(part.size)}: {held}")
    click.echo(f"It becomes one NTFS partition with the label {device_id}.")


def _exactly(size: int) -> str:
    """Return such as "1.0 TB (1,000,204,886,016 bytes)": like on a sticker, and exactly."""
    return f"{readable(size)} ({size:,} bytes)"


def _confirm(disk: Unmounted, device_id: str, here: Iterable[Unmounted], ask: Ask) -> None:
    proved, what = proof(disk, device_id, here)
    if not is_agreed(ask(f"To erase it, type {what}"), disk, proved):
        raise DriveError(f"that is not {what} of {disk.device.node}", formatting.UNTOUCHED)


def _serial(disk: Unmounted) -> str:
    """Return the serial as it is shown; "" if it is not known."""
    return printable(disk.identity.serial or "").strip()


def settle() -> None:
    """Wait until udev has processed the new drive, so that the desktop can mount it at once."""
    if probes.UDEV_CONTROL.exists() and programs.find("udevadm", programs.SYSTEM):
        command = ["udevadm", "settle", f"--timeout={UDEV_SETTLE_SECONDS}"]
        with suppress(OSError):  # the drive is ready all the same
            programs.run(command, programs.SYSTEM, UDEV_SETTLE_SECONDS + 1)
