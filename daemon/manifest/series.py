"""Manifests made from one template and a table with one row for each drive."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from daemon.documents.editing import Original, without_placeholders
from daemon.documents.fields import Findings, nearest
from daemon.documents.nodes import Node, Scalar, walk
from daemon.documents.redaction import shown
from daemon.documents.syntax import PLACEHOLDER_LEFT, REPLACE_IT
from daemon.documents.table import Table
from daemon.errors import DocumentError, Fault, ManifestError
from daemon.manifest import rules
from daemon.manifest.device_range import DEVICE_ID
from daemon.manifest.rules import Manifest

DISK = frozenset({"bay", "serial", "device"})  # columns of the same list that are for `format`
Row = Mapping[str, Scalar]


class Series:
    """Manifests of a template, one for each row of a table, and everything wrong with both.

    `data` is the template in the file `name`; `listing` has the faults of the table so far.
    `taken` are deviceIds that must not get another manifest, and why. Call `fill` for all `rows`,
    and look at `faults` before using the manifests.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        table: Table,
        listing: Findings,
        taken: Mapping[str, str],
        check: Callable[[Manifest], None] = lambda _: None,
    ) -> None:
        """`check` raises ManifestError for a manifest that this account and service refuse."""
        self.check = check
        self.listing = listing
        self.template = Findings(name)
        self.manifests: list[tuple[Manifest, Scalar]] = []  # each with its deviceId's cell
        self._original = _original(data, name, self.template)
        self._columns = {one: one for one in table.columns}
        if self._original:
            self._columns = _columns(table, self._original, listing)
        usable = _usable(table, self._columns.get(DEVICE_ID, DEVICE_ID), listing, taken)
        self.rows = usable if self._original and DEVICE_ID in self._columns else []

    def fill(self, row: Row) -> None:
        """Make the manifest of one of the rows, or record what is wrong with it."""
        if self._original:
            cells = {path: row[name] for path, name in self._columns.items()}
            _Filling(self._original, cells, self).run()

    def faults(self) -> tuple[Fault, ...]:
        """Return every fault once: those of the list first, each in the order of its text."""
        return _ordered(self.listing.faults) + _ordered(self.template.faults)

    def warnings(self) -> tuple[Fault, ...]:
        """Return every warning once, in the same order."""
        return _ordered(self.listing.warnings) + _ordered(self.template.warnings)


def _original(data: bytes, name: str, findings: Findings) -> Original | None:
    try:
        return Original(data, name)
    except DocumentError as error:
        findings.faults += error.faults
        return None


def _columns(table: Table, original: Original, listing: Findings) -> dict[str, str]:
    """Return the column for each dotted key of the template; what has no place there is recorded.

    A misspelt column counts as the one that was meant, so that all other faults are found.
    """
    texts = [path for path in original.entries if original.is_text(path)]
    columns = {name: name for name in table.columns if name in texts}
    for name, cell in table.columns.items():
        if name in texts or name in DISK:
            continue
        meant = None if _is_sound(name, original) else _nearest(name, texts)
        if meant:
            columns.setdefault(meant, name)
        listing.fault(cell, shown(name), *_why_not(name, meant, original))
    return columns


def _is_sound(name: str, original: Original) -> bool:
    return name in original.entries or rules.is_known(name)


def _nearest(name: str, paths: Collection[str]) -> str | None:
    """Return the dotted key that was meant, also by its last part alone."""
    last_parts = {path.rpartition(".")[2]: path for path in paths}
    meant = nearest(name, last_parts)
    return nearest(name, paths) or (last_parts[meant] if meant else None)


def _why_not(name: str, meant: str | None, original: Original) -> tuple[str, str]:
    """Return what is wrong with a column, and what to do."""
    if entry := original.entries.get(name):
        place = original.place(name)
        if isinstance(entry.value, Scalar):
            return f"has its value on the lines below {place}", "write it behind its key there"
        inner = next((path for path in original.entries if path.startswith(name + ".")), "")
        return (
            f"is a group of keys at {place}",
            f"name one of them, such as {inner or name + '...'}",
        )
    if meant:
        return "is not a key of the template", f"did you mean {meant}, at {original.place(meant)}?"
    if rules.is_known(name):
        group = name.rpartition(".")[0].partition("[")[0]
        place = original.place(group) if group in original.entries else f"{original.name}:1:1"
        return f"is not in the template, {place}", "add the line there, with any value"
    return f"is not a key of the template {original.name}", "delete the column"


