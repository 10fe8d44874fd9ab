"""What a person has decided, and what may go wrong: recorded for one job, and for no other."""

import json
from contextlib import closing
from dataclasses import replace

from daemon.jobs import orders
from daemon.jobs.job import Caution, NewJob, Pending, Submitting
from daemon.jobs.journal import Journal

NOW = 2_000_000_000.0
WAITING = NewJob(
    device_id="HD001",
    file_system="NTFS",
    name="a.yml",
    sha256="a",
    state=Pending("1"),
    since=NOW,
)


def test_a_drive_is_let_through_for_one_job_only(tmp_path):
    """Also after another start and a failed request; a manifest that is dropped again asks anew."""
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.add([WAITING])
        assert [one.number for one in journal.allow_as_it_is("HD001")] == [job.number]
        assert journal.allow_as_it_is("HD002") == []

    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.unfiled()
        assert job.is_as_it_is
        job = journal.record(job, Submitting(NOW, "", "", {}), manifest=b"a")
        job = journal.record(job, Pending("", validated=True))
        assert job.is_as_it_is

        journal.withdraw([job])
        (again,) = journal.add([WAITING])
        assert not again.is_as_it_is


def test_what_a_person_orders_is_logged(tmp_path, caplog):
    """With the job's deviceId; also that no job waits for the drive."""
    caplog.set_level("INFO", "daemon.orders")
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        journal.add([WAITING])
        for device_id in ("HD001", "HD002"):
            order = json.dumps({"order": "as it is", "deviceId": device_id})
            orders.perform(journal, order.encode())

    assert [(one.message, getattr(one, "device_id", "")) for one in caplog.records] == [
        ("its drive may be used as it is", "HD001"),
        ("no job waits for the drive HD002; none is used as it is", ""),
    ]


def test_a_job_that_is_sent_cannot_be_let_through_any_more(tmp_path):
    """Its drive was already looked at."""
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.add([WAITING])
        journal.record(job, Submitting(NOW, "", "", {}), manifest=b"a")

        assert journal.allow_as_it_is("HD001") == []


def test_what_may_go_wrong_outlasts_a_start(tmp_path):
    """A job that is gone meanwhile is left alone."""
    caution = Caution("unreachable", "cannot reach it", "Wait.")
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.add([WAITING])
        assert journal.record_cautions(job, [caution]).cautions == (caution,)

    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.unfiled()
        assert job.cautions == (caution,)
        journal.withdraw([job])
        assert journal.record_cautions(job, []) is job
        assert journal.unfiled() == []


def test_texts_of_a_manifests_own_warnings_are_only_on_disk(tmp_path):
    """Ten of them for each of 100,000 manifests are most of the memory. What it said stays."""
    own = Caution("manifest", "a.yml:5:11: logBucket: is the guide's placeholder")
    other = Caution("unreachable", "cannot reach it", "Wait.")
    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.add([replace(WAITING, cautions=(own,))])
        assert job.cautions == (own,)
        assert journal.worklist.get(job.number).cautions == (Caution("manifest", ""),)

        assert journal.record_cautions(job, [other]).cautions == (own, other)

    with closing(Journal(tmp_path, lambda: NOW)) as journal:
        (job,) = journal.unfiled()
        assert job.cautions == (Caution("manifest", ""), other)
        assert journal.cautions(job) == (own, other)
        journal.record_cautions(job, [])
        assert journal.cautions(job) == (own,)
