"""Durable writes: their order, and what is left when something goes wrong in the middle."""

import errno
import os
import socket
import stat
from contextlib import closing
from itertools import count

import pytest
from memory_drive import mounted, needs_root
from os_calls import failing, killed, recorded

from daemon.system import durable

DATA = b"deviceId: HD001\n"


@pytest.fixture
def place(tmp_path):
    """A folder, and the descriptor of it."""
    with durable.folder(tmp_path) as descriptor:
        yield tmp_path, descriptor


# The order of effects


def test_create_is_written_then_synced(place):
    """A new file is opened, written and synced, in this order."""
    path, folder = place

    assert recorded(lambda: durable.create(folder, "a", DATA)) == ["open", "write", "fsync"]
    assert (path / "a").read_bytes() == DATA


def test_replace_is_synced_before_and_after_its_rename(place):
    """The new contents are durable before they get the name, and the name before the return."""
    path, folder = place
    (path / "a").write_text("old")

    calls = recorded(lambda: durable.replace(folder, "a", DATA, partial=".a"))

    assert calls == ["unlink", "open", "write", "fsync", "rename", "fsync", "fsync"]
    assert (path / "a").read_bytes() == DATA
    assert os.listdir(path) == ["a"]


def test_sync_is_of_the_right_thing(place, monkeypatch):
    """Of a replace, the file is synced before and after its rename, and its folder last."""
    path, folder = place
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda it: (synced.append(os.fstat(it).st_ino), real(it)))

    durable.replace(folder, "a", DATA, partial=".a")

    file = (path / "a").stat().st_ino
    assert synced == [file, file, path.stat().st_ino]


def test_move_makes_the_new_name_durable_first(place, monkeypatch):
    """A moved file is never on neither side: the folder it goes to is synced first."""
    path, folder = place
    (path / "a").write_bytes(DATA)
    (path / "to").mkdir()
    synced, real = [], os.fsync

    with durable.folder("to", folder) as target:
        monkeypatch.setattr(os, "fsync", lambda it: (synced.append(it), real(it)))
        assert recorded(lambda: durable.move(folder, "a", target, "b")) == ["rename"] + 2 * [
            "fsync"
        ]
        assert synced == [target, folder]

    assert (path / "to" / "b").read_bytes() == DATA
    assert not (path / "a").exists()


def test_written_in_parts(place, monkeypatch):
    """A kernel that takes one byte at a time gets them all."""
    path, folder = place
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:1]))

    durable.create(folder, "a", DATA)

    assert (path / "a").read_bytes() == DATA


# Failures in the middle


def test_replace_fails_whole(place):
    """Whichever call fails, the name holds all of the old or all of the new, and nothing else."""
    path, folder = place

    for number in count(1):
        (path / "a").write_text("old")
        with failing(number):
            try:
                durable.replace(folder, "a", DATA, partial=".a")
                break
            except OSError:
                pass
        assert (path / "a").read_bytes() in {b"old", DATA}
        assert os.listdir(path) == ["a"]

    assert number == 9


def test_create_fails_whole(place):
    """A new file that cannot be written leaves its name free."""
    path, folder = place

    for number in (1, 2, 3):
        with failing(number, errno.ENOSPC), pytest.raises(OSError, match="No space"):
            durable.create(folder, "a", DATA)
        assert os.listdir(path) == []


def test_replace_after_any_death(place):
    """Wherever a process dies, the name holds old or new, and the next try leaves only the new."""
    path, folder = place

    def replace():
        durable.replace(folder, "a", DATA, partial=".a")

    for number in count(1):
        (path / "a").write_text("old")
        if not killed(replace, number):
            break
        assert (path / "a").read_bytes() in {b"old", DATA}
        replace()
        assert {name: (path / name).read_bytes() for name in os.listdir(path)} == {"a": DATA}

    assert number == 9


@needs_root
def test_full_disk(tmp_path):
    """On a disk that is really full, nothing of a new file stays, and old contents do."""
    with mounted(tmp_path / "drive", "size=64k") as drive, durable.folder(drive) as folder:
        (drive / "a").write_text("old")

        with pytest.raises(OSError, match="No space"):
            durable.replace(folder, "a", b"x" * 100_000, partial=".a")

        assert os.listdir(drive) == ["a"]
        assert (drive / "a").read_text() == "old"


# Names that are taken, links, and what is no file


