"""The machine whose day is run, and what it has to tell where a step of the day fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from image import DISTRIBUTIONS, image
from machine import Machine

TOP = Path(__file__).parents[2]


def pytest_addoption(parser) -> None:
    """How long power_cuts.py goes on."""
    parser.addoption("--cuts", type=int, default=8, help="power cuts of each machine")


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def machine(request, tmp_path_factory) -> Iterator[Machine]:
    """A fresh workstation that is on, with this commit's sources and wheels in root's home."""
    base = image(request.param)
    folder = tmp_path_factory.mktemp("machine")
    (folder / "sources.tar").write_bytes(sources(folder, base.python))
    with Machine(base, folder) as one:
        print(f"{request.param}: booted in {one.start():.0f} s")
        one.write("/root/sources.tar", (folder / "sources.tar").read_bytes())
        one.sh("tar -xf sources.tar")
        yield one


def sources(folder: Path, python: str) -> bytes:
    """A tar archive of driveprep/, as committed, and wheels/, as the README fills it."""
    run(["git", "-C", TOP, "archive", "--prefix=driveprep/", "-o", folder / "a.tar", "HEAD"])
    run(["tar", "-xf", folder / "a.tar", "-C", folder])
    pip = [sys.executable, "-m", "pip", "--quiet"]
    run([*pip, "wheel", "--no-deps", "--wheel-dir", folder / "own", folder / "driveprep"])
    (own,) = (folder / "own").iterdir()
    run([*pip, "download", "--only-binary=:all:", f"--python-version={python}",
         "--dest", folder / "wheels", f"{own}[board]"])  # fmt: skip
    return run(["tar", "-c", "-C", folder, "driveprep", "wheels"])


def run(command: list[object]) -> bytes:
    """What a command prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the machine's own words with a failure."""
    report = yield
    one = item.funcargs.get("machine")
    if report.failed and one:
        report.sections.append(("console", one.told()))
        with suppress(Exception):  # it may be the one that does not answer
            told = one.sh("journalctl -b -n 100 --no-pager -o short-precise", seconds=60)
            report.sections.append(("journal", told))
    return report
