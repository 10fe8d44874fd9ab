"""What an older dump and a lost journal have lost is found in the papers and at the service."""

import shutil
from dataclasses import replace

import pytest
from apart import APART, content, mount_at, unmount_at, unplug
from as_operator import check_papers, jobs_for, new_device_id, signature_of
from loop_drives import wait_until
from stations import assert_done, claim, made, with_it

from daemon.pool.recovery import restoring
from daemon.pool.recovery.restoring import Lost
from daemon.pool.waiting import Waiting, offer

RESTORE = "pool", "restore", "--lost", "bench-1"

pytestmark = pytest.mark.xdist_group("pool")


@pytest.fixture
def lost(station, service, cluster, plug, tmp_path):
    """Two stations: what the first has prepared is neither in the database nor in its journal.

    In the database its manifest waits. Its drive is unplugged; it is empty again.
    """
    first, second = station("bench-1"), station("bench-2")
    for daemon in (first, second):
        daemon.prefix = APART
        daemon.start()
    second.drop(new_device_id())  # so that it does not look at the service's list any more
    second.until("it has listed", lambda: "found valid by the service" in second.log)
    drive = plug(device_id := new_device_id())
    first.drop(device_id)
    query = "SELECT 1 FROM driveprep.manifest WHERE device_id = %s"
    wait_until("it waits", lambda: cluster.ask(query, device_id))
    cluster.dump(tmp_path / "dump")
    assert_done(first.command("backup", tmp_path / "copy"))
    mount_at(first, drive)
    first.until("it is filed", lambda: first.papers(device_id))
    unmount_at(first, drive)
    drive.make(device_id)
    first.kill()
    cluster.restore(tmp_path / "dump")
    cluster.ask("SELECT pg_notify('driveprep', '')")  # else it looks within a minute
    until_it_says(second, "bench-2", "has said")
    yield first, second, drive
    unplug(drive)


@pytest.fixture
def anew(lost):
    """The same, after the first station has joined with an empty journal."""
    first, _, _ = lost
    for file in first.spool.glob("journal.sqlite3*"):
        file.unlink()
    assert_done(first.command("restore", "--from-papers"))
    assert_done(first.command("pool", "join", "bench-1b"))
    return lost


def until_it_says(daemon, name, words):
    """Wait until `pool status` has these words about a station."""

    def is_said():
        lines = daemon.command("pool", "status").stdout.splitlines()
        return any(line.startswith(f"{name}: ") and words in line for line in lines)

    wait_until(f"{name} {words}", is_said)


def test_the_papers_know_the_job(anew, service):
    """Its manifest waits no more, and is a duplicate where it is dropped again."""
    first, second, drive = anew
    device_id = drive.label
    (job,) = jobs_for(service, device_id)

    done = first.command(*RESTORE, "--yes")

    assert_done(done)
    assert f"job {job.job_id} for {device_id} (open) is not in the pool" in done.stdout
    assert f"{device_id}.yml waits at bench-1, and was submitted already" in done.stdout
    mount_at(second, drive)
    second.drop(device_id)
    assert "was dropped at station bench-1b" in second.rejected(f"{device_id}.yml")
    assert [one.job_id for one in jobs_for(service, device_id)] == [job.job_id]

    first.start()
    first.until("it follows the job", lambda: first.job(device_id).get("jobId") == job.job_id)
    first.stop()
    done = first.command("pool", "restore", "--yes")
    assert "the pool knows every job" in done.stdout


def test_only_the_service_knows_the_job(anew, service):
    """It is that of the manifest that waits: its SIGNATURE is written where the drive is."""
    first, second, drive = anew
    shutil.rmtree(first.spool / "prepared")
    assert_done(first.command(*RESTORE, "--yes"))

    mount_at(second, drive)
    first.start()

    second.until("it is filed", lambda: second.papers(drive.label))
    (job,) = jobs_for(service, drive.label)
    assert content(second, drive, "SIGNATURE") == signature_of(job)
    check_papers(*second.papers(drive.label), job)


def test_an_older_copy_of_the_journal(lost, service, tmp_path):
    """The station is the same one: it learns the job from the pool."""
    first, second, drive = lost
    (job,) = jobs_for(service, drive.label)
    assert_done(first.command("restore", tmp_path / "copy"))

    assert_done(first.command("pool", "restore", "--yes"))
    first.start()

    until_it_says(first, "bench-1", "1 open jobs, 0 in doubt")
    first.until("it follows the job", lambda: first.job(drive.label).get("jobId") == job.job_id)
    mount_at(second, drive)
    second.drop(drive.label)
    assert "was dropped at station bench-1" in second.rejected(f"{drive.label}.yml")
    assert [one.job_id for one in jobs_for(service, drive.label)] == [job.job_id]


def test_who_has_not_spoken_is_waited_for(anew, cluster, tmp_path):
    """What its journal knows is not lost; nor is anything recorded before a person has agreed."""
    first, second, _ = anew
    assert first.command(*RESTORE).returncode == 130
    assert cluster.ask("SELECT count(*) FROM driveprep.claim") == [(0,)]
    second.kill()
    cluster.dump(tmp_path / "again")
    cluster.restore(tmp_path / "again")

    done = first.command(*RESTORE, "--yes")

    assert done.returncode != 0
    assert "what their journals hold: bench-2" in done.stderr
    assert "CLOSED" in first.command("pool", "status").stdout


def found(one, job_id="J0001", **other):
    """A job that the pool does not know, made under a claim like that one."""
    return Lost(replace(one, id="", text=b""), job_id, {"state": "Signed"}, **other)


def recorded(database, station, *lost, shas=()):
    """Record what was found."""
    return with_it(
        database, lambda cursor: restoring.record(cursor, station.member, lost, list(shas))
    )


def test_a_claim_in_doubt_is_settled(database, join):
    """Its station keeps it: it learns the JobId."""
    first, second = join("bench-1"), join("bench-2")
    first.claim(one := claim("HD001"), "")

    assert recorded(database, second, found(one)) == []

    (held,) = first.look()
    assert (held.job_id, held.claim.text) == ("J0001", b"")
    assert recorded(database, second, found(one)) == []
    assert second.look() == []


def test_another_job_of_the_pool_stays(database, join):
    """One device carries one SIGNATURE: a person has to cancel one of the jobs."""
    first, second = join("bench-1"), join("bench-2")
    first.claim(one := claim("HD001"), "")
    made(first, one, "J0001")

    assert recorded(database, second, found(one, "J0002")) == ["J0002"]

    assert [held.job_id for held in first.look()] == ["J0001"]


def test_an_ended_job_leaves_its_device_free(database, join):
    """But what it was made of waits no more: its station removes the file."""
    first, second = join("bench-1"), join("bench-2")
    one = claim("HD001")
    first.change(offer, [Waiting(one.sha256, "HD001", one.name, one.text)])

    recorded(database, second, found(one, is_closed=True), shas=[one.sha256])

    row = "SELECT is_over, previous::text FROM driveprep.manifest"
    assert database.ask(row) == [(True, first.member.station)]
    second.claim(claim("HD001", sha256="1" * 64), "")
