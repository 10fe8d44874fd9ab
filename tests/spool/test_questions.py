"""Questions in pending/, and their answers: through real folders."""

import os
import threading
import time

import pytest

from daemon.errors import DriveprepError
from daemon.spool import questions
from daemon.spool.spool import Spool


@pytest.fixture
def spool(tmp_path):
    """A spool."""
    return Spool(tmp_path / "spool", 1.0, time.monotonic)


def test_a_question_is_answered(spool):
    """The command gets the answer to its own question, and the question goes."""
    heard = []

    def daemon():
        while not (asked := spool.questions(spool.names())):
            pass
        for number, question in asked:
            heard.append(question)
            spool.answer("0" * 32, b"another's", time.time())
            spool.answer(number, b"answer to " + question, time.time())

    thread = threading.Thread(target=daemon)
    thread.start()
    answer = questions.ask(spool.path, b"question", 20)
    thread.join()

    assert (heard, answer) == ([b"question"], b"answer to question")
    assert os.listdir(spool.pending) == []


def test_no_answer(spool):
    """The question is taken back, so that no later daemon acts on it."""
    with pytest.raises(DriveprepError, match="has not answered within 0 s"):
        questions.ask(spool.path, b"question", 0.01)

    assert os.listdir(spool.pending) == []


def test_what_is_no_question(spool):
    """A link is removed, unread; other names are left alone."""
    (spool.pending / (".ask-" + "a" * 32)).symlink_to("/etc/passwd")
    (spool.pending / ".ask-b").write_text("x")
    (spool.pending / ("c" * 32)).write_text("x")

    assert spool.questions(spool.names()) == []
    assert sorted(os.listdir(spool.pending)) == [".ask-b", "c" * 32]


def test_a_long_question_is_cut(spool):
    """It is then no JSON; the daemon's memory is safe."""
    (spool.pending / (".ask-" + "a" * 32)).write_bytes(b"x" * (questions.LIMIT + 9))

    ((_, question),) = spool.questions(spool.names())

    assert len(question) == questions.LIMIT


def test_answers_that_nobody_reads(spool):
    """They go after an hour, and the group alone can read them until then."""
    spool.answer("a" * 32, b"1", time.time())
    place = spool.path / "answers" / ("a" * 32)
    assert place.stat().st_mode & 0o777 == 0o640
    os.utime(place, (5000.0, 5000.0))

    spool.answer("b" * 32, b"2", 5000.0 + 3600.0)
    assert place.exists()
    spool.answer("c" * 32, b"3", 5000.0 + 3600.5)
    assert not place.exists()
