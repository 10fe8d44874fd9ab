"""Samples mutants of the core and shows which of them the tests do not notice.

Usage: scripts/mutants [--seed N] [--count N] [FILE...]    FILE such as daemon/jobs/storage/wal.py

A mutant is the core with one place changed. It is noticed if a test fails: one that imports the
module or what imports it, one of its package, or one of those in OTHERS. It is listed if
docs/mutants.md says why nobody can notice it. The exit status is 1 if fewer than 95 %
are noticed or listed.

Run in a copy of the repository: files are changed here.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import importers
from mutants import Mutant, sample

GOAL = 0.95
TEST_SECONDS = 90  # for one test; the slowest takes 10 s on a machine that is not busy
RUN_SECONDS = 900  # for all tests of one run
PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=no"),
    *("-rfE", f"--timeout={TEST_SECONDS}"),
)
NEAR_STEPS = 2  # imports between a test and the module; behind that are nearly all tests
SLOW = {"board", "crash", "ntfs", "packaging"}  # folders of tests that OTHERS names one by one
WHOLE = (
    *("tests/service/test_loop.py", "tests/crash/test_crash.py"),
    *("tests/crash/test_order_of_effects.py", "tests/service/test_run.py"),
    "tests/crash/test_another_time.py",
)
REAL = ("tests/ntfs/test_main_job.py", "tests/ntfs/test_vanishing_drives.py")
POOL = tuple(
    f"tests/pool/test_{name}.py" for name in ("sharing", "claims", "losses", "stations", "moves")
)
# By package: what notices a mutant that no test near it does, the quickest first.
OTHERS = {
    "jobs": (*WHOLE, "tests/cli/test_orders.py", "tests/cli/test_commands.py", *REAL, *POOL),
    "preparation": (
        *(*WHOLE, "tests/hostile/test_hostile_answers.py", *REAL),
        *("tests/ntfs/test_which_drives.py", "tests/ntfs/test_prepared_again.py"),
        *("tests/ntfs/test_faults.py", *POOL),
    ),
    "spool": (*WHOLE, "tests/hostile/test_hostile_files.py"),
    "drives": (
        *("tests/cli/test_format.py", "tests/ntfs/test_drives_ntfs.py"),
        *("tests/ntfs/test_format_batch.py", "tests/ntfs/test_format_bench.py"),
        *("tests/ntfs/test_signature_ntfs.py", "tests/ntfs/test_format_ntfs.py"),
        *("tests/ntfs/test_eject_ntfs.py", "tests/ntfs/test_which_drives.py"),
        "tests/ntfs/test_hostile_drives.py",
    ),
    "importexport": (
        *("tests/hostile/test_hostile_answers.py", "tests/cli/test_doctor.py"),
        *("tests/hostile/test_secrets.py", "tests/ntfs/test_faults.py"),
    ),
    "manifest": ("tests/preparation/test_intake.py", "tests/cli/test_commands.py"),
    "pool": ("tests/desk", "tests/preparation/test_intake.py"),
    "service": (
        *(*WHOLE, "tests/cli/test_commands.py", *REAL),
        *("tests/ntfs/test_which_drives.py", "tests/ntfs/test_faults.py", *POOL),
    ),
}
NOT_MUTATED = ("__init__.py", "emulator")
NOT_RUN = ("test_packing_slip_in_browser.py",)  # it starts a browser for each slip

LISTED = re.compile(r"^- `([^`]+)`: `([^`]+)`(?: → ((?:`[^`]+`(?:, )?)+))?", re.MULTILINE)
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


def main() -> int:
    """Return the exit status."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore SIGINT
        signal.signal(ending, signal.default_int_handler)
    arguments = _parser().parse_args()
    paths = arguments.files or [path for package in OTHERS for path in _modules(package)]
    mutants = sample(paths, arguments.seed, arguments.count)
    survivors: list[Mutant] = []
    noticed_by: dict[str, list[Mutant]] = {}
    for number, mutant in enumerate(mutants, 1):
        test = noticed(mutant)
        if test is None:
            survivors.append(mutant)
        else:
            noticed_by.setdefault(test, []).append(mutant)
        _show(f"{number}/{len(mutants)} {test or 'SURVIVED'}: {mutant.place} {mutant.operator}")
        if test is None:
            _show(f"    - {mutant.before}\n    + {mutant.after}")
    for test in failing([test for test in noticed_by if "::" in test]):
        _show(f"{test} fails without a mutant, too: it has noticed nothing")
        survivors += noticed_by[test]
    return _summary(mutants, survivors)


