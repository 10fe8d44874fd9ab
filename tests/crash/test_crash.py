"""The killer itself: it hears every way to change the world, and the dead stay dead."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import crash
import pytest

WAYS = {
    "make": lambda old, new: os.close(os.open(new, os.O_CREAT | os.O_WRONLY)),
    "touch": lambda old, new: new.touch(),
    "make a folder": lambda old, new: new.mkdir(),
    "rename": lambda old, new: old.rename(new),
    "move": shutil.move,
    "remove": lambda old, new: old.unlink(),
    "link": lambda old, new: new.hardlink_to(old),
    "point": lambda old, new: new.symlink_to(old),
    "pipe": lambda old, new: os.mkfifo(new),
    "cut": lambda old, new: os.truncate(old, 0),
    "change the mode": lambda old, new: old.chmod(0o400),
    "change the time": lambda old, new: os.utime(old, (0, 0)),
    "make for a while": lambda old, new: tempfile.mkdtemp(dir=new.parent),
    "let others do it": lambda old, new: subprocess.run(["/bin/touch", new], check=True),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_every_way_to_change_a_file_is_heard_before_it_does(tmp_path, way):
    """And when it is the last thing heard, it is not done."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"data")
    before = old.stat()

    with crash.listening(kill) as effects, pytest.raises(crash.Killed):
        way(old, new)

    assert effects.is_dead
    assert os.listdir(tmp_path) == ["old"]
    assert old.read_bytes() == b"data"
    assert (old.stat().st_mode, old.stat().st_mtime) == (before.st_mode, before.st_mtime)


def test_the_dead_tidy_nothing_up(tmp_path):
    """What a `finally` would do after the kill is not done; half of a write was."""
    file = tmp_path / "file"
    heard = []

    def before(what):
        heard.append(what)
        if len(heard) == 3:
            raise crash.Killed

    def write_and_remove():
        descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
        try:
            os.write(descriptor, b"half")
        finally:
            os.close(descriptor)
            file.unlink()

    with crash.listening(before), pytest.raises(crash.Killed):
        write_and_remove()

    assert file.read_bytes() == b"ha"


def test_what_cannot_be_cut_in_the_middle_is_refused(tmp_path):
    """A buffered file is written when nobody hears it; so is a cursor's statement."""
    with crash.listening(lambda what: None) as effects:
        with pytest.raises(AssertionError):
            (tmp_path / "file").write_bytes(b"data")
        with closing(sqlite3.connect(tmp_path / "base")) as database, pytest.raises(AssertionError):
            database.cursor()

    assert not effects.is_dead


def test_a_commit_is_all_or_nothing(tmp_path):
    """What was not committed before the kill is not there."""

    def before(what):
        if what == "sqlite COMMIT":
            raise crash.Killed

    with crash.listening(before) as effects:
        database = sqlite3.connect(tmp_path / "base", isolation_level=None)
        database.execute("CREATE TABLE one (number)")
        database.execute("BEGIN")
        database.execute("INSERT INTO one VALUES (1)")
        with pytest.raises(crash.Killed):
            database.execute("COMMIT")
    effects.bury()

    with closing(sqlite3.connect(tmp_path / "base")) as database:
        assert database.execute("SELECT * FROM one").fetchall() == []


def test_looking_is_no_effect(tmp_path):
    """Nor is what another thread does, such as the service's."""
    with crash.listening(kill):
        writer = threading.Thread(target=(tmp_path / "theirs").touch)
        writer.start()
        writer.join()
        os.listdir(tmp_path)
        os.stat(tmp_path)
        os.close(os.open(tmp_path, os.O_RDONLY))
        Path(__file__).read_text("utf-8")


def kill(what):
    """The first effect is the last."""
    raise crash.Killed(what)
