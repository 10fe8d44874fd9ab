"""What a station asks of the database, and writes down, while nothing happens."""

import time
from contextlib import closing

import pytest

from daemon.jobs import reader
from daemon.jobs.journal import Journal
from daemon.pool import sightings
from daemon.preparation.exchange import Exchange
from daemon.preparation.sharing import Sharing
from daemon.spool.spool import Spool

pytestmark = pytest.mark.xdist_group("pool")

OTHER_IS_SEEN = "UPDATE driveprep.station SET seen_at = seen_at + %s::interval WHERE name = 'other'"


@pytest.fixture
def sharing(tmp_path, join):
    """A station's journal and pool, with another station beside it and two drives here."""
    other, station = join("other"), join("bench")
    other.change(sightings.see, {"HD001": {"serial": "WX11"}})
    with closing(Journal(tmp_path, time.time)) as journal:
        journal.record_membership(station.member.dump())
        spool = Spool(tmp_path, 1.0, time.monotonic)
        made = Sharing(journal, station, spool, Exchange(journal, station, spool))
        made.exchange.seen = {"HD001": {"serial": "WX11"}, "HD002": {"serial": "WX12"}}
        yield made


def settled(sharing, database):
    """It has taken in all news, and its drives have been here for long."""
    sharing.agree()
    database.ask("UPDATE driveprep.sighting SET since = since - interval '1 minute'")
    while sharing.agree():
        pass
    sharing.agree()


def test_a_scan_without_news_is_two_queries(sharing, database):
    """Also with drives here, of which no other station knows a manifest or a job."""
    settled(sharing, database)

    with database.asked() as found:
        assert not sharing.agree()

    assert len(found) == 2, found


def test_when_another_station_was_seen_is_written_down_every_five_minutes(
    sharing, database, tmp_path
):
    """A write a minute would keep each disk busy for nothing; an hour is what counts."""
    settled(sharing, database)
    before = reader.membership(tmp_path)

    database.ask(OTHER_IS_SEEN, "4 minutes")
    sharing.agree()
    assert reader.membership(tmp_path) == before
    database.ask(OTHER_IS_SEEN, "1 minute")
    sharing.agree()

    assert reader.membership(tmp_path) != before


def test_nothing_is_prepared_on_the_server(sharing, database):
    """Behind pgbouncer, a name that this station has prepared could be another's statement."""
    for _ in range(10):  # psycopg prepares after five
        sharing.agree()

    names = sharing.station.ask(
        lambda cursor, _: cursor.execute("SELECT name FROM pg_prepared_statements").fetchall()
    )

    assert names == []
