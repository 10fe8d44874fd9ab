"""One daemon for each station: a copied journal makes no job beside the original."""

import shutil
import signal
from contextlib import closing

import postgres
import pytest
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once
from daemon_process import DaemonProcess
from loop_drives import wait_until
from stations import with_it

from daemon.errors import PoolError
from daemon.pool import lock
from daemon.pool.connection import Connections
from daemon.pool.lock import StationLock

pytestmark = pytest.mark.xdist_group("pool")
HELD = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def copied(station, service, cluster, tmp_path):
    """The original, with its daemon running, and a copy of its machine."""
    original = station("bench-1")
    folder = tmp_path / "copy"
    pool = {"address": cluster.url}
    copy = DaemonProcess(folder, service.endpoint, pool=pool, station="bench-1", timeout=2)
    shutil.copytree(original.spool, copy.spool)
    original.start()
    wait_until("it has the lock", lambda: cluster.ask(HELD))
    yield original, copy
    if copy.is_running:
        copy.kill()


def test_a_copied_machine_makes_no_job(copied, service, plug):
    """It says what is to be done; when the original stops, it is the station."""
    original, copy = copied
    device_id = new_device_id()
    copy.start()
    drive = plug(device_id)
    copy.drop(device_id, data := manifest_for(device_id))
    drive.mount()

    found = copy.obstacle(device_id, "another daemon runs as station bench-1")
    assert (found["code"], "empty its spool" in found["hint"]) == ("pool-same-station", True)
    assert "another daemon" in copy.status()["daemon"]["pool"]
    assert jobs_for(service, device_id) == []
    assert not original.status()["daemon"]["pool"]

    original.stop()

    prepared_once(service, copy, drive.mount_point, device_id, data)


def test_a_copied_machine_cannot_end_the_membership(copied):
    """Its original would be out of the pool."""
    original, copy = copied

    done = copy.command("pool", "leave")

    assert (done.returncode != 0, "another daemon runs" in done.stderr) == (True, True)
    assert not original.status()["daemon"]["pool"]


def test_a_station_that_was_killed_starts_again_at_once(station, service, plug, cluster):
    """Its connection ends with it, and so does its lock."""
    daemon = station("bench-1").start()
    wait_until("it has the lock", lambda: cluster.ask(HELD))
    device_id = new_device_id()
    drive = plug(device_id)
    drive.mount()
    daemon.end(signal.SIGKILL)

    daemon.start()
    daemon.drop(device_id)

    prepared_once(service, daemon, drive.mount_point, device_id)
    assert "another daemon" not in daemon.log


def test_the_lock_is_taken_again_when_its_connection_breaks(station, service, plug, cluster):
    """Jobs are made again by themselves."""
    daemon = station("bench-1").start()
    ((before,),) = wait_until("it has the lock", lambda: cluster.ask(HELD))
    cluster.ask("SELECT pg_terminate_backend(%s)", before)
    device_id = new_device_id()
    drive = plug(device_id)
    daemon.drop(device_id)
    drive.mount()

    prepared_once(service, daemon, drive.mount_point, device_id)
    ((after,),) = cluster.ask(HELD)
    assert after != before


def test_a_claim_needs_the_lock_that_the_server_knows(join, database):
    """Also before the station has noticed that its connection has ended."""
    one = join("bench-1").member
    held = StationLock(one.station, one.name)
    connection = join("bench-2")._connections.open()
    held.take(connection)
    held.wait()
    with_it(database, held.check)

    connection.close()
    wait_until("the server knows", lambda: not database.ask(HELD))

    with pytest.raises(PoolError) as caught:
        with_it(database, held.check)
    assert caught.value.code == "pool-away"
    with_it(database, lambda cursor: lock.check_free(cursor, one.station, one.name))


def test_a_role_that_can_only_read_and_write_rows_can_hold_it(join, database):
    """What `pool init --grant-to` gives; the second daemon is refused, too."""
    one = join("bench-1").member
    database.ask("DROP ROLE IF EXISTS holder")
    database.ask("CREATE ROLE holder LOGIN")
    connections = Connections(database.url.replace(f"user={postgres.USER}", "user=holder"))
    first, second = (StationLock(one.station, one.name) for _ in range(2))
    with closing(connections), closing(connections.open()) as line:
        first.take(line)
        connections.run(first.check)
        with closing(connections.open()) as other, pytest.raises(PoolError) as caught:
            second.take(other)
    assert caught.value.code == "pool-same-station"
