"""Watched folders, with real events of the kernel."""

import os
import queue
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.system.watch import Watch

TOP = Path(__file__).parents[2]
SECONDS = 10  # until a missing event is a failure


class Ear:
    """Records what a watch reports."""

    def __init__(self):
        self.calls = queue.Queue()

    def __call__(self, name, complete):
        """Record one call of the watch."""
        self.calls.put((name, complete))

    def until(self, call):
        """Wait for `call`, and return everything reported up to it."""
        told = []
        while call not in told:
            told.append(self.calls.get(timeout=SECONDS))
        return told


@pytest.fixture
def watched(tmp_path):
    """Watch a folder; return it and the ear that records its changes."""
    folder, ear = tmp_path / "pending", Ear()
    folder.mkdir()
    watch = Watch()
    watch.add(folder, ear)
    watch.start()
    yield folder, ear
    watch.stop()


def test_closed_after_writing(watched):
    """A file is reported when it is created, and as complete when its writer has closed it."""
    folder, ear = watched

    with (folder / "a.yml").open("w") as file:
        file.write("half")
        file.flush()
        assert ear.until(("a.yml", False)) == [("a.yml", False)]
        file.write("whole")

    assert ("a.yml", True) not in ear.until(("a.yml", True))[:-1]


def test_renamed_in_from_elsewhere(watched):
    """A file that is renamed into the folder is complete at once."""
    folder, ear = watched
    (folder.parent / "a.yml").write_text("x")

    (folder.parent / "a.yml").rename(folder / "a.yml")

    assert ear.until(("a.yml", True))[-1] == ("a.yml", True)


def test_renamed_within(watched):
    """A rename within the folder reports both names, the new one as complete."""
    folder, ear = watched
    (folder / "a.part").write_text("x")
    ear.until(("a.part", True))

    (folder / "a.part").rename(folder / "a.yml")

    assert ("a.part", False) in ear.until(("a.yml", True))


def test_taken_away(watched):
    """A file that is deleted or moved out is reported, but not as complete."""
    folder, ear = watched
    for name in ("a.yml", "b.yml"):
        (folder / name).write_text("x")
        ear.until((name, True))

    (folder / "a.yml").unlink()
    (folder / "b.yml").rename(folder.parent / "b.yml")

    assert ("a.yml", False) in (told := ear.until(("b.yml", False)))
    assert all(not complete for _, complete in told)


def test_looking_is_silent(watched):
    """Listing the folder and reading its files is not reported, or a scan would cause the next."""
    folder, ear = watched
    (folder / "a.yml").write_text("x")
    ear.until(("a.yml", True))

    for _ in range(3):
        assert os.listdir(folder) == ["a.yml"]
        assert (folder / "a.yml").read_text() == "x"
    (folder / "end").mkdir()

    names = {name for name, _ in ear.until(("end", False))}
    assert "a.yml" not in names


def test_names_that_are_no_utf8(watched):
    """A name of any bytes is reported as os.fsdecode() returns it."""
    folder, ear = watched

    with open(os.fsencode(folder) + b"/\xff.yml", "w") as file:
        file.write("x")

    assert ear.until(("\udcff.yml", True))


def test_folder_that_cannot_be_watched(tmp_path, caplog):
    """A folder that cannot be watched is logged; the others are still watched."""
    ear, watch = Ear(), Watch()
    watch.add(tmp_path / "missing", ear)
    watch.add(tmp_path, ear)
    watch.start()
    try:
        (tmp_path / "a.yml").write_text("x")

        assert ear.until(("a.yml", True))
        assert "missing cannot be watched" in caplog.text
    finally:
        watch.stop()


def test_polled(tmp_path, monkeypatch):
    """On network file systems, which report no events, the folder is polled."""
    monkeypatch.setattr("daemon.system.watch.POLL_SECONDS", 0.05)
    ear, watch = Ear(), Watch(polled=True)
    watch.add(tmp_path, ear)
    watch.start()
    try:
        (tmp_path / "a.yml").write_text("x")

        assert ("a.yml", True) not in ear.until(("a.yml", False))
    finally:
        watch.stop()
    with suppress(queue.Empty):
        while True:
            assert ear.calls.get_nowait()[1] is False


@pytest.mark.parametrize(
    ("setting", "sysctl"),
    [("max_inotify_instances", "max_user_instances"), ("max_inotify_watches", "max_user_watches")],
)
def test_a_limit_of_the_kernel(tmp_path, setting, sysctl):
    """The folder is polled instead, and the limit to raise is named."""
    script = f"""
import time
from pathlib import Path
from daemon.system import watch
watch.POLL_SECONDS = 0.05
Path("/proc/sys/user/{setting}").write_text("0")  # of this user namespace alone
one, seen = watch.Watch(), []
one.add(Path({str(tmp_path)!r}), lambda name, complete: seen.append(name))
one.start()
print(one.is_polled, one.limit)
Path({str(tmp_path)!r}, "a.yml").write_text("x")
until = time.monotonic() + {SECONDS}
while "a.yml" not in seen and time.monotonic() < until:
    time.sleep(0.01)
one.stop()
print(seen[:1])
"""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("True ")
    assert f"raise the sysctl fs.inotify.{sysctl}" in done.stdout
    assert "['a.yml']" in done.stdout


def test_the_limit_of_open_files_is_another_one(tmp_path):
    """The kernel has one error for both."""
    script = """
import os, resource
from pathlib import Path
from daemon.system import watch
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/", os.O_RDONLY))
except OSError:
    os.close(held.pop())
print(watch._limit(OSError(24, "Too many open files")))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)

    assert "limit of open files" in done.stdout
    assert "sysctl" not in done.stdout


def test_a_changed_mode(watched):
    """It can make a file readable."""
    folder, ear = watched
    (folder / "a.yml").write_text("x")
    ear.until(("a.yml", True))

    (folder / "a.yml").chmod(0o600)

    assert ear.until(("a.yml", False))


def test_stopping_is_silent(tmp_path, caplog):
    """The last events of a stopped watch are no error."""
    for number in range(20):
        watch = Watch()
        watch.add(tmp_path, lambda *_: None)
        watch.start()
        (tmp_path / f"{number}.yml").write_text("x")
        watch.stop()

    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_drop_does_not_wait_for_the_other_half_of_a_rename(watched, tmp_path):
    """When a file was moved out, watchdog would hold back all later events for half a second."""
    folder, ear = watched
    waits = []
    for name in ("a.yml", "b.yml", "c.yml"):
        (folder / name).write_text("text")
        ear.until((name, True))
        (folder / name).rename(tmp_path / name)
        began = time.monotonic()
        (tmp_path / name).rename(folder / f"new-{name}")
        ear.until((f"new-{name}", True))
        waits.append(time.monotonic() - began)

    assert min(waits) < 0.4
