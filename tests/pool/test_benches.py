"""Every station shows what is at the others: in its status, and on the page of its board."""

import io
import json
import re
import time

import pytest
from apart import APART, mount_at, unmount_at, unplug
from as_operator import jobs_for, new_device_id, prepared_once
from board_process import beside
from loop_drives import wait_until
from rich.console import Console
from wire import Wire

from daemon.cli.output import tables

pytestmark = pytest.mark.xdist_group("pool")


@pytest.fixture
def benches(station):
    """Two stations; the second one answers to no label, so that the first one has the drives."""
    return station("bench-1").start(), station("bench-2", require_mapping=True).start()


def seen(daemon, condition):
    """Wait until the other station's line in the status is so; return it."""

    def found():
        stations = daemon.status()["stations"]  # none before the pool was read first
        return next(filter(condition, stations), None)

    return daemon.until("the other station is seen so", found)


def test_the_status_shows_what_is_at_the_others(benches, service, plug):
    """Manifests are counted; jobs with a drive there are named; and so are this station's own."""
    first, second = benches
    device_id, other_id = new_device_id(), new_device_id()
    first.drop(other_id)
    drive = plug(device_id).mount()
    first.drop(device_id)
    job = prepared_once(service, first, drive.mount_point, device_id)

    one = seen(second, lambda one: one["open"] == {"Signed": 1} and one["waiting"] == 1)
    assert (one["station"], one["silent"]) == ("bench-1", False)
    assert one["jobs"] == [
        {
            "deviceId": device_id,
            "jobId": job.job_id,
            "state": "Signed",
            "manifest": f"{device_id}.yml",
            "isHere": True,
            "bay": None,
        }
    ]
    assert second.status()["station"] == "bench-2"
    assert second.status()["today"]["jobs"] == 1
    assert first.status()["stations"][0]["jobs"] == []
    drive.unmount()
    seen(second, lambda one: one["jobs"] == [])

    (papers,) = first.papers(device_id)
    assert json.loads((papers / "receipt.json").read_text())["station"] == "bench-1"
    made = json.loads(first.command("jobs", "--json").stdout)
    assert [one["station"] for one in made["jobs"]] == ["bench-1"]


def carried(cluster, first, second):
    """The drives that the first station has recognised are those of the second one now."""
    for daemon, is_there in ((first, False), (second, True)):
        daemon.configure(
            pool={"address": cluster.url},
            station=daemon.config.parent.name,
            require_mapping=not is_there,
        )


def test_a_drive_whose_job_is_at_another_station_says_so(benches, cluster, service, plug, tmp_path):
    """It was prepared there, and is here now: no one has to look for a manifest."""
    first, second = benches
    device_id = new_device_id()
    drive = plug(device_id).mount()
    first.drop(device_id)
    job = prepared_once(service, first, drive.mount_point, device_id)
    carried(cluster, first, second)

    said = f"station bench-1 has job {job.job_id} for {device_id}"
    second.until("drives says so", lambda: said in second.command("drives").stdout)
    (one,) = second.status()["stations"]
    assert [job["isHere"] for job in one["jobs"]] == [False]
    with beside(second, tmp_path / "board") as board:
        page = board.log_in()

        def titled():
            return [one for one in page.view()["cards"] if one["title"] == device_id]

        (card,) = wait_until("it has a card", titled)
        assert (card["status"], card["word"], card["actions"]) == ("waiting", "Elsewhere", [])
        assert card["next"] == f"S{said[1:]}. What is to be done is done there."
        (panel,) = page.view()["benches"]
        assert [one["word"] for one in panel["jobs"]] == ["Drive elsewhere"]


