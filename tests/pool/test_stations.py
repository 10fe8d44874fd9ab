"""Several real daemons that share a real PostgreSQL, with real NTFS drives: one job, always."""

import os
import signal

import pytest
from as_operator import (
    give_own_uuid,
    jobs_for,
    manifest_for,
    new_device_id,
    prepared_once,
    signature_of,
    unmount,
    uuid_of,
)
from loop_drives import wait_until
from stations import assert_done
from wire import Wire

pytestmark = pytest.mark.xdist_group("pool")
WINDOW = 15 * 60.0


def until_it_has(daemon, device_id, key, value):
    """Wait until the status shows a job of the deviceId with that value; return it."""

    def found():
        job = daemon.job(device_id)
        return job if job.get(key) == value else None

    return daemon.until(f"{device_id} has {key} {value}", found)


def test_the_same_manifest_at_two_stations_is_one_job(station, service, plug):
    """Both see the drive. One makes the job; the other files its manifest as a duplicate."""
    device_id = new_device_id()
    first, second = station("bench-1").start(), station("bench-2").start()
    drive = plug(device_id)
    for daemon in (first, second):
        daemon.drop(device_id)
    drive.mount()

    wait_until("papers", lambda: first.papers(device_id) or second.papers(device_id))
    winner, loser = (first, second) if first.papers(device_id) else (second, first)
    prepared_once(service, winner, drive.mount_point, device_id)

    name = "bench-1" if winner is first else "bench-2"
    reason = loser.rejected(f"{device_id}.yml")
    assert f"the same manifest was dropped at station {name}" in reason
    assert len(jobs_for(service, device_id)) == 1


def test_a_station_that_died_in_doubt_is_taken_over(station, service, plug, clock):
    """Its request had arrived: the job is found, and its SIGNATURE written by the other one."""
    device_id = new_device_id()
    first, second = station("bench-1").start(), station("bench-2").start()
    service.faults.add("hang-after", "CreateJob", times=None)
    drive = plug(device_id)
    first.drop(device_id)
    drive.mount()
    wait_until("the job is made", lambda: jobs_for(service, device_id))
    first.kill()
    service.faults.clear()

    assert_done(second.command("pool", "take-over", "bench-1", "--yes"))

    prepared_once(service, second, drive.mount_point, device_id)
    assert first.papers(device_id) == []


def test_a_prepared_job_that_was_taken_over_is_followed_by_one_station(station, service, plug):
    """The first one keeps its papers, and does not take the job in again from them."""
    device_id = new_device_id()
    first, second = station("bench-1").start(), station("bench-2").start()
    drive = plug(device_id)
    first.drop(device_id)
    drive.mount()
    prepared_once(service, first, drive.mount_point, device_id)
    (made,) = jobs_for(service, device_id)

    assert_done(second.command("pool", "take-over", "bench-1", device_id, "--yes"))

    until_it_has(second, device_id, "jobId", made.job_id)
    first.until("nothing is left of it", lambda: not first.job(device_id))
    first.restart()
    first.drop("another-one")
    first.until("it has begun", lambda: first.job("another-one"))
    assert not first.job(device_id)
    assert "known from its papers" not in first.log
    assert first.papers(device_id)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_request_that_arrives_after_the_take_over(station, service, plug, clock, is_late):
    """Within the window the job is found; later the service refuses it, and one new job is made."""
    wire = Wire(service.endpoint).start()
    device_id = new_device_id()
    first = station("bench-1", wire.endpoint).start()
    second = station("bench-2", wire.endpoint).start()
    wire.hold()
    drive = plug(device_id)
    first.drop(device_id)
    drive.mount()
    wait_until("its request is on the way", wire.is_holding.is_set)
    first.kill()
    assert_done(second.command("pool", "take-over", "bench-1", "--yes"))
    until_it_has(second, device_id, "state", "Submitting")
    assert jobs_for(service, device_id) == []

    if is_late:
        clock.ahead = WINDOW + 5
    wire.let_go()

    prepared_once(service, second, drive.mount_point, device_id)
    wire.stop()


def test_a_station_that_was_frozen_and_thaws_after_the_take_over(station, service, plug, clock):
    """The service refuses its request; it notices, makes no job and files nothing."""
    wire = Wire(service.endpoint).start()
    device_id = new_device_id()
    first = station("bench-1", wire.endpoint).start()
    second = station("bench-2", wire.endpoint).start()
    wire.hold()
    drive = plug(device_id)
    first.drop(device_id)
    drive.mount()
    wait_until("its request is on the way", wire.is_holding.is_set)
    os.kill(first.pid, signal.SIGSTOP)
    assert_done(second.command("pool", "take-over", "bench-1", "--yes"))
    clock.ahead = WINDOW + 5
    wire.let_go()
    prepared_once(service, second, drive.mount_point, device_id)

    os.kill(first.pid, signal.SIGCONT)

    own = f"{device_id}: "
    first.until(
        "it says so",
        lambda: any(own in one and "bench-2" in one for one in first.log.splitlines()),
    )
    assert first.papers(device_id) == []
    (made,) = jobs_for(service, device_id)
    assert (drive.mount_point / "SIGNATURE").read_bytes() == signature_of(made)
    wire.stop()


