"""`driveprep format`: a person has a whole disk made into the NTFS drive of a deviceId.

What would be lost is shown, and the disk's serial must be typed. Where config.yml would not
recognise the drive afterwards, it is not erased in the first place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from daemon.drives import probes, sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.medium import formatting
from daemon.drives.recognition import Recognition
from daemon.errors import DriveError
from daemon.system import programs
from daemon.system.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

Ask = Callable[[str], str]  # puts a question to a person; the answer as typed

UDEV_SETTLE_SECONDS = 10  # udev's programs seldom need more than one


def run(
    path: Path,
    device_id: str,
    ask: Ask,
    *,
    recognition: Recognition,
    internal: bool,
) -> None:
    """Erase the disk at `path` and make it the NTFS drive `device_id`, once a person has agreed.

    Raises DriveError where that is not allowed or fails. Safe to repeat after each failure.
    """
    _check_programs()
    formatting.check_label(device_id)
    disk = formatting.find(path)
    formatting.check_erasable(disk, internal=internal)
    with formatting.hold(disk) as descriptor:
        found = formatting.probe(disk, disk)
        check_recognisable(found, device_id, recognition)
        _show(found, device_id)
        _confirm(found, ask)
        made = formatting.make_ntfs(disk, descriptor, device_id)
    _settle()
    click.echo(f"{made.describe()} is NTFS, as read back, and recognised as {device_id}.")
    click.echo(f"Mount it in the desktop, or with: udisksctl mount -b {made.device.node}")


def ask_terminal(question: str) -> str:
    """Return what a person types at the terminal. Raises DriveError without a terminal."""
    if not sys.stdin.isatty():
        raise DriveError("format needs a person at a terminal", formatting.UNTOUCHED)
    answer: str = click.prompt(question, default="", show_default=False)
    return answer


def check_recognisable(disk: Unmounted, device_id: str, recognition: Recognition) -> None:
    """Raise DriveError where the disk, once formatted, would be recognised as none or another.

    Formatting gives a new uuid and partuuid, so that a deviceId known by one of them never fits.
    """
    future = replace(disk.identity, file_system="ntfs", label=device_id, uuid=None, part_uuid=None)
    known = recognition.device_ids(Unmounted(disk.device, future))
    if device_id not in known:
        raise DriveError(
            f"{disk.describe()} would not be recognised as {device_id}, even when formatted",
            f"{recognition.explain_absent(device_id, []).hint}"
            " Formatting gives it a new uuid and partuuid.",
        )
    if others := sorted(known & recognition.devices.keys() - {device_id}):
        raise DriveError(
            f"config.yml knows {disk.describe()} as {', '.join(map(printable, others))}",
            "Take the right drive, or correct `devices` in config.yml.",
        )


def is_agreed(answer: str, disk: Unmounted) -> bool:
    """Return whether the answer is the disk's serial or, without a serial, its size in bytes."""
    if disk.identity.serial:
        return answer.strip() == printable(disk.identity.serial).strip()
    return re.sub(r"[\s,.'_]", "", answer) == str(disk.device.size)


def readable(size: int) -> str:
    """Return such as "1.0 TB (1,000,204,886,016 bytes)": like on a sticker, and exactly."""
    unit, power = next(
        (unit, power)
        for unit, power in (("TB", 12), ("GB", 9), ("MB", 6), ("kB", 3), ("B", 0))
        if size >= 10**power or not power
    )
    return f"{size / 10**power:.1f} {unit} ({size:,} bytes)"


def _check_programs() -> None:
    needed = formatting.FORMAT_PROGRAMS
    missing = [name for name in needed if not programs.find(name, programs.SYSTEM)]
    if missing:
        packages = sorted({needed[name] for name in missing})
        raise DriveError(
            f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(packages)}"
        )


def _show(disk: Unmounted, device_id: str) -> None:
    click.secho(f"All that is on {disk.device.node} will be ERASED:", bold=True)
    click.echo(f"   model   {printable(disk.identity.model or 'not known')}")
    click.echo(f"   serial  {printable(disk.identity.serial or 'not known')}")
    click.echo(f"   size    {readable(disk.device.size)}")
    for part in (disk.device, *sysfs.built_on(disk.device)):
        on_it = formatting.probe(part, disk.device).identity
        label = f' with the label "{printable(on_it.label)}"' if on_it.label else ""
        held = f"{on_it.file_system or 'no file system known'}{label}"
        click.echo(f"   {part.node}, {readable(part.size)}: {held}")
    click.echo(f"It becomes one NTFS partition with the label {device_id}.")


def _confirm(disk: Unmounted, ask: Ask) -> None:
    what = "serial" if disk.identity.serial else "size in bytes"
    if not is_agreed(ask(f"To erase it, type its {what}"), disk):
        raise DriveError(f"that is not the {what} of {disk.device.node}", formatting.UNTOUCHED)


def _settle() -> None:
    """Wait until udev has processed the new drive, so that the desktop can mount it at once."""
    if probes.UDEV_CONTROL.exists() and programs.find("udevadm", programs.SYSTEM):
        command = ["udevadm", "settle", f"--timeout={UDEV_SETTLE_SECONDS}"]
        with suppress(OSError):  # the drive is ready all the same
            programs.run(command, programs.SYSTEM, UDEV_SETTLE_SECONDS + 1)
