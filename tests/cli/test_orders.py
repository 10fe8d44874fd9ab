"""What a person tells the daemon: each order is recorded by the daemon, once it runs."""

import time

import daemon_process
import pytest
from as_operator import manifest_for
from person import prepare

from daemon.jobs.job import Progress

service, start = daemon_process.service, daemon_process.start

FAULTY = manifest_for("HD001").replace(b"fileSystem:NTFS", b"fileSystem:FAT")


def listed(station):
    """Return the manifests and states of the status, by the name of the manifest."""
    return [(job["manifest"], job["state"]) for job in station.status()["jobs"]]


@pytest.fixture
def station(start):
    """A daemon that has rejected two manifests."""
    station = start()
    for name in ("one.yml", "two.yml"):
        station.drop("HD001", FAULTY.replace(b"HD001", name[:3].encode()), name=name)
        station.rejected(name)
    station.until("both are filed", lambda: len(listed(station)) == 2)
    return station


def test_a_rejection_goes_when_its_manifest_is_accepted(station):
    """It has the same name; the other rejection stays, and so do the files in rejected/."""
    station.drop("HD001", manifest_for("HD001"), name="one.yml")
    station.until("it is taken in", lambda: "manifest one.yml accepted" in station.log)

    assert listed(station) == [("two.yml", "Rejected"), ("one.yml", "Pending")]
    assert (station.spool / "rejected" / "one.yml.reason.txt").exists()


def test_another_rejection_does_not_hide_the_first(station):
    """Each row has its own reason file."""
    station.drop("HD001", FAULTY, name="one.yml")
    rows = station.until(
        "there are three",
        lambda: (
            len(rows := station.status()["jobs"]) == 3
            and all(row["reasonFile"] for row in rows)
            and rows
        ),
    )

    assert len({row["reasonFile"] for row in rows}) == 3


def test_dismiss(station, service):
    """By the name of the manifest or by the deviceId; what is none is reported."""
    service.faults.add("error", "CreateJob", code="NoSuchBucketException", message="no such bucket")
    station.drop("HD002", name="three.yml")
    station.rejected("three.yml")
    first = station.command("dismiss", "one.yml", "nothing", "two.yml")

    assert first.returncode == 75
    assert "2 dismissed; manifests and reasons stay in" in first.stdout
    assert "there is no rejection of nothing" in first.stderr
    assert listed(station) == [("three.yml", "Rejected")]
    assert station.command("dismiss", "HD002").returncode == 0
    assert listed(station) == []
    assert (station.spool / "rejected" / "two.yml").exists()
    assert station.command("show", "HD002").returncode == 0


def test_dismiss_all_waits_for_a_daemon(station):
    """An order that is given while none runs is carried out when one starts."""
    station.stop()
    done = station.command("dismiss", "--all")

    assert done.returncode == 0
    assert "it does so when it starts" in done.stderr
    assert len(listed(station)) == 2
    station.start()
    station.until("they are dismissed", lambda: listed(station) == [])
    station.until("the order is gone", lambda: not list(station.pending.iterdir()))


def test_a_cancelled_job_is_called_cancelled(person, ledger, service):
    """In the status, in `show` and in the list of jobs; not prepared."""
    job = prepare(ledger, service, person, "HD730")
    ledger.record_progress(job, Progress(time.time(), "Canceled", "cancelled", True))

    for words in (["status"], ["show", "HD730"], ["jobs"]):
        shown = person.types(*words).stdout
        assert "cancelled" in shown
        assert "prepared" not in shown.replace("/prepared/", "")


def test_wrong_use_is_64(station):
    """Words or all, not both, not neither."""
    assert station.command("dismiss").returncode == 64
    assert station.command("dismiss", "--all", "one.yml").returncode == 64
