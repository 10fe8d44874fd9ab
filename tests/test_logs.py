"""Log lines: who they are about first, nothing in them that could fool a terminal."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import logs
from daemon.logs import Lines


@pytest.fixture
def log():
    """A logger, and the text it has written for journald."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(Lines(journald=True))
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


PROGRAM = "from daemon import logs; import logging; logs.to_stderr(); logging.warning('x \u00c4')"


def run(stream_name, **environment):
    """What a program of its own logs to a pipe; `stream_name` makes its JOURNAL_STREAM."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as output:
        status = os.fstat(writer)
        names = {"JOURNAL_STREAM": stream_name(status)} if stream_name else {}
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            stderr=writer,
            env={"PYTHONPATH": str(Path(__file__).parents[1]), **names, **environment},
            check=True,
        )
        os.close(writer)
        return output.read()


def test_journald_is_told_levels():
    """Where standard error leads to journald, lines carry levels, and journald adds the time."""
    assert run(lambda status: f"{status.st_dev}:{status.st_ino}") == "<4>x Ä\n".encode()


@pytest.mark.parametrize("stream_name", [None, lambda status: f"{status.st_dev}:1"])
def test_others_are_told_time_and_level(stream_name):
    """A terminal gets time and level, also where its shell inherited a JOURNAL_STREAM."""
    assert run(stream_name).decode().endswith(" WARNING x Ä\n")


def test_a_poor_locale_stops_no_line():
    """A character that standard error cannot carry is escaped there."""
    environment = {"PYTHONIOENCODING": "ascii:backslashreplace"}

    assert run(None, **environment).endswith(b" WARNING x \\xc4\n")


def test_no_file_behind_standard_error():
    """A stream without a descriptor is not journald's."""
    assert not logs._leads_to_journald(io.StringIO())
