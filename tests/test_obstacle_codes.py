"""An obstacle is compared by the code of its error, so each place that raises one must name it."""

import ast
from pathlib import Path

DAEMON = Path(__file__).parents[1] / "daemon"
# Errors that can become an obstacle. A refusal has the service's own code.
KINDS = {
    "DriveError",
    "DriveAbsentError",
    "InDoubtError",
    "ManifestError",
    "PaperError",
    "PrinterError",
    "SpoolError",
    "UnreachableError",
}
# These modules raise only to a command, or for a manifest that is then rejected.
WITHOUT = (
    "cli",
    "desk",
    "drives/medium",
    "drives/eject.py",
    "manifest",
    "preparation/intake.py",
)


def calls():
    """Every construction of such an error, with its place."""
    for path in sorted(DAEMON.rglob("*.py")):
        place = str(path.relative_to(DAEMON))
        if place.startswith(WITHOUT):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS:
                yield f"{place}:{node.lineno}", node


def test_each_names_its_code():
    """Two obstacles without codes would be taken for one, and the second not reported."""
    found = dict(calls())

    unnamed = [
        place
        for place, call in found.items()
        if len(call.args) < 3 and "code" not in {keyword.arg for keyword in call.keywords}
    ]

    assert len(found) > 30
    assert unnamed == []
