"""A journal from another time: lost, restored, copied back. No second job is made."""

import shutil

import pytest
from world import World, manifest

from daemon.jobs import backup
from daemon.jobs.schema import NAME


@pytest.fixture
def world():
    """A world in which HD001 was plugged in and nothing was dropped yet."""
    with World() as world:
        world.plug_in("HD001")
        world.live()
        yield world


def journal_files(world):
    """The journal and its log."""
    return sorted(world.spool.glob(f"{NAME}*"))


def keep(world):
    """A copy of the journal as it is now."""
    copy = world.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in journal_files(world):
        shutil.copy(file, copy)


def put_back(world):
    """The copy in the place of the journal, without any log, like by `cp`."""
    for file in journal_files(world):
        file.unlink()
    shutil.copy(world.folder / "copy" / NAME, world.spool)


def drop_another(world, device_id="HD002"):
    """A manifest that has the next CreateJob made."""
    world.plug_in(device_id)
    world.drop(f"{device_id}.yml", manifest(device_id))


def jobs(world, device_id):
    """The JobIds that the service has for a device."""
    return [job.job_id for job in world.made() if device_id in job.manifest]


def test_an_older_copy_beside_newer_papers(world):
    """The papers are the witness: the job is known again, and the same bytes make no second one."""
    keep(world)
    world.drop("hd1.yml", manifest())
    world.live()
    put_back(world)

    drop_another(world)
    world.live()
    world.drop("again.yml", manifest())
    world.live()

    (job_id,) = jobs(world, "HD001")
    states = {row["job_id"]: row["state"] for row in world.rows()}
    assert states[job_id] == "Signed"
    reason = (world.spool / "rejected" / "again.yml.reason.txt").read_text()
    assert f"already prepared as {job_id}" in reason


def test_an_older_copy_while_the_job_has_no_papers(world):
    """The service is the witness: the waiting manifest adopts its job, and SIGNATURE is written."""
    world.drop("hd1.yml", manifest())
    world.shelf.drives[:], drives = [], list(world.shelf.drives)
    world.live(patience=1.0)
    keep(world)
    world.shelf.drives[:] = drives
    world.live()
    shutil.rmtree(next((world.spool / "prepared").iterdir()))
    signature = next(world.media.glob("*/SIGNATURE"))
    before = signature.read_bytes()
    signature.unlink()
    put_back(world)
    world.drop("hd1.yml", manifest())

    world.live()

    assert len(jobs(world, "HD001")) == 1
    assert signature.read_bytes() == before


def test_another_manifest_for_a_job_that_the_journal_lacks(world):
    """It is held with an obstacle that names the job; other manifests go on."""
    keep(world)
    world.drop("hd1.yml", manifest())
    world.live()
    shutil.rmtree(next((world.spool / "prepared").iterdir()))
    put_back(world)

    world.drop("other.yml", manifest(city="Bonn"))
    drop_another(world)
    world.live()

    (job_id,) = jobs(world, "HD001")
    (row,) = [row for row in world.rows() if row["name"] == "other.yml"]
    assert row["state"] == "Pending"
    assert job_id in row["obstacle"]
    assert "unknown-job" in row["obstacle"]
    assert len(jobs(world, "HD002")) == 1


def test_a_foreign_job_is_looked_up_once(world):
    """A job of another station is remembered; the next start does not ask about it again."""
    with World() as other:
        other.plug_in("HD009")
        other.drop("hd9.yml", manifest("HD009"))
        other.live()
        world.wire.hold(other.made())

    drop_another(world)
    world.live()
    drop_another(world, "HD003")
    heard = []
    world.live(heard.append)

    assert len(jobs(world, "HD002")) == len(jobs(world, "HD003")) == 1
    assert "request ListJobs" in heard
    assert [row["device_id"] for row in world.rows()] == ["HD002", "HD003"]
    after_list = heard[heard.index("request ListJobs") :]
    created = after_list.index("request CreateJob")
    assert "request GetStatus" not in after_list[:created]


def test_a_journal_made_from_the_papers(world):
    """Without any journal every job is known again after the start, even if nothing waits."""
    world.drop("hd1.yml", manifest())
    world.live()
    for file in journal_files(world):
        file.unlink()
    (world.spool / "journal.lock").unlink()

    backup.make_empty(world.spool)
    world.live()

    (row,) = world.rows()
    (job_id,) = jobs(world, "HD001")
    assert (row["job_id"], row["state"], row["filed"]) == (job_id, "Signed", 1)
    world.drop("again.yml", manifest())
    world.live()
    assert jobs(world, "HD001") == [job_id]
