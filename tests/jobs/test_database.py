"""A ledger that can be trusted: claimed by one, whole or refused, and refused without a change."""

import errno
import fcntl
import os
import shutil
import signal
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from daemon.errors import DriveError, JournalError, JournalFullError
from daemon.jobs.storage import database, wal

TABLES = "CREATE TABLE note (text TEXT NOT NULL);"
VERSION = 3
FORM = database.Form(TABLES, VERSION)
FRAME = wal.FRAME_HEADER.size + 4096  # bytes of the log for a page
# The fourth needs several pages, and so does the last.
NOTES = ["first", "second", "third", "4" * 10_000, "fifth", "6" * 20_000]


def opened(path, *, is_new=True):
    """The ledger at `path`, open for writing, to be closed at the end of a block."""
    with database.translated(path):
        return closing(database.open_for_writing(path, FORM, is_new=is_new))


def note(connection, text):
    """One commit."""
    connection.execute("INSERT INTO note VALUES (?)", (text,))


def notes(connection):
    """All that was committed."""
    return [text for (text,) in connection.execute("SELECT text FROM note ORDER BY rowid")]


def in_child(path, texts):
    """Let a process commit these and die, with nothing closed; the log's length after each."""
    ends = path.with_name("ends")
    child = os.fork()
    if child == 0:
        try:
            connection = database.open_for_writing(path, FORM, is_new=True)
            with ends.open("w") as file:
                for text in texts:
                    note(connection, text)
                    print(path.with_name("ledger-wal").stat().st_size, file=file, flush=True)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    lines = ends.read_text().split()
    ends.unlink()
    return [int(line) for line in lines]


def contents(folder):
    """Name and bytes of each file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def path(tmp_path):
    """Where there is no ledger yet."""
    return tmp_path / "ledger"


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
    """A ledger whose writer was killed, and how long its log was after each commit."""
    path = tmp_path_factory.mktemp("dead") / "ledger"
    return path, in_child(path, NOTES)


@pytest.fixture
def copy(dead, tmp_path):
    """Make a copy of the dead ledger whose log is `change(log)`; its path."""

    def make(change):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(dead[0].parent, tmp_path / "copy")
        log = tmp_path / "copy/ledger-wal"
        log.write_bytes(change(log.read_bytes()))
        return tmp_path / "copy/ledger"

    return make


def flipped(data, place):
    """The bytes with one bit at `place` changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


# The claim


def test_one_claim_at_a_time(path):
    """Who comes second is told what to do; when the first lets go, the next may claim."""
    claim = database.claim(path)

    for _ in range(2):
        with pytest.raises(JournalError, match="another driveprep daemon") as caught:
            database.claim(path)
        assert "systemctl stop driveprep" in caught.value.hint
    os.close(claim)

    os.close(database.claim(path))


def test_asking_takes_nothing_away(path):
    """Whoever asks makes no file, holds nothing, and loosens no claim, his own process's neither.

    (A lock of fcntl(2)'s older kind would end with any descriptor of the file.)
    """
    assert not database.is_claimed(path)
    assert not path.exists()
    claim = database.claim(path)

    assert database.is_claimed(path)
    assert database.is_claimed(path)
    with pytest.raises(JournalError):
        database.claim(path)

    os.close(claim)
    assert path.exists()
    assert not database.is_claimed(path)


def test_claim_ends_with_its_process(path):
    """However a daemon dies, its claim dies with it."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        database.claim(path)
        os.write(tell, b"x")
        signal.pause()
    try:
        assert os.read(ready, 1)
        assert database.is_claimed(path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(tell)

    assert not database.is_claimed(path)
    os.close(database.claim(path))


def test_claim_where_there_is_no_folder(tmp_path):
    """What cannot be claimed is no other daemon's doing; the error names the file."""
    with pytest.raises(JournalError, match=r"cannot trust or write .*missing/ledger"):
        database.claim(tmp_path / "missing/ledger")


def test_lock_that_cannot_be_had(path, monkeypatch):
    """A file system without locks is not taken for another daemon, and no descriptor is left."""
    before = os.listdir("/proc/self/fd")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(JournalError, match="No locks available"):
        database.claim(path)

    assert os.listdir("/proc/self/fd") == before


# Opening