def test_without_the_database_no_job_is_made(station, service, plug, cluster):
    """What was made before is signed; then it goes on by itself."""
    device_id = new_device_id()
    daemon = station("bench-1").start()
    cluster.stop()
    try:
        drive = plug(device_id)
        daemon.drop(device_id, manifest_for(device_id))
        drive.mount()
        until_it_has(daemon, device_id, "code", "pool-away")
        assert jobs_for(service, device_id) == []
        assert "cannot be asked" in daemon.status()["daemon"]["pool"]
    finally:
        cluster.start()

    prepared_once(service, daemon, drive.mount_point, device_id)


def test_a_manifest_follows_its_drive(station, service, plug):
    """Dropped at a station that cannot use the drive, it is prepared where the drive is."""
    device_id = new_device_id()
    office = station("office", require_mapping=True).start()
    bench = station("bench-1").start()
    data = manifest_for(device_id)
    office.drop(device_id, data)
    office.until("it waits", lambda: office.job(device_id).get("state") == "Pending")

    drive = plug(device_id)
    drive.mount()

    prepared_once(service, bench, drive.mount_point, device_id, data)
    office.until("its file has gone", lambda: not (office.pending / f"{device_id}.yml").exists())
    office.until("its job has gone", lambda: not office.job(device_id))


def test_a_manifest_is_dropped_at_two_stations(station, service, plug, cluster):
    """The second one is a duplicate, filed with its reason; the first is prepared."""
    device_id = new_device_id()
    office = station("office", require_mapping=True).start()
    bench = station("bench-1").start()
    bench.drop(device_id)
    query = "SELECT text FROM driveprep.manifest"
    wait_until("it is published", lambda: cluster.ask(query) == [(manifest_for(device_id),)])
    office.drop(device_id)

    reason = office.rejected(f"{device_id}.yml")
    assert "the same manifest was dropped at station bench-1" in reason
    drive = plug(device_id)
    drive.mount()
    prepared_once(service, bench, drive.mount_point, device_id)


def test_an_edit_and_a_withdrawal_before_the_drive_comes(station, service, plug, cluster):
    """What waits in the pool is what waits in the folder."""
    device_id = new_device_id()
    office = station("office", require_mapping=True).start()
    bench = station("bench-1").start()
    path = office.drop(device_id)
    query = "SELECT text FROM driveprep.manifest"
    wait_until("it is published", lambda: cluster.ask(query) == [(manifest_for(device_id),)])
    edited = manifest_for(device_id, logBucket="edited")
    office.drop(device_id, edited)
    wait_until("the edit, too", lambda: cluster.ask(query) == [(edited,)])

    path.unlink()

    wait_until("it is withdrawn", lambda: cluster.ask(query) == [])
    drive = plug(device_id)
    drive.mount()
    bench.drop(device_id)
    prepared_once(service, bench, drive.mount_point, device_id)


def test_an_edit_and_a_withdrawal_while_the_database_is_away(station, cluster):
    """The status says that they have not taken effect yet; later they do."""
    edited, withdrawn = new_device_id(), new_device_id()
    daemon = station("bench-1").start()
    daemon.drop(edited)
    path = daemon.drop(withdrawn)
    query = "SELECT name FROM driveprep.manifest ORDER BY text"
    wait_until("both are published", lambda: len(cluster.ask(query)) == 2)
    cluster.stop()
    try:
        daemon.drop(edited, manifest_for(edited, logBucket="edited"))
        path.unlink()
        names = ", ".join(sorted([f"{edited}.yml", f"{withdrawn}.yml"]))
        daemon.until("it is said", lambda: daemon.status()["daemon"].get("unpublished") == names)
        shown = daemon.command("status").stderr
        assert f"NOT IN THE POOL YET: changes of {names}" in shown
    finally:
        cluster.start()

    daemon.until("it is known", lambda: daemon.status()["daemon"]["unpublished"] == "")
    assert cluster.ask(query) == [(f"{edited}.yml",)]


def test_two_drives_for_one_device_at_two_stations(station, service, plug, cluster):
    """Neither is signed, as on one station, until one of them is gone."""
    device_id = new_device_id()
    drives = [plug(new_device_id()), plug(new_device_id())]
    for drive in drives:
        give_own_uuid(drive)
        drive.mount()
    first, second = (
        station(
            f"bench-{number}",
            require_mapping=True,
            devices={device_id: {"uuid": uuid_of(drive)}},
        ).start()
        for number, drive in enumerate(drives, 1)
    )
    query = "SELECT count(*) FROM driveprep.sighting WHERE device_id = %s"
    wait_until("both are seen", lambda: cluster.ask(query, device_id) == [(2,)])

    first.drop(device_id)
    first.obstacle(device_id, "station bench-2 has another drive", uuid_of(drives[1]))
    assert jobs_for(service, device_id) == []

    unmount(drives[1])
    prepared_once(service, first, drives[0].mount_point, device_id)
    assert second.papers(device_id) == []


def test_the_doctor_looks_at_the_pool(station, cluster):
    """Joined and open is in order; a database that is away is a problem."""
    daemon = station("bench-1")
    assert "ok  pool:" in daemon.command("doctor").stdout

    cluster.stop()
    try:
        assert "problem  pool:" in daemon.command("doctor").stdout
    finally:
        cluster.start()
