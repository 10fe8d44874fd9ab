"""`print` in the configuration: the commands that print the papers of a prepared job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.documents.fields import Fields
from daemon.documents.redaction import shown

KINDS = ("slip", "sticker")
SUPPLIED = ("zpl", "text")  # templates that come with driveprep


@dataclass(frozen=True, slots=True)
class PrintCommand:
    """A command that gets a document on its standard input."""

    words: tuple[str, ...]
    template: str = ""  # of a sticker: one of SUPPLIED, or a file


def commands(top: Fields, folder: Path) -> dict[str, PrintCommand]:
    """Return what is printed and how, by the kind of paper. Templates are relative to `folder`."""
    group = top.group("print", KINDS)
    if group is None:
        return {}
    _report_unknown(group)
    found = {}
    if words := group.texts("slip"):
        found["slip"] = PrintCommand(words)
    if sticker := group.group("sticker", ("template", "command")):
        _report_unknown(sticker)
        found["sticker"] = PrintCommand(_command(sticker), _template(sticker, folder))
    return found


def without_commands(commands: Mapping[str, PrintCommand]) -> dict[str, object]:
    """Return `print` for the copy of a configuration: what is printed, but not how."""
    hidden = ["not-shown"]
    as_written = {"slip": hidden, "sticker": {"template": "text", "command": hidden}}
    return {kind: as_written[kind] for kind in commands}


def _command(sticker: Fields) -> tuple[str, ...]:
    sticker.must_have("command", "add a line `command: [lp, -d, PRINTER, -o, raw]`")
    return sticker.texts("command")


def _template(sticker: Fields, folder: Path) -> str:
    name = sticker.require("template")
    if not name or name in SUPPLIED:
        return name
    place = folder / name
    if not place.is_file():
        remedy = f"name a file, or one that comes with driveprep: {' or '.join(SUPPLIED)}"
        sticker.fault("template", f"{shown(name)} is not a file", remedy)
    return str(place)


def _report_unknown(fields: Fields) -> None:
    for key, path, remedy in fields.unknown():
        fields.findings.fault(key, path, "is not a known key", remedy)
