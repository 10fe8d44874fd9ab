"""The list of a batch: which disk becomes the drive of which deviceId; or all that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from daemon.documents import table
from daemon.documents.fields import Findings, nearest
from daemon.documents.nodes import Scalar
from daemon.documents.redaction import shown
from daemon.documents.table import Table
from daemon.documents.text import refusal
from daemon.drives import sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.medium import formatting
from daemon.drives.recognition import Recognition
from daemon.errors import DocumentError, DriveError, ManifestError
from daemon.manifest.rules import is_known
from daemon.system.printable import printable

DEVICE_ID = "deviceId"
PLACES = ("bay", "serial", "device")
ADD_COLUMN = f"name a column {DEVICE_ID}, and one of {', '.join(PLACES)}"
WITHOUT_UDEV = "only udev knows bays and serials, and it describes no disk here"

Row = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One row: a disk, as it was found, and the deviceId whose drive it becomes."""

    bay: str  # "" if it is in none
    disk: Unmounted
    device_id: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides whether a disk may be formatted for a deviceId."""

    recognition: Recognition
    disks: Sequence[Unmounted]  # all of this machine: no two can be in one bay
    internal: bool  # disks that are neither removable nor in a named bay, too
    only_present: bool = False  # rows whose disks are not here are left out
    # What the drives of open jobs are prepared for, by the UUIDs of their file systems.
    prepared: Mapping[str, str] = field(default_factory=dict)

    def check(self, disk: Unmounted, device_id: str) -> None:
        """Raise DriveError if the disk must not become the drive of that deviceId."""
        bays = self.recognition.bays
        formatting.check_label(device_id)
        formatting.check_erasable(disk.device, internal=self.internal or bool(bays.of(disk)))
        bays.check(disk, self.disks)
        formatting.check_recognisable(disk, device_id, self.recognition)


def read(data: bytes, name: str, rules: Rules) -> list[Assignment]:
    """Return what a list asks for; columns for manifests in it do not count.

    Raises ManifestError with every fault; nothing is written.
    """
    findings = Findings(name)
    try:
        listed = _named(table.read(data, findings), findings)
    except DocumentError as error:
        raise ManifestError(str(error), error.faults) from error
    reading = _Reading(findings, rules)
    found = list(reading.assignments(listed.rows))
    if not findings.faults and not found:
        findings.fault(Scalar("", 1, 1), "", *_why_nothing(listed, rules))
    if findings.faults:
        ordered = sorted(findings.faults, key=lambda fault: (fault.line, fault.column))
        refused = refusal(ordered)
        raise ManifestError(str(refused), refused.faults, "Nothing was written.")
    if reading.left_out:
        click.echo(f"left out, not here: {', '.join(map(printable, reading.left_out))}", err=True)
    return found


def _why_nothing(listed: Table, rules: Rules) -> tuple[str, str]:
    if not listed.rows:
        return "has no rows", "write one for each disk"
    knows = any(disk.identity.by_udev for disk in rules.disks)
    return "names no disk that is here", "plug one in" if knows else WITHOUT_UDEV


def _named(listed: Table, findings: Findings) -> Table:
    """Return the list with its columns under their names; what is wrong with one is recorded.

    A misspelt column counts as the one that was meant, so that all other faults are found.
    """
    names = (DEVICE_ID, *PLACES)
    meant = {name: name for name in listed.columns if name in names}
    for name, cell in listed.columns.items():
        if name in names or is_known(name):
            continue
        near = nearest(name, [one for one in names if one not in meant])
        remedy = f"did you mean {near}?" if near else f"delete it, or {ADD_COLUMN}"
        findings.fault(cell, shown(name), "is not a known column", remedy)
        if near:
            meant[near] = name
    if DEVICE_ID not in meant or not set(PLACES) & meant.keys():
        top = next(iter(listed.columns.values()), Scalar("", 1, 1))
        findings.fault(top, "", "does not say which disk is for which deviceId", ADD_COLUMN)
        return Table({}, ())
    columns = {name: listed.columns[was] for name, was in meant.items()}
    return Table(
        columns, tuple({name: row[was] for name, was in meant.items()} for row in listed.rows)
    )


class _Reading:
    """The disks of this machine, and what the rows before have taken of them."""

    def __init__(self, findings: Findings, rules: Rules) -> None:
        self._findings = findings
        self._rules = rules
        self._taken: dict[str | int, int] = {}  # deviceIds and disks -> their lines
        self.left_out: list[str] = []  # deviceIds whose disks are not here

    def assignments(self, rows: Sequence[Row]) -> Iterator[Assignment]:
        """Yield what the rows without a fault ask for."""
        for row in rows:
            name, known = row[DEVICE_ID], len(self._findings.faults)
            place, number = self._disk(row)
            if number is None and len(self._findings.faults) == known:
                self.left_out.append(name.text)
            if not name.text:
                self._findings.fault(name, DEVICE_ID, "is empty", "write the drive's deviceId")
                continue
            is_new = self._take(name, name.text, f"the deviceId {shown(name.text)}")
            if number is not None and self._take(place, number, "this disk") and is_new:
                yield from self._checked(place, number, name.text)

    def _checked(self, cell: Scalar, number: int, device_id: str) -> Iterator[Assignment]:
        try:
            device = sysfs.read(number)
            formatting.check_whole(device)
            disk = formatting.probe(device, device)
            self._rules.check(disk, device_id)
        except DriveError as error:
            self._findings.fault(cell, "", str(error), error.hint)
            return
        yield Assignment(self._rules.recognition.bays.of(disk), disk, device_id)

    def _disk(self, row: Row) -> tuple[Scalar, int | None]:
        """Return the cell that names the disk, and the disk's number if all cells agree on it."""
        given = [(key, row[key]) for key in PLACES if key in row and row[key].text]
        if not given:
            remedy = f"fill in {', '.join(key for key in PLACES if key in row)}"
            self._findings.fault(row[DEVICE_ID], "", "no disk is named", remedy)
            return row[DEVICE_ID], None
        found = [self._find(key, cell) for key, cell in given]
        first = given[0][1]
        for (key, cell), number in zip(given, found, strict=True):
            if None not in found and number != found[0]:
                problem = f"{shown(cell.text)} is another disk than {shown(first.text)}"
                self._findings.fault(cell, key, problem, "correct one of them")
                return first, None
        return first, None if None in found else found[0]

    def _find(self, column: str, cell: Scalar) -> int | None:
        """Return the number of the disk that a cell names; where there is none, that is a fault."""
        if column == "device":
            return self._by_node(cell)
        bays = self._rules.recognition.bays
        values = [
            (bays.of(one) if column == "bay" else one.identity.serial or "", one)
            for one in self._rules.disks
        ]
        fits = [one for value, one in values if value == cell.text]
        if len(fits) == 1:
            return fits[0].device.number
        if fits:
            problem = f"{shown(cell.text)} is " + " and ".join(one.describe() for one in fits)
            self._findings.fault(cell, column, problem, "unplug one, or name the disk by `device`")
        elif column == "bay" and cell.text not in bays.by_path.values():
            known = list(dict.fromkeys(bays.by_path.values()))
            problem = f"{shown(cell.text)} is not a bay"
            listed = f"`bays` in config.yml has: {', '.join(known) or 'none'}"
            self._findings.fault(cell, column, problem, _meant(cell, known) or listed)
        elif not self._rules.only_present:
            self._findings.fault(cell, column, *self._why_absent(column, cell, values))
        return None

    def _by_node(self, cell: Scalar) -> int | None:
        if self._rules.only_present and not Path(cell.text).exists():
            return None
        try:
            return formatting.find(Path(cell.text)).number
        except DriveError as error:
            self._findings.fault(cell, "device", str(error), error.hint)
            return None

    def _why_absent(
        self, column: str, cell: Scalar, values: Sequence[tuple[str, Unmounted]]
    ) -> tuple[str, str]:
        """Return why no disk is found by a value that one could have, and what to do."""
        text = shown(cell.text)
        problem = (
            f"no disk is in {text}"
            if column == "bay"
            else f"no disk with the serial {text} is here"
        )
        if not any(disk.identity.by_udev for _, disk in values):
            return problem, WITHOUT_UDEV
        near = _meant(cell, (value for value, _ in values)) if column == "serial" else ""
        return problem, near or "plug it in; `driveprep drives` lists the disks"

    def _take(self, cell: Scalar, key: str | int, what: str) -> bool:
        line = self._taken.setdefault(key, cell.line)
        if line != cell.line:
            problem = f"{what} is already on line {line}"
            self._findings.fault(cell, "", problem, "delete one of the two rows")
        return line == cell.line


def _meant(cell: Scalar, names: Iterable[str]) -> str:
    """Return a question for the name that differs in its case, signs or leading zeros alone.

    One that differs in a digit is another disk.
    """
    meant = next((name for name in names if name and _bare(name) == _bare(cell.text)), "")
    return f"did you mean {shown(meant)}?" if meant else ""


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold().lstrip("0")
