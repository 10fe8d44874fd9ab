"""`driveprep jobs`: every job that was made, for people, spreadsheets and programs."""

import csv
import io
import json
import re
import socket
import time
from pathlib import Path

import json_schema
import pytest
from person import prepare

from daemon.desk import made
from daemon.documents import spreadsheet
from daemon.jobs.job import NewJob, Pending, Progress, Rejected, Submitted, Submitting

DRIVE = {"label": "=HD", "serial": "-1", "size": 8}


def add(ledger, device_id, *states):
    """Record a job that walks through these states."""
    new = NewJob(
        device_id=device_id,
        file_system="NTFS",
        name=f"{device_id}.yml",
        sha256=device_id,
        state=Pending("1"),
        since=time.time(),
    )
    (job,) = ledger.add([new])
    for state in states:
        job = ledger.record(job, state, b"")
    return job


def test_every_job_is_there(person, ledger, service):
    """Prepared, in doubt, ended before its drive was signed; no manifests without a job."""
    job = prepare(ledger, service, person, "HD700")
    ledger.record_progress(
        job, Progress(time.time(), "Completed", "done", True, carrier="UPS", tracking_number="1Z")
    )
    sent = Submitting(time.time(), "http://127.0.0.1", "AKIA", DRIVE)
    add(ledger, "HD701", sent)
    state = Submitted("GONE1", "x", "AWS", "", time.time(), DRIVE)
    ended = add(ledger, "HD702", sent, state, Rejected("ended at the service"))
    ledger.mark_filed(ended)
    add(ledger, "HD703")
    add(ledger, "HD704", Rejected("a fault"))

    listed = json.loads(person.types("jobs", "--json").stdout)
    rows = {one["deviceId"]: one for one in listed["jobs"]}
    assert list(rows) == ["HD700", "HD701", "HD702"]
    assert [one["jobId"] for one in rows.values()] == [job.job_id, None, "GONE1"]
    assert [one["state"] for one in rows.values()] == ["Signed", "Submitting", "Rejected"]
    assert rows["HD700"]["closed"]
    assert rows["HD700"]["trackingNumber"] == "1Z"
    assert Path(rows["HD700"]["papers"]).is_dir()
    assert (
        {one["station"] for one in rows.values()} == {listed["station"]} == {socket.gethostname()}
    )


def test_csv_has_the_same_fields(person, ledger, service):
    """One row for each job, whose cells no spreadsheet runs; in a pipe there is a shorter list."""
    person.config.write_text(person.config.read_text() + "station: =bench 1\n")
    job = prepare(ledger, service, person, "+HD710")
    listed = json.loads(person.types("jobs", "--json").stdout)
    (row,) = csv.DictReader(io.StringIO(person.types("jobs", "--csv").stdout))
    names = {
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in listed["jobs"][0].items()
        for inner in (value if isinstance(value, dict) else [""])
    }

    assert set(row) == names
    assert row["jobId"] == job.job_id
    assert (row["station"], row["deviceId"]) == ("'=bench 1", "'+HD710")
    assert (row["drive.size"], row["carrier"], row["closed"]) == ("8000000", "", "no")
    heading, line = person.types("jobs").stdout.splitlines()
    assert heading.split("\t")[1:3] == ["jobId", "deviceId"]
    assert line.split("\t")[1:3] == [job.job_id, "+HD710"]


def test_since(person, ledger, service):
    """A date or a span selects by the moment at which a job was made."""
    prepare(ledger, service, person, "HD720")
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 24 * 3600))

    assert "HD720" in person.types("jobs", "--since", "1h").stdout
    assert "HD720" in person.types("jobs", "--since", "2020-01-31").stdout
    assert "HD720" not in person.types("jobs", "--since", tomorrow).stdout
    assert person.types("jobs", "--since", "yesterday").returncode == 64
    assert person.types("jobs", "--csv", "--json").returncode == 64


def test_without_any_job(person):
    """An empty list, not an error."""
    assert json.loads(person.types("jobs", "--json").stdout)["jobs"] == []
    assert len(person.types("jobs", "--csv").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:00:05Z", 5.0),
        ("1d", 1e6 - 86400),
        ("2w", 1e6 - 1209600),
        ("36h", 1e6 - 129600),
        ("d", None),
        ("30", None),
        ("2026-13-01", None),
    ],
)
def test_moments(text, seconds):
    """Dates begin in UTC, spans end now; anything else is none."""
    assert made.moment(text, 1e6) == seconds


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\uff1d1"])
def test_no_cell_is_run_as_a_formula(text):
    """It begins with an apostrophe, which spreadsheets take for a text."""
    ((cell,),) = csv.reader(io.StringIO(spreadsheet.text([[text]])))

    assert cell.startswith(("'", "\\t"))


def test_cells_come_back():
    """Separators, quotation marks and lines stay in their cell."""
    values = ["a,b", 'c "d"', "e;f", None, True, 7]
    (row,) = csv.reader(io.StringIO(spreadsheet.text([values])))

    assert row == ["a,b", 'c "d"', "e;f", "", "yes", "7"]


def test_the_document_names_every_field():
    """docs/json.md and the schema cannot differ in what there is."""
    text = (json_schema.PLACE.parent / "json.md").read_text()
    named = set(re.findall(r"`(\w+)`", text))
    fields = {
        name for one in json_schema.schema()["$defs"].values() for name in one.get("properties", ())
    }

    assert fields - named == set()


def test_an_unknown_field_fails():
    """The schema allows nothing that it does not describe."""
    with pytest.raises(AssertionError, match="'news' was unexpected"):
        json_schema.check({"version": 1, "station": "", "jobs": [], "news": 1}, "jobs")