def test_what_is_committed_is_there(path):
    """Each commit is synced, and found again by the next writer, in a file nobody else may read."""
    with opened(path) as connection:
        note(connection, "a")
        names = ("journal_mode", "synchronous", "user_version")
        values = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        assert values == ["wal", 2, VERSION]  # 2 is FULL
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == dict.fromkeys(["ledger", "ledger-wal", "ledger-shm"], 0o600)

    with opened(path, is_new=False) as connection:
        assert notes(connection) == ["a"]


def test_each_commit_is_synced_by_any_sqlite(path, monkeypatch):
    """Some builds of SQLite sync a write-ahead log only now and then unless they are told to.

    They are made with SQLITE_DEFAULT_WAL_SYNCHRONOUS=1, such as that of macOS.
    """
    connect = sqlite3.connect

    def connect_such_a_build(*arguments, **named):
        connection = connect(*arguments, **named)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_such_a_build)

    with opened(path) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_death_loses_no_commit(copy):
    """All that a killed writer had committed is there."""
    with opened(copy(bytes), is_new=False) as connection:
        assert notes(connection) == NOTES


def test_log_is_kept_short(path):
    """However much is written, the log that damage could hit holds little of it."""
    with opened(path) as connection:
        for number in range(500):
            note(connection, f"{number}")

        assert path.with_name("ledger-wal").stat().st_size < 2 * database.CHECKPOINT_PAGES * FRAME


def test_reader_beside_a_writer(path):
    """A reader sees what is committed, holds up no writer, and can change nothing."""
    with opened(path) as connection:
        note(connection, "a")
        with database.open_for_reading(path) as reader:
            reader.execute("BEGIN")
            assert notes(reader) == ["a"]
            note(connection, "b")
            assert notes(reader) == ["a"]
            reader.execute("COMMIT")
            assert notes(reader) == ["a", "b"]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                note(reader, "c")


# What a power cut may do to the log


def test_torn_end_of_the_log(copy, dead):
    """A power cut in the middle of a commit loses that commit, and none before it."""
    *_, synced, end = dead[1]
    for cut in (0, 1, 24, FRAME - 1, FRAME, FRAME + 1, end - synced - 1):
        with opened(copy(lambda data, cut=cut: data[: synced + cut]), is_new=False) as connection:
            assert notes(connection) == NOTES[:-1]


@settings(max_examples=25, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_scrambled_end_of_the_log(copy, dead, data):
    """A power cut leaves any of the last commit's sectors unwritten; only that commit is lost."""
    *_, synced, end = dead[1]
    place = data.draw(st.integers(synced, end - 1))
    size = data.draw(st.sampled_from([1, 512, 4096]))
    # One byte of a frame's header can make it end a commit, of a size that may be right.
    assume((place - synced) % (wal.FRAME_HEADER.size + 4096) != 7)

    def tear(log):
        new = flipped(log, place)[place : place + size]  # at least one byte is another one
        return log[:place] + (new[:1] + bytes(size))[: len(new)] + log[place + size :]

    with opened(copy(tear), is_new=False) as connection:
        assert notes(connection) == NOTES[:-1]


def test_a_torn_frame_is_no_commit_of_its_own(copy, dead):
    """Its header can say that it ends a commit; a database of that size does not exist."""
    *_, synced, _ = dead[1]
    for byte in range(4, 7):  # of the frame's header: the size after a commit

        def tear(log, place=synced + byte):
            return flipped(log, place)

        with opened(copy(tear), is_new=False) as connection:
            assert notes(connection) == NOTES[:-1]


def test_log_with_nothing_in_it(copy, dead):
    """A log that was cut within its own header, before any commit, is no damage."""
    for size in (0, 1, wal.LOG_HEADER.size):
        with opened(copy(lambda log, size=size: log[:size]), is_new=False) as connection:
            assert notes(connection) == []


# What only damage can do


def refused(path, why, remedy="backup"):
    """Refused, by name, as often as it is tried, and not a byte is changed."""
    before = contents(path.parent)
    for _ in range(2):
        with pytest.raises(JournalError, match=why) as caught:
            opened(path, is_new=False)
        assert str(path) in str(caught.value)
        assert remedy in caught.value.hint
    assert contents(path.parent) == before


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_damaged_log(copy, dead, data):
    """One bit anywhere in commits with two behind them is found; SQLite would drop all three."""
    place = data.draw(st.integers(0, dead[1][-3] - 1))

    refused(copy(lambda log: flipped(log, place)), "its log ledger-wal is damaged")


def test_damaged_commit_before_the_last(copy, dead):
    """A commit that was synced before the last one began is missed, too."""
    refused(copy(lambda log: flipped(log, dead[1][-2] - 1)), "its log ledger-wal is damaged")


@pytest.mark.parametrize(
    "header",
    [bytes(32), b"\xff" * 32, b"a text file with 32 letters here"],
    ids=["zeros", "ones", "text"],
)
def test_log_without_its_header(copy, header):
    """A log whose header is overwritten is refused; SQLite would take it for an empty one."""
    refused(copy(lambda log: header + log[32:]), "its log ledger-wal is damaged")


def test_old_frames_behind_the_end_are_no_damage(path):
    """A log that was begun anew ends where the frames of its last turn begin."""

    texts = [f"{number}" for number in range(database.CHECKPOINT_PAGES + 8)]
    ends = in_child(path, texts)
    assert ends[-1] == ends[-8]  # it did not grow any more

    with opened(path, is_new=False) as connection:
        assert notes(connection) == texts


def test_lost_log(copy):
    """A log that somebody removed is missed: its index is still there."""
    path = copy(bytes)
    path.with_name("ledger-wal").unlink()

    refused(path, "its log ledger-wal is missing")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4096],
        lambda data: b"\xff" * len(data),
        lambda data: b"a text file\n" * 1000,
        lambda data: data[:4096] + b"\xff" * 4096 + data[8192:],
    ],
    ids=["100 bytes", "half", "without its last page", "garbage", "a text", "one bad page"],
)
def test_damaged_ledger(path, change):
    """One that is cut short, overwritten or another file is refused, and kept as it is."""
    with opened(path) as connection:
        for _ in range(10):
            note(connection, "x" * 4096)
    path.write_bytes(change(path.read_bytes()))

    refused(path, "cannot trust or write")


