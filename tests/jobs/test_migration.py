"""A journal that the version before wrote (tests/data/journal-1.sqlite3, by its own code)."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from daemon.errors import JournalError
from daemon.jobs import schema
from daemon.jobs.job import Artifact, Pending, Rejected, Signed, Submitted, Submitting
from daemon.jobs.journal import Journal
from daemon.jobs.reader import recent
from daemon.jobs.schema import NAME, VERSION

OLD = Path(__file__).parents[1] / "data" / "journal-1.sqlite3"
STATES = {
    "HD001": Pending,
    "HD002": Pending,
    "HD003": Submitting,
    "HD004": Submitted,
    "HD005": Signed,
    "HD006": Signed,
    "": Rejected,
}


@pytest.fixture
def folder(tmp_path):
    """A folder with that journal."""
    shutil.copy(OLD, tmp_path / NAME)
    return tmp_path


def version(folder):
    """The version that the file says it has."""
    with closing(sqlite3.connect(folder / NAME)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def rows(folder):
    """What the file holds, without the columns that are JSON."""
    query = "SELECT number, device_id, name, sha256, state, job_id, since, filed, closed"
    with closing(sqlite3.connect(folder / NAME)) as connection:
        return connection.execute(f"{query} FROM job ORDER BY number").fetchall()


def test_every_job_is_kept(folder):
    """All states, obstacles, manifests and progress are as they were; the new field is empty."""
    before = rows(folder)

    with closing(Journal(folder, lambda: 0.0, is_new=False)) as journal:
        jobs = {job.device_id: job for job in journal.unfiled()} | {
            job.device_id: job for job in recent(folder, 0.0)
        }
        assert journal.manifest(jobs["HD004"]) == b"deviceId:HD004\n"
        assert [job.device_id for job in journal.followed()] == []

    assert {name: type(job.state) for name, job in jobs.items()} == STATES
    assert jobs["HD004"].state.artifact_list == jobs["HD005"].state.artifact_list == ()
    assert jobs["HD003"].obstacle.attempts == 3
    assert jobs["HD006"].progress.is_terminal
    assert version(folder) == VERSION
    assert rows(folder) == before
    assert all(b"deviceId:HD004" not in path.read_bytes() for path in folder.glob("journal.sql*"))


def test_readers_need_no_migration(folder):
    """`status` reads the old file beside no daemon, and leaves every byte as it is."""
    before = (folder / NAME).read_bytes()

    jobs = recent(folder, 0.0)

    assert {job.device_id: type(job.state) for job in jobs} == STATES
    assert (folder / NAME).read_bytes() == before


def test_an_obstacle_from_before_is_compared_by_its_sentence(folder):
    """After the upgrade the same obstacle is not new, although it has a code only now."""
    with closing(Journal(folder, lambda: 0.0, is_new=False)) as journal:
        job = journal.unfiled()[0]

    assert job.obstacle.code == ""
    assert job.obstacle.is_absence


def test_a_newer_journal_is_refused(folder):
    """A daemon that is older than its journal says so, and changes nothing."""
    with closing(sqlite3.connect(folder / NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (folder / NAME).read_bytes()

    with pytest.raises(JournalError, match="written by a newer driveprep") as caught:
        Journal(folder, lambda: 0.0, is_new=False)

    assert "Install that newer driveprep again" in caught.value.hint
    assert (folder / NAME).read_bytes() == before


def test_papers_for_the_box_are_kept(tmp_path):
    """What the service wants in the box survives a restart."""
    papers = (Artifact("Customs form", "https://example.com/form"), Artifact("", "x"))
    state = Submitted("K7M3X", "text", "", "", 1.0, {}, papers)

    name, fields = schema.columns(state)
    row = (
        1,
        "HD001",
        "NTFS",
        "a.yml",
        "ab",
        name,
        fields,
        1.0,
        0,
        None,
        None,
        None,
        None,
        0,
        "",
        None,
        0,
        "",
        0,
        None,
    )
    assert schema.job(row).state == state
