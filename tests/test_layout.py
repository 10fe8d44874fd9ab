"""The layout of daemon/ stays readable: small files and functions, and imports that point down.

import-linter checks the layers as well. It accepts a module that imports names through the
`__init__` of its own package, which is how import cycles begin, so that is checked here.
"""

from __future__ import annotations

import ast
import statistics
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
DAEMON = TOP / "daemon"
LINTER = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]
(LAYERS,) = (one["layers"] for one in LINTER["contracts"] if one["type"] == "layers")

MAX_ENTRIES = 17  # of daemon/: fourteen, and desk (which commands and board share), board, pool
MAX_FILES = 14
MAX_LINES = 310
# Without those to errors, on which every package depends; 45, and those of the optional board and
# of the optional pool.
MAX_ARROWS = 56


@cache
def parse(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text())


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, without Python's caches and folders that have nothing else."""
    places = [one for one in folder.iterdir() if one.name != "__pycache__"]
    return [one for one in places if not one.is_dir() or entries(one)]


def folders() -> list[Path]:
    """Return daemon/ and all folders below it."""
    return [DAEMON, *(one for one in DAEMON.rglob("*") if one.is_dir() and entries(one))]


def imports(path: Path, top: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yield each import of a file: line, module, and the name imported from it, if any.

    `import a.b` is (line, "a.b", None). Relative imports are resolved; `top` is the folder above
    the outermost package.
    """
    package = path.relative_to(top).parent.parts
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name, None) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from ((node.lineno, module, one.name) for one in node.names)


def names_of_own_interfaces(path: Path, top: Path) -> list[str]:
    """Return each import, as "line: module.name", that needs the `__init__` of a package above.

    Importing a sibling module by `from daemon.jobs import schema` is not one of them.
    """
    package = path.relative_to(top).parent.parts
    own = {".".join(package[: number + 1]) for number in range(len(package))}
    return [
        f"{line}: {module}.{name}" if name else f"{line}: {module}"
        for line, module, name in imports(path, top)
        if module in own and not (name and _is_module(top / module.replace(".", "/") / name))
    ]


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_no_module_imports_from_the_interface_of_its_own_package():
    """Nor from that of a package above it: only sibling modules."""
    found = {str(path): names_of_own_interfaces(path, TOP) for path in DAEMON.rglob("*.py")}

    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("statement", "is_found"),
    [
        ("from daemon.jobs import Job", True),
        ("from daemon import version", True),
        ("from daemon.jobs import *", True),
        ("from . import Job", True),
        ("from .. import version", True),
        ("import daemon.jobs", True),
        ("def late():\n    from daemon.jobs import Job", True),
        ("from daemon.jobs import schema", False),
        ("from daemon.jobs.schema import Job", False),
        ("from . import schema", False),
        ("from .schema import Job", False),
        ("import daemon.jobs.schema", False),
        ("from daemon import jobs", False),
        ("from daemon.drives import Drives", False),
    ],
)
def test_such_an_import_is_found(tmp_path, statement, is_found):
    """However it is written, and at any depth of the code."""
    jobs = tmp_path / "daemon/jobs"
    jobs.mkdir(parents=True)
    for place in (jobs.parent / "__init__.py", jobs / "__init__.py", jobs / "schema.py"):
        place.touch()
    (jobs / "job.py").write_text(statement)

    assert bool(names_of_own_interfaces(jobs / "job.py", tmp_path)) is is_found


def test_a_folder_can_be_taken_in_at_a_glance():
    """Neither the top level nor any package has many entries."""
    assert len(entries(DAEMON)) <= MAX_ENTRIES
    for folder in folders():
        files = [one for one in entries(folder) if one.is_file()]
        assert len(files) <= MAX_FILES, folder


def test_a_file_has_one_duty():
    """When a file gets longer than this, it is time to ask for its second duty."""
    lengths = {path: len(path.read_text().splitlines()) for path in DAEMON.rglob("*.py")}

    assert {str(path): length for path, length in lengths.items() if length > MAX_LINES} == {}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Return a function's lines of code: from `def` to its end, with the functions inside it.

    Decorators, the docstring, comments and empty lines do not count. Counted like this, commit
    81f6743 has 750 functions with a median of 6 lines, 90 % of at most 16, and a longest of 39.
    """
    first, docstring = function.body[0], set()
    if ast.get_docstring(function) is not None:
        docstring = {*range(first.lineno, (first.end_lineno or first.lineno) + 1)}
    return sum(
        bool(lines[number - 1].strip()) and not lines[number - 1].lstrip().startswith("#")
        for number in range(function.lineno, (function.end_lineno or 0) + 1)
        if number not in docstring
    )


def test_functions_are_short():
    """Lines of code: median 6 or less, 90 % have 16 or less, none has more than 40."""
    lengths: dict[str, int] = {}
    for path in DAEMON.rglob("*.py"):
        lines = path.read_text().splitlines()
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{path.relative_to(TOP)}:{node.lineno} {node.name}"] = length(node, lines)
    ordered = sorted(lengths.values())

    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}
    assert statistics.median(ordered) <= 6
    assert ordered[len(ordered) * 9 // 10] <= 16


def test_arrows_between_packages_are_few_and_point_down():
    """An arrow is a pair of entries of daemon/, one of which imports the other, for types too."""
    level = {name.strip(): -number for number, row in enumerate(LAYERS) for name in row.split("|")}
    arrows = {
        (path.relative_to(DAEMON).parts[0].removesuffix(".py"), f"{module}.{name}".split(".")[1])
        for path in DAEMON.rglob("*.py")
        for _, module, name in imports(path, TOP)
        if module.partition(".")[0] == "daemon"
    }
    arrows = {(upper, lower) for upper, lower in arrows if upper != lower}

    assert len([lower for _, lower in arrows if lower != "errors"]) <= MAX_ARROWS
    assert [(one, other) for one, other in arrows if level[one] <= level[other]] == []
