"""What is asked at every look must not read the jobs that are long finished."""

from contextlib import closing, contextmanager

import pytest

from daemon.jobs import overview, reader
from daemon.jobs.journal import Journal
from daemon.jobs.storage import database

LOOKS = {
    "recent": lambda folder: reader.recent(folder, 0.0),
    "added": lambda folder: reader.added(folder, 1),
    "count_made": lambda folder: reader.count_made(folder, 0.0),
    "last_number": reader.last_number,
    "overview": lambda folder: overview.read(folder, 0.0, {"HD001"}, 20),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_each_look_uses_an_index(tmp_path, monkeypatch, look):
    """SQLite says so itself: it SCANs a table of which it reads every row."""
    queries = []
    opened = database.open_for_reading

    @contextmanager
    def traced(path):
        with opened(path) as connection:
            connection.set_trace_callback(queries.append)
            yield connection

    monkeypatch.setattr(database, "open_for_reading", traced)
    with closing(Journal(tmp_path, lambda: 1.0)) as journal:
        look(tmp_path)
        asked = [one for one in queries if one.startswith("SELECT")]
        slow = [one for one in asked if "SCAN job" in plan(journal._database, one)]

    assert asked
    assert slow == []


def plan(connection, query):
    """The steps that SQLite takes."""
    return [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
