"""What a person tells the daemon: each order is recorded by the daemon, once it runs."""

import json
import time

import daemon_process
import pytest
from as_operator import manifest_for
from person import GUIDE, prepare

from daemon.jobs.job import Progress, Shipment

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


@pytest.fixture
def bench(start, service, ledger, person):
    """A daemon beside two prepared jobs, HD801 and HD802."""
    jobs = [prepare(ledger, service, person, device_id) for device_id in ("HD801", "HD802")]
    ledger.close()
    return start(spool=person.spool), jobs


def open_jobs(station):
    """Return the deviceIds in the status."""
    return [job["deviceId"] for job in station.status()["jobs"]]


def exported(station):
    """Return the shipments in the list of all jobs."""
    jobs = json.loads(station.command("jobs", "--json").stdout)["jobs"]
    return {job["deviceId"]: job["shipment"] for job in jobs}


def test_shipped_takes_a_job_off_the_list(bench, tmp_path):
    """By JobId or deviceId; the shipment is in `show`, in the list of jobs and on a new slip."""
    station, (one, _) = bench
    slip = tmp_path / "slip.html"
    done = station.command("shipped", one.job_id, "--carrier", "UPS", "--tracking", "1Z999")

    assert done.returncode == 0, done.stderr
    assert f"job {one.job_id} for HD801 is shipped" in done.stdout
    assert open_jobs(station) == ["HD802"]
    assert "UPS 1Z999" in station.command("show", "HD801").stdout
    assert exported(station)["HD801"]["tracking"] == "1Z999"
    assert exported(station)["HD802"] == {"at": None, "carrier": None, "tracking": None}
    assert station.command("slip", "HD801", "--output", slip).returncode == 0
    assert "UPS 1Z999</span>" in slip.read_text()
    again = station.command("new", GUIDE, "--device", "HD801", "--into", tmp_path / "x")
    assert f"HD801 already has the open job {one.job_id}" in again.stderr


def test_undo_brings_it_back(bench):
    """Several at once; what is said twice keeps its first moment and learns what is new."""
    station, _ = bench
    assert station.command("shipped", "HD801", "HD802").returncode == 0
    assert open_jobs(station) == []
    first = exported(station)["HD801"]["at"]
    assert station.command("shipped", "HD801", "--carrier", "DHL").returncode == 0
    assert exported(station)["HD801"] == {"at": first, "carrier": "DHL", "tracking": None}
    done = station.command("shipped", "HD801", "HD802", "--undo")

    assert done.stdout.count("is on the list again") == 2
    assert station.log.count("drive not shipped") == 2
    assert open_jobs(station) == ["HD801", "HD802"]
    assert exported(station)["HD801"]["at"] is None


def test_all_are_recorded_or_none(bench):
    """A word that is no job, or a drive that is not prepared, stops the whole order."""
    station, _ = bench
    station.drop("HD803")
    station.until("it is taken in", lambda: "HD803" in open_jobs(station))
    unknown = station.command("shipped", "HD801", "HD899")
    waiting = station.command("shipped", "HD801", "HD803")

    assert (unknown.returncode, waiting.returncode) == (75, 75)
    assert "there is no job HD899" in unknown.stderr
    assert "the drive of HD803 is not prepared yet" in waiting.stderr
    assert "HD801" in open_jobs(station)
    assert station.command("shipped", "HD801", "HD802", "--tracking", "1Z").returncode == 64
    assert station.command("shipped", "HD801", "--undo", "--carrier", "UPS").returncode == 64
    assert station.command("shipped", "HD801", "--carrier", "x" * 101).returncode == 75


def test_a_drive_that_stays_is_warned_of_once(start, service, ledger, person, tmp_path):
    """After `ship_within`, by log, hook and status; also over a restart; shipped ones are not."""
    for device_id in ("HD811", "HD812"):
        prepare(ledger, service, person, device_id)
    ledger.record_shipments([(ledger.job_of("HD812"), Shipment(time.time()))])
    with ledger._commit() as database:  # both were prepared four days ago
        database.execute(
            "UPDATE job SET since = since - 345600, fields ="
            " json_set(fields, '$.signed_at', json_extract(fields, '$.signed_at') - 345600)"
        )
    ledger.close()
    told = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$DRIVEPREP_EVENT $DRIVEPREP_DEVICE_ID" >> {told}\n')
    hook.chmod(0o755)
    station = start(spool=person.spool, hooks={"unshipped": [str(hook)]})
    station.until("the hook has run", told.exists)
    (job,) = station.status()["jobs"]

    assert (job["deviceId"], job["unshipped"]) == ("HD811", True)
    assert "SHIP IT: it must arrive before" in station.command("status").stdout
    assert station.log.count("drive is not shipped") == 1
    station.restart()
    station.drop("HD813")
    station.until("it is taken in", lambda: "HD813" in open_jobs(station))
    assert station.log.count("drive is not shipped") == 1
    assert told.read_text() == "unshipped HD811\n"
