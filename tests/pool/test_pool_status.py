"""`driveprep pool status`: which stations there are, and which jobs no one follows."""

import json

import pytest
from as_operator import new_device_id
from stations import assert_done, claim, made

from daemon.desk import pool_report

HOURS = "UPDATE driveprep.station SET seen_at = seen_at - interval '2 hours' WHERE name = %s"


def test_jobs_of_a_station_that_is_not_seen_any_more(join, database):
    """With their JobIds, and when the station was seen; closed ones are not among them."""
    first, second = join("bench-1"), join("bench-2")
    ones = [claim(f"HD00{number}") for number in (1, 2, 3)]
    for one in ones:
        first.claim(one, "")
        first.sent(one.id)
    made(first, ones[0], "J0001", is_filed=True)
    made(first, ones[2], "J0003", is_filed=True, is_closed=True)
    second.claim(claim("HD004"), "")
    assert second.ask(lambda cursor, _: pool_report.status(cursor))["unattended"] == []

    database.ask(HOURS, "bench-1")

    found = second.ask(lambda cursor, _: pool_report.status(cursor))
    jobs = [(one["station"], one["deviceId"], one["jobId"]) for one in found["unattended"]]
    assert jobs == [("bench-1", "HD001", "J0001"), ("bench-1", "HD002", None)]
    assert [one["silent"] for one in found["stations"]] == [True, False]


@pytest.mark.xdist_group("pool")
def test_what_a_person_and_a_program_are_told(station, cluster):
    """The sentence names what to do; the JSON is that of docs/json.schema.json."""
    first, second = station("bench-1"), station("bench-2")
    device_id = new_device_id()
    cluster.ask(
        "INSERT INTO driveprep.claim (id, device_id, station, name, sha256, file_system, signed_at,"
        " endpoint, access_key_id, drive, job_id) SELECT gen_random_uuid(), %s, id, 'HD.yml', '0',"
        " 'NTFS', 0, '', '', '{}', 'J0001' FROM driveprep.station WHERE name = 'bench-1'",
        device_id,
    )
    cluster.ask(HOURS, "bench-1")

    shown, told = second.command("pool", "status"), second.command("pool", "status", "--json")

    assert_done(shown)
    assert f"no one follows job J0001 for {device_id}" in shown.stdout
    assert "driveprep pool take-over bench-1" in shown.stdout
    (job,) = json.loads(told.stdout)["unattended"]
    assert (job["deviceId"], job["jobId"]) == (device_id, "J0001")
    assert_done(second.command("pool", "take-over", "bench-1", "--yes"))
    assert "no one follows" not in second.command("pool", "status").stdout
    assert "taken over by bench-2" in first.command("pool", "status").stdout
