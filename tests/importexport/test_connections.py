"""The line of one request: what it knows of what was sent, and what lets nothing through."""

import socket
from contextlib import closing

import pytest

from daemon.importexport.connections import Line


@pytest.fixture
def pair():
    """Both ends of a connection."""
    near, far = socket.socketpair()
    with closing(near), closing(far):
        far.settimeout(5)
        yield near, far


def test_what_was_sent_once_stays_sent(pair):
    """A connection opened after a byte was sent does not undo that: the request is in doubt."""
    line = Line()
    line.use(pair[0], to_send=False)
    assert not line.sent

    line.use(pair[0], to_send=True)
    line.use(pair[0], to_send=False)

    assert line.sent
    line.release()


def test_a_cut_ends_the_connection_and_what_follows(pair):
    """The other side sees the end at once, and no further connection may be used."""
    near, far = pair
    line = Line()
    line.use(near, to_send=False)

    line.cut()

    assert far.recv(1) == b""
    with pytest.raises(TimeoutError, match="deadline"):
        line.use(near, to_send=True)
    assert not line.sent
    line.release()


def test_a_cut_after_the_answer_leaves_the_connection_to_the_pool(pair):
    """Whoever waited cuts in any case; a connection that was given back is used again."""
    near, far = pair
    line = Line()
    line.use(near, to_send=True)
    line.release()

    line.cut()
    near.sendall(b"next")

    assert far.recv(4) == b"next"
