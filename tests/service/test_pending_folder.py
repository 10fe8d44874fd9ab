"""When pending/ is read: what events name at once, the rest bit by bit, through real folders."""

import math
import os
from contextlib import closing
from pathlib import Path

import pytest

from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE
from daemon.jobs.journal import Journal
from daemon.preparation.arrivals import Arrivals
from daemon.preparation.intake import Intake
from daemon.preparation.texts import Texts
from daemon.preparation.under_way import UnderWay
from daemon.service.bell import Ring
from daemon.service.pending_folder import FLOOD, REST_SECONDS, SCAN_SHARE, PendingFolder
from daemon.spool.spool import Spool

CLIENT = Client("http://127.0.0.1:9", EXAMPLE, 1.0)  # is never asked
GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text()
QUIET = {"is_preparing": False}


class Front:
    """A folder, its reader, and a clock that each look at moves on by `tick`."""

    def __init__(self, folder, journal):
        self.now, self.tick, self.is_rung = 5000.0, 0.0, lambda: False
        self.journal = journal
        self.spool = Spool(folder, 1.0, self.clock)
        arrivals = Arrivals(self.spool, journal.worklist, lambda: 4e9, self.clock)
        under_way = UnderWay(self.clock)
        texts = lambda: Texts(journal, self.spool, under_way, CLIENT)  # noqa: E731
        intake = Intake(arrivals, self.spool, journal, under_way, lambda: 4e9, texts)
        self.folder = PendingFolder(self.spool, intake, self, self.clock)

    def clock(self):
        """Steady seconds."""
        self.now += self.tick
        return self.now

    def drop(self, number, *, noticed=True):
        """A manifest comes by a rename."""
        name = f"{number}.yml"
        (self.spool.path / name).write_text(GUIDE.replace("HD001", f"HD{number}"))
        os.utime(self.spool.path / name, ns=(1, 1))  # however coarse the kernel's clock ticks
        (self.spool.path / name).rename(self.spool.pending / name)
        if noticed:
            self.spool.noticed(name, complete=True)

    def known(self):
        """How many manifests are jobs."""
        return len(self.journal.worklist)


@pytest.fixture
def front(tmp_path):
    """A folder that was scanned once, while it was empty."""
    with closing(Journal(tmp_path, lambda: 4e9)) as journal:
        one = Front(tmp_path, journal)
        one.folder.refresh(Ring.TIMER, **QUIET)
        yield one


def test_an_event_costs_what_it_names(front):
    """Other files are not even examined: the timer finds them."""
    front.drop(1, noticed=False)
    front.drop(2)

    front.folder.refresh(Ring.SPOOL, **QUIET)
    assert [job.name for job in front.journal.unfiled()] == ["2.yml"]

    front.folder.refresh(Ring.TIMER, **QUIET)
    assert front.known() == 2


def test_a_scan_ends_when_something_else_is_to_be_done(front):
    """It goes on in the next call; while drives are prepared, with a rest between."""
    for number in range(20):
        front.drop(number, noticed=False)
    front.tick, front.is_rung = 0.0004, lambda: True

    front.folder.refresh(Ring.TIMER, **QUIET)
    assert front.known() < 20
    assert front.folder.pause() <= 0
    front.folder.refresh(Ring.NOTHING, is_preparing=True)
    assert front.folder.pause() == pytest.approx(REST_SECONDS, abs=0.001)

    for _ in range(40):
        front.folder.refresh(Ring.NOTHING, **QUIET)
    assert front.known() == 20
    assert front.folder.pause() == math.inf


def test_a_start_reads_what_is_there_first(tmp_path):
    """Of two manifests for one drive, neither is submitted before the other is known."""
    with closing(Journal(tmp_path, lambda: 4e9)) as journal:
        front = Front(tmp_path, journal)
        for number in range(9):
            front.drop(number, noticed=False)
        front.tick, front.is_rung = 0.0004, lambda: True

        front.folder.refresh(Ring.TIMER, **QUIET)

        assert front.known() == 9


def test_files_of_events_are_all_read_at_once(front):
    """Whatever rings meanwhile, or is prepared: they may be rivals for one drive."""
    for number in range(9):
        front.drop(number)
    front.tick, front.is_rung = 0.0004, lambda: True

    front.folder.refresh(Ring.SPOOL, is_preparing=True)

    assert front.known() == 9


def test_a_large_folder_is_scanned_less_often(front):
    """Scans that find nothing may have only so much of a core."""
    front.drop(0)
    front.tick = 1.0
    front.folder.refresh(Ring.TIMER, **QUIET)
    front.tick = 0.0
    front.drop(1, noticed=False)

    front.folder.refresh(Ring.TIMER, **QUIET)
    assert front.known() == 1

    front.now += 20 / SCAN_SHARE
    front.folder.refresh(Ring.TIMER, **QUIET)
    assert front.known() == 2


def test_a_flood_of_events_is_followed_by_a_scan(front):
    """The kernel forgets events when there are too many."""
    front.drop(1, noticed=False)
    for number in range(FLOOD):
        front.spool.noticed(f"gone{number}.yml", complete=False)

    front.folder.refresh(Ring.SPOOL, **QUIET)

    assert front.known() == 1


def test_requests_are_among_the_names(front):
    """Names that were noticed; with a scan, all that are there."""
    (front.spool.pending / ".retry-HD001").touch()
    assert front.folder.refresh(Ring.SPOOL, **QUIET) == []

    front.spool.noticed(".retry-HD001", complete=True)
    assert front.folder.refresh(Ring.SPOOL, **QUIET) == [".retry-HD001"]
    assert front.folder.refresh(Ring.TIMER, **QUIET) == [".retry-HD001"]
