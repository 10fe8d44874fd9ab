"""The JSON Schema of docs/: whatever the program prints as JSON must fit it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

PLACE = Path(__file__).parents[2] / "docs" / "json.schema.json"


@cache
def schema() -> dict[str, Any]:
    """Return the whole schema."""
    found: dict[str, Any] = json.loads(PLACE.read_text())
    return found


def check(document: object, kind: str) -> None:
    """Fail unless the document is one of that kind, such as "status", without unknown fields."""
    one = {"$ref": f"#/$defs/{kind}", "$defs": schema()["$defs"]}
    errors = jsonschema.Draft202012Validator(one).iter_errors(document)
    leaves = [leaf for error in errors for leaf in (error.context or [error])]
    faults = [f"{leaf.json_path}: {leaf.message}" for leaf in leaves]
    assert not faults, f"docs/json.schema.json and docs/json.md do not fit {kind}: {faults}"


def check_output(words: Sequence[object], done: subprocess.CompletedProcess[str]) -> None:
    """Check what a command with --json printed, if it succeeded."""
    if "--json" in words and done.returncode == 0:
        check(json.loads(done.stdout), str(words[0]))
