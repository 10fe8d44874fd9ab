"""The list of a batch: which disk becomes the drive of which deviceId; or all that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.documents import table
from daemon.documents.fields import Findings
from daemon.documents.nodes import Scalar
from daemon.documents.redaction import shown
from daemon.documents.text import refusal
from daemon.drives import sysfs
from daemon.drives.drive import Unmounted
from daemon.drives.inventory import Drives
from daemon.drives.medium import formatting
from daemon.drives.recognition import Recognition
from daemon.errors import DocumentError, DriveError, ManifestError
from daemon.manifest.rules import is_known

DEVICE_ID = "deviceId"
PLACES = ("bay", "serial", "device")
ADD_COLUMN = f"name a column {DEVICE_ID}, and one of {', '.join(PLACES)}"

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
    internal: bool  # disks that are neither removable nor in a named bay, too
    only_present: bool = False  # rows whose disks are not here are left out


def read(data: bytes, name: str, rules: Rules) -> list[Assignment]:
    """Return what a list asks for; columns for manifests in it do not count.

    Raises ManifestError with every fault; nothing is written.
    """
    findings = Findings(name)
    try:
        listed = table.read(data, findings)
    except DocumentError as error:
        raise ManifestError(str(error), error.faults) from error
    _check_columns(listed.columns, findings)
    found = [] if findings.faults else list(_Reading(findings, rules).assignments(listed.rows))
    if not findings.faults and not found:
        findings.fault(Scalar("", 1, 1), "", "names no disk that is here", "write a row for each")
    if findings.faults:
        refused = refusal(findings.faults)
        raise ManifestError(str(refused), refused.faults, "Nothing was written.")
    return found


def check(disk: Unmounted, device_id: str, rules: Rules) -> None:
    """Raise DriveError if the disk must not become the drive of that deviceId."""
    formatting.check_label(device_id)
    is_in_bay = bool(rules.recognition.bays.of(disk))
    formatting.check_erasable(disk.device, internal=rules.internal or is_in_bay)
    formatting.check_recognisable(disk, device_id, rules.recognition)


def _check_columns(columns: Row, findings: Findings) -> None:
    top = next(iter(columns.values()), Scalar("", 1, 1))
    if DEVICE_ID not in columns or not set(PLACES) & columns.keys():
        findings.fault(top, "", "does not say which disk is for which deviceId", ADD_COLUMN)
    for name, cell in columns.items():
        if name not in {DEVICE_ID, *PLACES} and not is_known(name):
            findings.fault(
                cell, shown(name), "is not a known column", f"delete it, or {ADD_COLUMN}"
            )


class _Reading:
    """The disks of this machine, and what the rows before have taken of them."""

    def __init__(self, findings: Findings, rules: Rules) -> None:
        self._findings = findings
        self._rules = rules
        inventory = Drives()
        volumes = [*inventory.mounted(), *inventory.present()]
        self._disks = {one.device.disk: one for one in volumes if not one.device.is_gone}
        self._taken: dict[object, int] = {}  # disks and deviceIds -> their lines

    def assignments(self, rows: tuple[Row, ...]) -> Iterator[Assignment]:
        for row in rows:
            number = self._disk(row)
            name = row[DEVICE_ID]
            if not name.text:
                self._findings.fault(name, DEVICE_ID, "is empty", "write the drive's deviceId")
                continue
            is_new = self._take(name, name.text, f"the deviceId {shown(name.text)}")
            if number is None or not is_new:
                continue
            place = next(row[one] for one in PLACES if one in row and row[one].text)
            if self._take(place, number, "this disk"):
                yield from self._checked(place, number, name.text)

    def _checked(self, cell: Scalar, number: int, device_id: str) -> Iterator[Assignment]:
        try:
            device = sysfs.read(number)
            formatting.check_whole(device)
            disk = formatting.probe(device, device)
            check(disk, device_id, self._rules)
        except DriveError as error:
            self._findings.fault(cell, "", str(error), error.hint)
            return
        yield Assignment(self._rules.recognition.bays.of(disk), disk, device_id)

    def _disk(self, row: Row) -> int | None:
        """Return the disk on which all that the row says of it agrees; else a fault."""
        found: dict[int, Scalar] = {}
        is_whole = True
        for column in PLACES:
            cell = row.get(column)
            if cell is None or not cell.text:
                continue
            number = self._find(column, cell)
            is_whole = is_whole and number is not None
            if number is not None:
                found.setdefault(number, cell)
        if len(found) > 1:
            first, second, *_ = found.values()
            problem = f"is another disk than {shown(first.text)}"
            self._findings.fault(second, "", problem, "correct one of them")
        elif not found and is_whole:
            self._findings.fault(row[DEVICE_ID], "", "no disk is named", f"fill in {PLACES[0]}")
        return next(iter(found)) if is_whole and len(found) == 1 else None

    def _find(self, column: str, cell: Scalar) -> int | None:
        if column == "device":
            try:
                return formatting.find(Path(cell.text)).number
            except DriveError as error:
                self._findings.fault(cell, column, str(error), error.hint)
                return None
        bays = self._rules.recognition.bays
        if column == "bay" and cell.text not in bays.by_path.values():
            known = ", ".join(dict.fromkeys(bays.by_path.values())) or "none"
            problem, remedy = f"{shown(cell.text)} is no bay", f"`bays` in config.yml has: {known}"
            self._findings.fault(cell, column, problem, remedy)
            return None
        fits = {
            number
            for number, one in self._disks.items()
            if cell.text == (bays.of(one) if column == "bay" else one.identity.serial)
        }
        if len(fits) == 1:
            return fits.pop()
        if not fits and self._rules.only_present:
            return None
        several = f"{len(fits)} disks" if fits else "no disk"
        problem = f"there is {several} in {shown(cell.text)}"
        if column == "serial":
            problem = f"{several} with the serial {shown(cell.text)} is here"
        self._findings.fault(cell, column, problem, "`driveprep drives` lists the disks")
        return None

    def _take(self, cell: Scalar, key: object, what: str) -> bool:
        line = self._taken.setdefault(key, cell.line)
        if line != cell.line:
            problem = f"{what} is already on line {line}"
            self._findings.fault(cell, "", problem, "delete one of the two rows")
        return line == cell.line
