"""Log lines: who they are about first, nothing in them that could fool a terminal."""

import io
import logging
import os
import socket
import struct
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from daemon.system import logs, systemd
from daemon.system.logs import JournalHandler, LineFormatter


@pytest.fixture
def log():
    """A logger, and the text it has written for journald."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LineFormatter(prefixed=True))
    logger = logging.getLogger("driveprep.test")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield logger, written.getvalue
    logger.removeHandler(handler)


def test_device_and_job_come_first(log):
    """A job's whole story is found by its deviceId or JobId, at the start of the line."""
    logger, written = log

    logger.info("SIGNATURE written", extra={"device_id": "HD001", "job_id": "K7M3X"})
    logger.info("manifest accepted", extra={"device_id": "HD001", "job_id": ""})
    logger.info("configuration read")

    assert written().splitlines() == [
        "<6>HD001 K7M3X: SIGNATURE written",
        "<6>HD001: manifest accepted",
        "<6>configuration read",
    ]


def test_levels_as_journald_reads_them(log):
    """Each level has its prefix of sd-daemon(3); one that is not known counts as an error."""
    logger, written = log

    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(level, "x")

    assert [line[:3] for line in written().splitlines()] == ["<7>", "<6>", "<4>", "<3>", "<3>"]


def test_one_line_whatever_a_label_holds(log):
    """Line breaks, escapes and marks of direction in names and values are shown, not obeyed."""
    logger, written = log
    label = "A\nB\x1b[2J\u202eC\u2028D\udcff"

    logger.warning("drive %s found", label, extra={"device_id": label})

    shown = "A\\nB\\x1b[2J\\u202eC\\u2028D\\udcff"
    assert written() == f"<4>{shown}: drive {shown} found\n"


def test_traceback_below_its_line(log):
    """A bug's traceback follows its line, in lines of its own."""
    logger, written = log

    try:
        raise RuntimeError("bug")
    except RuntimeError:
        logger.exception("ended by a bug")

    lines = written().splitlines()
    assert lines[:2] == ["<3>ended by a bug", "Traceback (most recent call last):"]
    assert lines[-1] == "RuntimeError: bug"


PROGRAM = """
import logging, sys
from daemon.system import logs, systemd
systemd.JOURNAL_SOCKET = sys.argv[1]
logs.to_stderr()
logging.warning('x \u00c4', extra={'device_id': 'HD\\n1', 'job_id': 'K7M3X', 'state': 'Signed'})
"""


def by_name(status):
    """JOURNAL_STREAM as systemd sets it, systemd.exec(5)."""
    return f"{status.st_dev}:{status.st_ino}"


def run(stream_name, journal="/nowhere/at/all", **environment):
    """What a program of its own logs to a pipe; `stream_name` makes its JOURNAL_STREAM."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as output:
        status = os.fstat(writer)
        names = {"JOURNAL_STREAM": stream_name(status)} if stream_name else {}
        subprocess.run(
            [sys.executable, "-c", PROGRAM, journal],
            stderr=writer,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), **names, **environment},
            check=True,
        )
        os.close(writer)
        return output.read()


@pytest.fixture
def journald(tmp_path):
    """journald's socket, with a deadline."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.settimeout(10)
        listener.bind(str(tmp_path / "journal"))
        yield listener


def fields(entry):
    """The fields of an entry as journald reads them."""
    found = {}
    while entry:
        line, entry = entry.split(b"\n", 1)
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", entry[:8])
            value, end, entry = entry[8 : 8 + size], entry[8 + size : 9 + size], entry[9 + size :]
            assert end == b"\n"
        found[name.decode()] = value.decode()
    return found


def test_journald_is_told_fields(journald):
    """Where standard error leads to journald, it gets entries, found by deviceId or JobId."""
    assert run(by_name, journald.getsockname()) == b""

    assert fields(journald.recv(10_000)) == {
        "MESSAGE": "HD\\n1 K7M3X: x Ä",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "driveprep",
        "DRIVEPREP_DEVICE_ID": "HD\\n1",
        "DRIVEPREP_JOB_ID": "K7M3X",
        "DRIVEPREP_STATE": "Signed",
    }


def test_journald_is_told_lines_when_it_takes_no_entry():
    """Nothing is lost while journald is away: its own stream takes lines with levels."""
    assert run(by_name) == "<4>HD\\n1 K7M3X: x Ä\n".encode()


def test_a_traceback_is_one_entry(journald, monkeypatch):
    """LineFormatter below lines belong to one entry, and cannot forge fields."""
    monkeypatch.setattr(systemd, "JOURNAL_SOCKET", journald.getsockname())
    monkeypatch.setattr(logs, "_of_all", {})
    logs.name_station("bench-1")
    stream = io.StringIO()
    try:
        raise RuntimeError("bug\nPRIORITY=0")
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "ended", (), sys.exc_info())

    JournalHandler(stream).handle(record)

    entry = fields(journald.recv(10_000))
    assert entry.keys() == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "DRIVEPREP_STATION"}
    assert entry["DRIVEPREP_STATION"] == "bench-1"
    assert entry["PRIORITY"] == "3"
    assert entry["MESSAGE"].startswith("ended\nTraceback")
    assert entry["MESSAGE"].endswith("RuntimeError: bug\nPRIORITY=0")
    assert stream.getvalue() == ""


def test_an_entry_that_is_too_long(journald, monkeypatch):
    """What no datagram can carry goes the other way, whole."""
    monkeypatch.setattr(systemd, "JOURNAL_SOCKET", journald.getsockname())
    stream = io.StringIO()

    JournalHandler(stream).handle(
        logging.LogRecord("x", logging.INFO, "", 1, "x" * 10**7, (), None)
    )

    assert stream.getvalue() == "<6>" + "x" * 10**7 + "\n"


@pytest.mark.parametrize("stream_name", [None, lambda status: f"{status.st_dev}:1"])
def test_others_are_told_time_and_level(stream_name):
    """A terminal gets time and level, also where its shell inherited a JOURNAL_STREAM."""
    assert run(stream_name).decode().endswith(" WARNING HD\\n1 K7M3X: x Ä\n")


def test_a_poor_locale_stops_no_line():
    """A character that standard error cannot carry is escaped there."""
    environment = {"PYTHONIOENCODING": "ascii:backslashreplace"}

    assert run(None, **environment).endswith(b" K7M3X: x \\xc4\n")


def test_no_file_behind_standard_error():
    """A stream without a descriptor is not journald's."""
    assert not logs._leads_to_journald(io.StringIO())
