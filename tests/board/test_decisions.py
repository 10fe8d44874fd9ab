"""What only a person can decide: a drive that is not empty, and one behind another USB bridge."""

from __future__ import annotations

import udev_database
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once, signature_of, unmount
from loop_drives import plug, plug_disk, real_drives_work, wait_until

__all__ = ["plug", "plug_disk", "real_drives_work"]

udev = udev_database.udev
THESIS = "the only copy"


def waiting_card(page, device_id, code):
    """Wait until the card of a drive names an obstacle by its code; return the card."""

    def obstructed():
        card = page.card(device_id)
        return card if card.get("code") == code else None

    return wait_until(f"{code} is shown", obstructed)


def require_empty(daemon, page):
    """Have the daemon ask before it uses a drive with files; the board stays where it is."""
    listen = page.board.origin.rpartition("/")[2]
    daemon.configure(require_empty=True, board={"listen": listen})
    daemon.until("it is read", lambda: "configuration read" in daemon.log)


def test_a_drive_that_is_not_empty_is_used_as_it_is(plug, service, daemon, page):
    """Once a person has read what is on it: what was shown is what is confirmed."""
    require_empty(daemon, page)
    device_id = new_device_id()
    drive = plug(device_id).mount()
    (drive.mount_point / "thesis.doc").write_text(THESIS)
    daemon.drop(device_id)
    card = waiting_card(page, device_id, "not-empty")
    assert (card["status"], card["actions"]) == ("attention", ["retry", "as-it-is"])
    assert "is not empty: thesis.doc" in card["next"]
    asked = {"deviceId": device_id, "shown": card["next"]}

    (drive.mount_point / "more.doc").write_text("came later")
    page.post("/api/retry", {"deviceId": device_id})
    wait_until("it is seen", lambda: "more.doc" in page.card(device_id)["next"])
    refused = page.post("/api/as-it-is", asked)
    assert refused.status == 409
    assert "no longer as it was shown" in refused.json["error"]
    assert not jobs_for(service, device_id)

    asked["shown"] = page.card(device_id)["next"]
    answer = page.post("/api/as-it-is", asked)

    assert answer.json == {"later": False, "jobs": [f"{device_id}.yml"]}
    wait_until("its card is green", lambda: page.card(device_id)["status"] == "prepared")
    (job,) = jobs_for(service, device_id)
    assert (drive.mount_point / "SIGNATURE").read_bytes() == signature_of(job)
    assert (drive.mount_point / "thesis.doc").read_text() == THESIS
    page.board.logged(f"/api/as-it-is by root from 127.0.0.1: 200 ({device_id})")
    assert page.post("/api/as-it-is", asked).status == 409


def test_a_decision_is_offered_for_its_own_obstacle_only(plug, service, daemon, page):
    """Neither solves another one, whatever a request says was shown."""
    device_id = new_device_id()
    daemon.drop(device_id)
    plug(device_id).mount("ro")
    card = waiting_card(page, device_id, "read-only")
    assert card["actions"] == ["retry"]

    for path in ("/api/as-it-is", "/api/same-drive"):
        assert page.post(path, {"deviceId": device_id, "shown": card["next"]}).status == 409, path
        assert page.post(path, {"deviceId": "HD404", "shown": ""}).status == 422, path
        assert page.post(path, {"deviceId": device_id, "shown": "x" * 17_000}).status == 413, path


def test_a_drive_behind_another_bridge_is_confirmed(plug, service, udev, daemon, page):
    """The changed SIGNATURE is written to it only then."""
    device_id = new_device_id()
    drive = plug(device_id)
    udev.describe(drive.device, ID_SERIAL_SHORT="BRIDGE1")
    page.drop(f"{device_id}.yml", manifest_for(device_id))
    drive.mount()
    job = prepared_once(service, daemon, drive.mount_point, device_id)
    unmount(drive)
    other = daemon.config.with_name("other.yml")
    other.write_bytes(manifest_for(device_id) + b"# changed\n")
    assert daemon.command("update", job.job_id, other).returncode == 0
    daemon.until("it is to be signed", lambda: daemon.job(device_id)["state"] == "Submitted")

    udev.describe(drive.device, ID_SERIAL_SHORT="BRIDGE2")
    drive.mount()
    card = waiting_card(page, device_id, "other-bridge")
    assert card["actions"] == ["retry", "same-drive"]
    assert "serial BRIDGE1 (this one has BRIDGE2)" in card["next"]
    old = {"deviceId": device_id, "shown": card["next"].replace("BRIDGE2", "BRIDGE3")}
    assert page.post("/api/same-drive", old).status == 409
    answer = page.post("/api/same-drive", {"deviceId": device_id, "shown": card["next"]})

    assert answer.json == {"deviceId": device_id}
    daemon.until("it is signed", lambda: daemon.job(device_id)["state"] == "Signed")
    page.board.logged(f"/api/same-drive by root from 127.0.0.1: 200 ({device_id})")