def test_create_takes_no_taken_name(place):
    """What has the name already stays as it is: a file, a folder, a link to nowhere."""
    path, folder = place
    (path / "file").write_text("old")
    (path / "folder").mkdir()
    (path / "link").symlink_to(path / "elsewhere")

    for name in ("file", "folder", "link"):
        with pytest.raises(FileExistsError):
            durable.create(folder, name, DATA)

    assert (path / "file").read_text() == "old"
    assert sorted(os.listdir(path)) == ["file", "folder", "link"]


def test_replace_follows_no_link(place):
    """A link with the name, or the partial name, is replaced; where it leads stays as it is."""
    path, folder = place
    (path / "elsewhere").write_text("untouched")
    (path / "a").symlink_to("elsewhere")
    (path / ".a").symlink_to("elsewhere")

    durable.replace(folder, "a", DATA, partial=".a")

    assert (path / "elsewhere").read_text() == "untouched"
    assert stat.S_ISREG((path / "a").lstat().st_mode)
    assert (path / "a").read_bytes() == DATA


def test_read_follows_no_link(place):
    """A link is refused, wherever it leads."""
    path, folder = place
    (path / "a").write_bytes(DATA)
    (path / "link").symlink_to("a")

    with pytest.raises(OSError, match="symbolic link"):
        durable.read(folder, "link", 100)


def test_read_wants_a_plain_file(place):
    """A FIFO without a writer, a folder, a socket and a device are refused at once."""
    path, folder = place
    os.mkfifo(path / "fifo")
    (path / "folder").mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path / "socket"))

        for name in ("fifo", "folder", "socket", "/dev/null"):
            with pytest.raises(OSError, match=r"not a regular file|No such device"):
                durable.read(folder, name, 100)


def test_read_up_to_a_limit(place):
    """A file is read up to the limit and no further; a missing one is missing."""
    path, folder = place
    (path / "a").write_bytes(DATA)

    assert durable.read(folder, "a", 100) == DATA
    assert durable.read(folder, "a", 8) == DATA[:8]
    assert durable.read(folder, "a", 0) == b""
    with pytest.raises(FileNotFoundError):
        durable.read(folder, "b", 100)


def test_folder_is_no_link_and_no_file(place):
    """Only a folder itself is opened as one."""
    path, folder = place
    (path / "real").mkdir()
    (path / "link").symlink_to("real")
    (path / "file").write_bytes(DATA)

    for name in ("link", "file"):
        with pytest.raises(NotADirectoryError), durable.folder(name, folder):
            pass


def test_descriptors_are_given_back(place):
    """Nothing stays open, whether it worked or not."""
    path, folder = place
    (path / "sub").mkdir()
    before = os.listdir("/proc/self/fd")

    durable.replace(folder, "a", DATA, partial=".a")
    durable.read(folder, "a", 100)
    with durable.folder("sub", folder), pytest.raises(OSError, match="not a regular"):
        durable.read(folder, "sub", 100)
    with failing(3), pytest.raises(OSError, match="Input/output"):
        durable.create(folder, "b", DATA)

    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_discard_twice(place):
    """A name that has gone already is as good as removed; a folder is never removed."""
    path, folder = place
    (path / "a").write_bytes(DATA)
    (path / "sub").mkdir()

    durable.discard(folder, "a")
    durable.discard(folder, "a")

    with pytest.raises(OSError, match=r"directory|permitted"):
        durable.discard(folder, "sub")
    assert os.listdir(path) == ["sub"]


def test_files_are_private_unless_said(place):
    """A manifest can hold a password: no one else may read a new file, unless asked for."""
    path, folder = place

    durable.create(folder, "a", DATA)
    durable.replace(folder, "b", DATA, partial=".b")
    durable.create(folder, "c", DATA, 0o640)

    assert [stat.S_IMODE((path / name).stat().st_mode) for name in "abc"] == [0o600, 0o600, 0o640]


def test_a_file_for_all_is_for_all(place):
    """Whoever mounts the drive reads SIGNATURE, though the service's umask keeps others out."""
    path, folder = place
    before = os.umask(0o027)

    try:
        durable.replace(folder, "a", DATA, partial=".a", mode=0o644)
        durable.create(folder, "b", DATA, 0o660)
    finally:
        os.umask(before)

    assert [stat.S_IMODE((path / name).stat().st_mode) for name in "ab"] == [0o644, 0o640]