def noticed(mutant: Mutant) -> str | None:
    """Return the first test that fails with the mutant in place of its module, or None.

    It must fail twice: on a busy machine, a test that waits can fail by chance.
    """
    with in_place(mutant):
        for tests in _tests(Path(mutant.path)):
            by_chance: list[str] = []
            while test := _first_failure([*tests, *by_chance]):
                if "::" not in test or _first_failure([test]):
                    return test
                by_chance.append(f"--deselect={test}")
    return None


def _first_failure(arguments: list[str]) -> str | None:
    """Return the first test that fails, or why there is none although pytest failed."""
    status, output = run(["-x", *arguments])
    if not status:
        return None
    found = FAILED.search(output)
    return found[1] if found else output.strip().rpartition("\n")[2]


def failing(tests: list[str]) -> list[str]:
    """Return which of these tests fail without a mutant."""
    return [test for test in FAILED.findall(run(tests)[1]) if test in tests] if tests else []


_stamps = count(2_000_000_000)  # seconds: no two versions of a module have the same


@contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """Have the mutant in place of its module for the length of the block.

    Python reads a module's cache again by the time and the size of its source.
    """
    path = Path(mutant.path)
    source, before = path.read_text(), path.stat()
    try:
        path.write_text(mutant.source)
        stamp = next(_stamps)
        os.utime(path, (stamp, stamp))
        yield
    finally:
        path.write_text(source)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def run(arguments: list[str]) -> tuple[int, str]:
    """Run pytest; return its status, which is not 0 if a test fails, and what it prints.

    After RUN_SECONDS it is interrupted, so that it still removes its drives.
    """
    command = [*PYTEST, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = process.communicate(timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        output = f"not done within {RUN_SECONDS} s"
    finally:
        _end(process)
    return process.returncode, output


def _end(process: subprocess.Popen[str]) -> None:
    """Let pytest tidy up; kill it only if it does not end."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=TEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def is_listed(mutant: Mutant, text: str) -> bool:
    """Return whether the text of docs/mutants.md has the mutant, or any change of its line."""
    for path, before, after in LISTED.findall(re.sub(r"\n +", " ", text)):
        variants = re.findall("`([^`]+)`", after) or [mutant.after]
        if (mutant.path, mutant.before) == (path, before) and mutant.after in variants:
            return True
    return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("files", metavar="FILE", nargs="*", type=Path)
    return parser


def _modules(package: str) -> list[Path]:
    found = Path("daemon", package).rglob("*.py")
    return [path for path in found if not set(NOT_MUTATED) & {*path.parts}]


def _tests(module: Path) -> Iterator[list[str]]:
    """Yield the tests near the module, those of its package, and others; each of them once."""
    package = module.parts[1]
    own = sorted(_files([f"tests/{package}"]), key=lambda one: one.name != f"test_{module.name}")
    near = [one for one in importers.near(module, NEAR_STEPS) if one.parts[1] not in SLOW]
    done: set[Path] = set()
    for files in (near, own, _files(OTHERS[package])):
        new = [str(one) for one in files if one not in done and one.name not in NOT_RUN]
        done |= set(files)
        if new:
            yield new


def _files(places: list[str] | tuple[str, ...]) -> list[Path]:
    files = [
        file
        for place in map(Path, places)
        for file in ([place] if place.is_file() else sorted(place.glob("test_*.py")))
    ]
    return list(dict.fromkeys(files))


def _summary(mutants: list[Mutant], survivors: list[Mutant]) -> int:
    text = Path("docs/mutants.md").read_text()
    unexplained = [one for one in survivors if not is_listed(one, text)]
    found, listed = len(mutants) - len(survivors), len(survivors) - len(unexplained)
    _show(f"\n{len(mutants)} mutants: {found} noticed, {listed} listed, {len(unexplained)} neither")
    for one in unexplained:
        _show(f"{one.place}\n- `{one.path}`: `{one.before}` → `{one.after}`")
    return int(len(mutants) - len(unexplained) < GOAL * len(mutants))


def _show(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
