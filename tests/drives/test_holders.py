"""Which processes use a drive: real processes below a folder that stands for its mount point."""

import os
import shutil
import subprocess
import sys

import pytest

from daemon.drives import holders
from daemon.drives.holders import Holder

WAIT = "import sys; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def start():
    """Start a process that waits; it is ended after the test."""
    started = []

    def run(command, **more):
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, **more)
        started.append(process)
        assert process.stdout.readline() == b"up\n"
        return process.pid

    yield run
    for process in started:
        process.communicate()


def found(place):
    """The process numbers that are found for one mount point."""
    return [one.pid for one in holders.find([str(place)]).get(str(place), [])]


def test_a_working_folder_an_open_file_and_an_open_folder(start, tmp_path):
    """Each of them keeps a drive from being unmounted, so each process is named."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    python = [sys.executable, "-c"]
    opened = f"import os; os.open(sys.argv[1], os.O_RDONLY); {WAIT}"
    expected = [
        start([*python, WAIT], cwd=tmp_path / "folder"),
        start([*python, f"import sys; {opened}", str(tmp_path / "file")]),
        start([*python, f"import sys; {opened}", str(tmp_path / "folder")]),
    ]

    assert found(tmp_path) == sorted(expected)
    (name,) = {one.name for one in holders.find([str(tmp_path)])[str(tmp_path)]}
    assert name.startswith("python")


def test_a_program_that_runs_from_the_drive(start, tmp_path):
    """Its executable is in use."""
    program = tmp_path / "program"
    shutil.copy(shutil.which("cat"), program)
    reader, writer = os.pipe()
    process = subprocess.Popen([program], stdin=reader, stdout=subprocess.DEVNULL)
    os.close(reader)
    try:
        assert found(tmp_path) == [process.pid]
    finally:
        os.close(writer)
        process.wait()


def test_a_neighbour_is_not_meant(start, tmp_path):
    """/media/HD1 is not in use because /media/HD10 is, and we do not name ourselves."""
    (tmp_path / "HD1").mkdir()
    (tmp_path / "HD10").mkdir()
    start([sys.executable, "-c", WAIT], cwd=tmp_path / "HD10")
    with (tmp_path / "HD1" / "ours").open("w"):
        assert found(tmp_path / "HD1") == []
    assert len(found(tmp_path / "HD10")) == 1


def test_the_search_ends_in_time(start, tmp_path):
    """When its time is over, it returns what it has found."""
    start([sys.executable, "-c", WAIT], cwd=tmp_path)
    clock = iter([0.0, 3.0])

    assert holders.find([str(tmp_path)], steady=lambda: next(clock)) == {}


def test_the_root_file_system_is_not_searched():
    """All processes use it."""
    assert holders.find(["/"]) == {}


def test_names_are_safe_to_print():
    """A process chooses its own name; only a few are shown."""
    many = [Holder(number, "a\x1b[2J") for number in range(1, 6)]

    assert holders.describe(many[:1]) == "in use by a\\x1b[2J (process 1)"
    assert holders.describe(many).endswith("(process 3), 2 more")
