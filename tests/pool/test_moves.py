"""A drive that is moved to another station between CreateJob and SIGNATURE is signed there."""

import pytest
from apart import APART, content, mount_at, unmount_at, unplug
from as_operator import check_papers, jobs_for, manifest_for, new_device_id, signature_of
from loop_drives import wait_until
from stations import assert_done
from wire import Wire

pytestmark = pytest.mark.xdist_group("pool")


@pytest.fixture
def wire(service):
    """The line to the service."""
    line = Wire(service.endpoint).start()
    yield line
    line.stop()


@pytest.fixture
def benches(station, wire):
    """Two stations with mounts of their own."""
    made = [station(f"bench-{number}", wire.endpoint) for number in (1, 2)]
    for daemon in made:
        daemon.prefix = APART
        daemon.start()
    return made


@pytest.fixture
def drive(plug):
    """A drive, wherever it is in the end."""
    made = plug(new_device_id())
    yield made
    unplug(made)


def submitted(daemon, service, wire, drive):
    """The job of a drive that is unplugged before the answer to CreateJob arrives; return it."""
    wire.hold()
    daemon.drop(drive.label)
    mount_at(daemon, drive)
    wait_until("the request is on the way", wire.is_holding.is_set)
    unmount_at(daemon, drive)
    wire.let_go()
    daemon.until("it is submitted", lambda: daemon.job(drive.label).get("state") == "Submitted")
    (made,) = jobs_for(service, drive.label)
    return made


def signed_at(daemon, service, drive, job, *others):
    """It is prepared there, and nowhere else; nothing was submitted again."""
    daemon.until("it is filed", lambda: daemon.papers(drive.label))
    assert content(daemon, drive, "SIGNATURE") == signature_of(job)
    (papers,) = daemon.papers(drive.label)
    check_papers(papers, job)
    assert [one.job_id for one in jobs_for(service, drive.label)] == [job.job_id]
    for one in others:
        one.until("nothing is left of it", lambda one=one: not one.job(drive.label))
        assert one.papers(drive.label) == []
        assert list(one.pending.glob("*.yml")) == []


def test_a_drive_is_moved_after_it_was_submitted(benches, service, wire, drive):
    """Its job goes with it."""
    first, second = benches
    job = submitted(first, service, wire, drive)

    mount_at(second, drive)

    signed_at(second, service, drive, job, first)
    assert f"job is left to station {second.config.parent.name}" in first.log


def test_a_drive_is_moved_there_and_back(benches, service, wire, drive):
    """The second station could not write to it."""
    first, second = benches
    job = submitted(first, service, wire, drive)
    mount_at(second, drive, "ro")
    second.obstacle(drive.label, "read-only")
    first.until("it is there", lambda: not first.job(drive.label))
    unmount_at(second, drive)

    mount_at(first, drive)

    signed_at(first, service, drive, job, second)


def test_a_drive_is_moved_away_from_a_station_that_died(benches, service, wire, drive):
    """What it saw last is no longer so."""
    first, second = benches
    job = submitted(first, service, wire, drive)
    mount_at(first, drive, "ro")
    first.obstacle(drive.label, "read-only")
    first.kill()
    unplug(drive)

    mount_at(second, drive)

    signed_at(second, service, drive, job)
    first.start()
    first.until("nothing is left of it", lambda: not first.job(drive.label))
    assert first.papers(drive.label) == []


def test_an_updated_drive_is_signed_where_it_is_now(benches, service, drive, tmp_path):
    """Its job was prepared at the first station, and has another SIGNATURE now."""
    first, second = benches
    first.drop(drive.label)
    mount_at(first, drive)
    first.until("it is filed", lambda: first.papers(drive.label))
    (job,) = jobs_for(service, drive.label)
    old = signature_of(job)
    unmount_at(first, drive)
    changed = tmp_path / "changed.yml"
    changed.write_bytes(manifest_for(drive.label) + b"# changed\n")
    assert_done(first.command("update", job.job_id, changed))

    mount_at(second, drive)

    second.until("it is filed", lambda: second.papers(drive.label))
    (job,) = jobs_for(service, drive.label)
    assert content(second, drive, "SIGNATURE") == signature_of(job) != old
    first.until("nothing is left of it", lambda: not first.job(drive.label))
