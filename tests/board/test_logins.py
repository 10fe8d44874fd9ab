"""Links, logins and tokens over time; the clocks are in the test's hand."""

from __future__ import annotations

from daemon.board.access.logins import MAX_LINKS, MAX_LOGINS, Logins
from daemon.system.clocks import Clocks


class Time:
    """Both clocks."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 0.0

    def clocks(self) -> Clocks:
        """Return them as they are passed in."""
        return Clocks(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.steady += seconds


def test_links_and_logins_end():
    """A link after two minutes, a login after twelve hours."""
    time = Time()
    logins = Logins(None, time.clocks())
    late, good = logins.invite("ann", "operator"), logins.invite("ann", "operator")
    time.passes(119)
    opened = logins.open(good)
    assert opened
    time.passes(2)
    assert logins.open(late) is None

    time.passes(12 * 3600 - 10)
    assert logins.find(opened.cookie) == opened.login
    time.passes(20)
    assert logins.find(opened.cookie) is None


def test_a_clock_that_is_set_back_makes_no_login_longer():
    """Nor a link."""
    time = Time()
    logins = Logins(None, time.clocks())
    link, opened = logins.invite("ann", "operator"), logins.open(logins.invite("ann", "operator"))
    time.wall -= 24 * 3600

    assert opened
    assert logins.find(opened.cookie) is None
    time.steady += 121
    assert logins.open(link) is None


def test_what_is_stored_outlives_the_process(tmp_path):
    """Logins and long-lived tokens, but no link; and what was revoked stays revoked."""
    time = Time()
    logins = Logins(tmp_path, time.clocks())
    opened = logins.open(logins.invite("ann", "operator"))
    link, wall = logins.invite("ann", "operator"), logins.invite("ann", "wall")
    assert opened

    again = Logins(tmp_path, time.clocks())
    assert again.find(opened.cookie) == opened.login
    assert again.open(wall)
    assert again.open(link) is None
    assert again.revoke() == 3
    assert Logins(tmp_path, time.clocks()).find(opened.cookie) is None
    assert Logins(tmp_path, time.clocks()).open(wall) is None


def test_a_store_that_cannot_be_read_is_as_if_revoked(tmp_path):
    """It keeps no one out for ever, and lets no one in."""
    for text in ("", "[]", "{}", '{"tokens": {"x": 1}, "logins": {}}', "\udcff"):
        (tmp_path / "logins.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        logins = Logins(tmp_path, Time().clocks())
        assert logins.open(logins.invite("ann", "wall"))


def test_their_number_is_limited():
    """The oldest goes first."""
    logins = Logins(None, Time().clocks())
    links = [logins.invite("ann", "operator") for _ in range(MAX_LINKS + 1)]
    assert logins.open(links[0]) is None
    assert logins.open(links[1])
    wall = logins.invite("ann", "wall")
    for _ in range(MAX_LOGINS + 5):
        last = logins.open(wall)
    assert last
    assert logins.find(last.cookie)
