"""Which tests are near a module: those that import it, or that import what imports it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOTS = (Path(), Path("tests/support"))  # where absolute imports begin


def near(module: Path, steps: int) -> list[Path]:
    """Return the test files that are up to so many imports away from the module, nearest first."""
    found = {module: 0}
    for step in range(1, steps + 1):
        reached = set(found)
        for file, imported in _imports().items():
            if imported & reached:
                found.setdefault(file, step)
    tests = [file for file in found if file.name.startswith("test_")]
    return sorted(tests, key=lambda file: (found[file], file))


@cache
def _imports() -> Mapping[Path, frozenset[Path]]:
    """Return what each file of the program and of its tests imports."""
    files = [*Path("daemon").rglob("*.py"), *Path("tests").rglob("*.py")]
    return {file: frozenset(_imported(file)) for file in files}


def _imported(file: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (path for name in names for path in _files(name.name))
            case ast.ImportFrom(module=str(module), names=names):
                yield from _files(module)
                yield from (path for name in names for path in _files(f"{module}.{name.name}"))


def _files(name: str) -> Iterator[Path]:
    """Yield the file of a module; that of a package is its interface."""
    for root in ROOTS:
        place = root.joinpath(*name.split("."))
        yield from filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py"))