def _usable(table: Table, column: str, listing: Findings, taken: Mapping[str, str]) -> list[Row]:
    """Return the rows with a deviceId; record each that has none, or one that must not be used."""
    if column not in table.columns:
        if table.columns:
            head = next(iter(table.columns.values()))
            problem, remedy = "there is no such column", "name one so, in the first line"
            listing.fault(head, DEVICE_ID, problem, remedy)
        return []
    if not table.rows and not listing.faults:
        place = table.columns[column]
        listing.fault(place, "", "has no rows", "write one line for each drive below this one")
    first: dict[str, Scalar] = {}
    for row in table.rows:
        cell = row[column]
        if not cell.text:
            listing.fault(cell, DEVICE_ID, "is empty", "name the drive, or delete the row")
        elif (earlier := first.setdefault(cell.text, cell)) is not cell:
            problem = f"{shown(cell.text)} is already on line {earlier.line}"
            listing.fault(cell, DEVICE_ID, problem, "delete one of the two, or correct it")
        elif cell.text in taken:
            problem = f"{shown(cell.text)} {taken[cell.text]}"
            listing.fault(
                cell, DEVICE_ID, problem, "delete the row, or cancel or withdraw that job"
            )
    return [row for row in table.rows if row[column].text]


class _Filling:
    """One row of the table, written into the template and checked."""

    def __init__(self, original: Original, cells: Mapping[str, Scalar], series: Series) -> None:
        self._original = original
        self._cells = cells
        self._series = series
        self._values = {path: cell.text for path, cell in self._cells.items() if cell.text}
        self._edited = original.replaced(self._values)

    def run(self) -> None:
        """Add the manifest to the series, or what is wrong with it."""
        device_id = self._cells[DEVICE_ID]
        left = self._original.placeholders - self._values.keys()
        for path in left:
            value = self._original.entries[path].value
            place = (value.line, value.column)
            self._take(Fault("", *place, path, PLACEHOLDER_LEFT, REPLACE_IT, value.source), place)
        try:
            text = without_placeholders(self._edited.text) if left else self._edited.text
            manifest = rules.read(text.encode(), device_id.text)
            self._series.check(manifest)
        except ManifestError as error:
            for fault in error.faults:
                if fault.key not in left:
                    self._take(fault, self._edited.before(fault.line, fault.column))
            return
        for warning in manifest.warnings:
            place = self._edited.before(warning.line, warning.column)
            self._take(warning, place, is_fault=False)
        self._compare(manifest.root)
        self._series.manifests.append((manifest, device_id))

    def _take(self, fault: Fault, place: tuple[int, int], *, is_fault: bool = True) -> None:
        """Record a fault or warning where its cause is: in a cell, or in the template."""
        path = self._original.path_at(*place) or fault.key
        cell = self._cells.get(path)
        findings = self._series.listing if cell else self._series.template
        if cell:
            moved = _in_cell(fault, cell, f"{path} ({self._original.place(path)})")
        else:
            source = self._original.offsets.line(place[0]) if fault.source else ""
            moved = replace(fault, line=place[0], column=place[1], source=source)
        moved = replace(moved, file=findings.file)
        (findings.faults if is_fault else findings.warnings).append(moved)

    def _compare(self, root: Node) -> None:
        """Record a value that is not read as it was written; no such case is known."""
        for entry in walk(root):
            if entry.path in self._values and entry.value.plain() != self._values[entry.path]:
                problem = f"cannot be written at {self._original.place(entry.path)}"
                remedy = "put the template's value in double quotes"
                cell = self._cells[entry.path]
                self._series.listing.fault(cell, entry.path, problem, remedy)


def _in_cell(fault: Fault, cell: Scalar, key: str) -> Fault:
    """Return a fault of a value as one of the cell from which it came, or which is empty."""
    problem = fault.problem
    if not cell.text:
        problem = f"is empty, so that the template's value is used: {problem}"
    return Fault("", cell.line, cell.column, key, problem, fault.remedy, cell.source)


def _ordered(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.column)))