@pytest.mark.parametrize(
    ("version", "words", "remedy"),
    [
        (VERSION + 1, "written by a newer driveprep", "Install"),
        (99, "written by a newer driveprep", "Install"),
        (2, "version 2 is not known", "backup"),
        (-1, "version -1 is not known", "backup"),
    ],
)
def test_database_of_another_version(path, version, words, remedy):
    """Tables of a newer driveprep, or of no known version, are refused and not touched."""
    with opened(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")

    refused(path, words, remedy)


def test_an_older_database_is_migrated_in_one_transaction(path):
    """Each migration and its version are committed together; a failed one changes nothing."""
    with opened(path) as connection:
        note(connection, "a")
    form = database.Form(TABLES, VERSION + 1, {VERSION: "UPDATE note SET text = 'b';"})
    broken = replace(form, migrations={VERSION: "UPDATE note SET text = 'c'; SELECT nothing;"})

    with pytest.raises(JournalError), database.translated(path):
        database.open_for_writing(path, broken, is_new=False)
    with opened(path, is_new=False) as connection:
        assert notes(connection) == ["a"]

    with closing(database.open_for_writing(path, form, is_new=False)) as connection:
        assert notes(connection) == ["b"]
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)


@pytest.mark.parametrize("loss", ["missing", "emptied", "emptied and without its log"])
def test_ledger_that_should_be_there(copy, loss):
    """Where there must be a ledger, none is begun anew."""
    path = copy(bytes)
    for name in ("ledger-wal", "ledger-shm") if loss != "emptied" else ():
        path.with_name(name).unlink()
    if loss == "missing":
        path.unlink()
    else:
        os.truncate(path, 0)

    with pytest.raises(JournalError):
        opened(path, is_new=False)
    assert path.exists() == (loss != "missing")
    if path.exists():
        with pytest.raises(JournalError):
            opened(path, is_new=False)


def test_folder_in_its_place(path):
    """What is no file at all is refused by name."""
    path.mkdir()

    refused(path, "cannot trust or write")


# Errors


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("x"), OSError(5, "x"), ValueError("x"), KeyError("x")]
)
def test_any_trouble_names_the_ledger(path, error):
    """Whoever cannot trust the ledger stops, and the operator knows which one it is."""
    with pytest.raises(JournalError, match=str(path)) as caught, database.translated(path):
        raise error

    assert not isinstance(caught.value, JournalFullError)
    assert caught.value.__cause__ is error


def test_full_is_told_apart(path):
    """No room is no damage: nothing is lost, and it passes."""
    with opened(path) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(JournalFullError, match="is full"), database.translated(path):
            note(connection, "x" * 9000)
        assert notes(connection) == []


def test_our_own_errors_pass(path):
    """An error that already says whose turn it is stays what it is."""
    with pytest.raises(DriveError, match="mine"), database.translated(path):
        raise DriveError("mine")
