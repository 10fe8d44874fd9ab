"""The main loop as `build` wires it: its timer, its pauses, and a configuration that changes."""

from itertools import pairwise

from world import World, manifest

from daemon.errors import JournalFullError
from daemon.jobs.journal import Journal
from daemon.service.bell import Ring
from daemon.service.loop import FULL_SECONDS, TIMER_SECONDS
from daemon.service.scheduler import VALIDATION_PAUSE_SECONDS
from daemon.system import systemd


def gaps(times):
    """The seconds between each moment and the next."""
    return [after - before for before, after in pairwise(times)]


def test_the_timer_goes_on_while_a_job_waits():
    """What makes up for lost events is done each time, also for the files of the configuration."""
    times = []
    with World() as world:
        world.on_timer = lambda: times.append(world.clock.now)
        world.drop("hd1.yml", manifest())

        world.live(patience=300)

    assert len(times) >= 300 / TIMER_SECONDS
    assert max(gaps(times)) <= TIMER_SECONDS + 1


def test_a_service_that_cannot_be_reached_has_a_rest():
    """A manifest whose drive is not here yet is validated again after a pause, not at once."""
    times = []
    with World() as world:
        world.drop("hd1.yml", manifest())
        world.wire.faults = [("ValidateOnly", "unreachable")] * 3
        post = world.wire.post

        def noted(parameters, auth):
            if parameters.get("ValidateOnly") == "true":
                times.append(world.clock.now)
            return post(parameters, auth)

        world.wire.post = noted
        world.live(patience=300)

    assert len(times) == 4
    assert min(gaps(times)) >= VALIDATION_PAUSE_SECONDS


def test_a_full_disk_is_waited_for(monkeypatch, caplog):
    """What cannot be recorded is not done, and is done once there is room."""
    record, times = Journal.record_obstacles, []

    def full_at_first(journal, obstacles):
        times.append(world.clock.now)
        if len(times) == 1:
            raise JournalFullError("the disk is full", "Make room on it.")
        record(journal, obstacles)

    monkeypatch.setattr(Journal, "record_obstacles", full_at_first)
    with World() as world:
        world.drop("hd1.yml", manifest())

        world.live(patience=300)

        (row,) = world.rows()
        assert "no mounted drive matches HD001" in row["obstacle"]
    assert gaps(times)[0] == FULL_SECONDS
    assert "the disk is full. Make room on it." in caplog.messages


def test_systemd_is_told_each_status_once(monkeypatch):
    """Not on each turn: it is a message that systemd has to take."""
    told = []
    monkeypatch.setattr(systemd, "notify", told.append)
    with World() as world:
        world.drop("hd1.yml", manifest())

        world.live(patience=300)

    status = [word for word in told if word.startswith("STATUS=")]
    assert status[-1] == "STATUS=1 jobs: 0 in progress, 1 waiting"
    assert len(status) == len(set(status))


def test_another_spool_is_used_only_after_a_restart(caplog):
    """A changed configuration that names one is told so, each time it is read; no other is."""
    with World() as world:
        first = world.spool

        def read(spool):
            world.spool = spool
            return Ring.CONFIG

        world.events = [
            lambda spool=spool: read(spool)
            for spool in (first, first.with_name("a"), first.with_name("z"), first)
        ]
        world.live()

        assert not (world.folder / "a").exists()

    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["another spool is used only after a restart"] * 2
