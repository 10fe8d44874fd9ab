"""Text of strangers on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.system.printable import printable


@given(st.text(st.characters()))
def test_nothing_that_moves_hides_or_reorders_gets_through(text):
    """Whatever a label holds, lone surrogates included, what is shown is printable UTF-8."""
    shown = printable(text)

    assert shown.isprintable()
    shown.encode("utf-8")


@pytest.mark.parametrize("text", ["AWS EXP 01", "Zürich 東京", "a\\b'c\"", ""])
def test_honest_text_stays_as_it_is(text):
    """Letters of any script, blanks and quotes are not escaped."""
    assert printable(text) == text


def test_what_is_escaped_can_still_be_recognised():
    """A terminal code and a right-to-left override show as their numbers."""
    assert printable("\x1b[31mA\u202eB\n") == r"\x1b[31mA\u202eB\n"
