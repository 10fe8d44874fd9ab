"""An operator's day by the board's requests: real daemon, emulator and NTFS drives."""

from __future__ import annotations

import re
import time

from as_operator import check_drive, jobs_for, manifest_for, new_device_id, prepared_once, unmount
from loop_drives import plug, plug_disk, real_drives_work, wait_until

__all__ = ["plug", "plug_disk", "real_drives_work"]


def prepared(plug, service, daemon, page, device_id):
    """Drop a manifest on the page, plug the drive in, and wait until its card is green."""
    data = manifest_for(device_id)
    assert page.drop(f"{device_id}.yml", data).status == 200
    drive = plug(device_id).mount()
    job = prepared_once(service, daemon, drive.mount_point, device_id)
    wait_until("its card is green", lambda: page.card(device_id).get("status") == "prepared")
    return drive, job


def test_from_drop_to_shipment(plug, service, daemon, page):
    """Each step is on the page, and by the same records as the commands'."""
    device_id = new_device_id()
    drive, job = prepared(plug, service, daemon, page, device_id)

    check_drive(drive.mount_point, job)
    card, view = page.card(device_id), page.view()
    assert (card["word"], card["jobId"], card["title"]) == ("Safe to remove", job.job_id, device_id)
    assert "must arrive before" in card["next"]
    assert card["actions"] == ["slip", "sticker", "ship"]
    assert view["counts"]["madeToday"] == 1
    assert view["charts"]["days"][-1]["jobs"] == 1
    (duration,) = view["charts"]["durations"]
    assert (duration["jobId"], duration["deviceId"]) == (job.job_id, device_id)
    assert 0 < duration["seconds"] < 30

    answer = page.post("/api/ship", {"words": [job.job_id], "carrier": "DHL", "tracking": "42"})
    assert answer.json == {"later": False, "jobs": [{"jobId": job.job_id, "deviceId": device_id}]}
    wait_until("it is shipped", lambda: page.view()["counts"]["shippedToday"] == 1)
    (one,) = page.view()["timeline"]
    assert (one["stage"], one["carrier"], one["tracking"]) == ("shipped", "DHL", "42")
    assert one["daysLeft"] in {29, 30}

    assert page.post("/api/undo-shipment", {"words": [job.job_id]}).status == 200
    wait_until("it is here", lambda: page.view()["timeline"][0]["stage"] == "made")
    assert page.view()["counts"]["shippedToday"] == 0


def test_the_daily_limit_is_counted_and_said(plug, service, daemon, page):
    """Towards `daily_limit`, over the service's day; in the metrics, too."""
    listen = {"listen": page.board.origin.rpartition("/")[2]}
    daemon.configure(daily_limit=6, board=listen)
    wait_until("it is read", lambda: page.view()["counts"]["dailyLimit"] == 6)
    assert page.view()["daemon"]["problems"] == []

    prepared(plug, service, daemon, page, new_device_id())

    assert page.view()["counts"]["madeToday"] == 1
    said = "5 of today's 6 jobs are left, until 00:00 UTC"
    assert page.view()["daemon"]["problems"] == [f"Daily limit: {said}."]
    assert f"DAILY LIMIT: {said}" in daemon.command("status").stderr
    assert b"driveprep_jobs_daily_limit 6.0" in page.get("/metrics").body


def test_a_drive_without_a_manifest_and_one_of_another_file_system(plug, daemon, page):
    """The page says what to do about each."""
    device_id = new_device_id()
    drive = plug(device_id).mount()
    wait_until("it has a card", lambda: any(c["title"] == device_id for c in page.view()["cards"]))

    (card,) = [one for one in page.view()["cards"] if one["title"] == device_id]
    assert (card["status"], card["word"]) == ("attention", "No manifest")
    unmount(drive)
    wait_until("it is gone", lambda: not any(c["title"] == device_id for c in page.view()["cards"]))


def test_a_slip_is_opened_once_without_anything_inline(plug, service, daemon, page):
    """It is the slip of `driveprep slip`; its style is a file of its own, for this login alone."""
    device_id = new_device_id()
    _, job = prepared(plug, service, daemon, page, device_id)
    url = page.post("/api/paper", {"job": job.job_id, "kind": "slip"}).json["url"]
    other = page.board.log_in()

    assert other.get(url).status == 404
    assert page.board.ask("GET", url).status == 401
    slip = page.get(url, X_Board_Key="")
    assert slip.status == 200
    assert job.job_id in slip.body.decode()
    assert not re.search(rb"<style| style=|<script|http-equiv", slip.body)
    assert slip.headers["content-security-policy"].startswith(
        "default-src 'none'; style-src 'self'"
    )
    (sheet,) = re.findall(r'href="(/paper/[^"]+\.css)"', slip.body.decode())
    style = page.get(sheet, X_Board_Key="")
    assert style.headers["content-type"].startswith("text/css")
    assert b"@page" in style.body
    assert page.get(url).status == 404
    assert page.get(sheet).status == 404


def test_metrics_count_and_measure(plug, service, daemon, board, page):
    """Prometheus' own client can read them; the histogram has the drive's time."""
    prepared(plug, service, daemon, page, new_device_id())
    daemon.drop("HD999")
    wait_until("it waits", lambda: page.view()["counts"]["waiting"] == 1)
    headers = {"Authorization": f"Bearer {board.token('--scrape')}"}

    answer = board.ask("GET", "/metrics", headers)
    lines = answer.body.decode().splitlines()
    assert 'driveprep_jobs{state="signed"} 1.0' in lines
    assert 'driveprep_jobs{state="pending"} 1.0' in lines
    assert "driveprep_mount_to_signature_seconds_count 1.0" in lines
    assert "driveprep_service_reachable 1.0" in lines
    assert "driveprep_drives 1.0" in lines
    assert answer.headers["content-type"].startswith("text/plain; version=")
    (oldest,) = [line for line in lines if line.startswith("driveprep_oldest_waiting_seconds ")]
    assert 0 <= float(oldest.split()[1]) < 60


def test_the_way_of_a_job_is_a_timeline(plug, service, daemon, page):
    """Received, loading and returned, each with the time at which it was first reported."""
    device_id = new_device_id()
    _, job = prepared(plug, service, daemon, page, device_id)
    service.move(job.job_id, location_code="AtAWS", progress_code="InProgress")
    since = time.time()
    daemon.configure(board={"listen": page.board.origin.rpartition("/")[2]})
    page.post("/api/retry", {"deviceId": device_id})

    def stage():
        return next((one["stage"] for one in page.view()["timeline"]), "")

    wait_until("it is loading", lambda: stage() == "loading")
    (one,) = page.view()["timeline"]
    assert [step["stage"] for step in one["steps"]] == ["made", "shipped", "received", "loading"]
    assert one["steps"][1]["at"] is None  # no one has said so
    assert one["steps"][3]["at"] is not None
    assert one["daysLeft"] is None
    assert jobs_for(service, device_id)
    assert time.time() - since < 30