def test_hooks_papers_and_lists_name_the_station(station, service, plug, tmp_path):
    """By its name in the pool, whatever `station` of the configuration says since."""
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$DRIVEPREP_STATION" > {tmp_path}/said\n')
    hook.chmod(0o755)
    daemon = station("bench-1", hooks={"prepared": [str(hook)]})
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace('"station": "bench-1"', '"station": "renamed"'))
    daemon.start()
    device_id = new_device_id()
    drive = plug(device_id).mount()
    daemon.drop(device_id)
    job = prepared_once(service, daemon, drive.mount_point, device_id)

    said = tmp_path / "said"
    daemon.until("the hook ran", lambda: said.exists() and said.read_text() == "bench-1\n")
    (papers,) = daemon.papers(device_id)
    assert json.loads((papers / "receipt.json").read_text())["station"] == "bench-1"
    assert "station bench-1, " in (papers / "slip.html").read_text()
    again = tmp_path / "again.html"
    assert daemon.command("slip", job.job_id, "--output", again).returncode == 0
    assert "station bench-1, " in again.read_text()
    headings, line = (one.split("\t") for one in daemon.command("jobs").stdout.splitlines())
    assert (headings[-1], line[-1]) == ("station", "bench-1")


def test_the_terminal_shows_them_too(benches):
    """As tables; a pipe gets this station's own lines only."""
    first, second = benches
    first.drop(new_device_id())
    seen(second, lambda one: one["waiting"] == 1)

    console = Console(width=100, file=io.StringIO())
    console.print(tables.tables(second.status(), time.time()))
    shown = console.file.getvalue()
    assert "station: bench-2; daemon: running" in shown
    assert re.search(r"other station +seen +manifests waiting\n *bench-1 .* 1 *\n", shown)
    assert "bench-1" not in second.command("status").stdout


def test_a_job_that_is_stuck_at_another_station_is_named(station, service, plug):
    """In doubt, or to be signed where its drive is missing: someone has to look there."""
    wire = Wire(service.endpoint).start()
    first, second = (station(f"bench-{number}", wire.endpoint) for number in (1, 2))
    for daemon in (first, second):
        daemon.prefix = APART
        daemon.start()
    drive = plug(new_device_id())
    wire.hold()
    first.drop(drive.label)
    mount_at(first, drive)
    wait_until("the request is on the way", wire.is_holding.is_set)
    one = seen(second, lambda one: one["open"] == {"Submitting": 1})
    assert (one["jobs"][0]["state"], one["jobs"][0]["isHere"]) == ("Submitting", True)
    unmount_at(first, drive)
    wire.let_go()

    one = seen(second, lambda one: one["open"] == {"Submitted": 1})
    (job,) = jobs_for(service, drive.label)
    assert one["jobs"][0]["jobId"] == job.job_id
    seen(second, lambda one: not one["jobs"][0]["isHere"])
    unplug(drive)
    wire.stop()


def test_the_board_shows_all_benches(benches, service, plug, tmp_path):
    """One page: this station's cards, and a panel for each other station."""
    first, second = benches
    device_id = new_device_id()
    drive = plug(device_id).mount()
    with beside(second, tmp_path / "board") as board:
        page = board.log_in()
        first.drop(device_id)
        job = prepared_once(service, first, drive.mount_point, device_id)

        def panel():
            (one,) = page.view()["benches"]
            return one if one["prepared"] else None

        one = wait_until("its panel shows it", panel)
        assert page.view()["station"] == "bench-2"
        assert (one["station"], one["silent"], one["attention"]) == ("bench-1", False, 0)
        (card,) = one["jobs"]
        assert (card["status"], card["word"]) == ("prepared", "Safe to remove")
        assert (card["deviceId"], card["jobId"]) == (device_id, job.job_id)
        metrics = page.get("/metrics").body.decode()
        assert 'driveprep_station_info{station="bench-2"} 1.0' in metrics
        assert 'driveprep_other_station_waiting{station="bench-1"} 0.0' in metrics
        refused = page.post("/api/ship", {"words": [job.job_id]})
        assert refused.status == 409
        assert "station bench-1 has job" in refused.json["error"]
