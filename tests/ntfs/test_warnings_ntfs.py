"""What is known before the drive arrives: warnings, the service's objections, another account.

Real daemon, the service on loopback.
"""

from __future__ import annotations

import json

import daemon_process
import pytest
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once

service, start = daemon_process.service, daemon_process.start


@pytest.fixture
def heard(tmp_path):
    """Hooks that note their event, manifest and reason, and what they noted."""
    noted = tmp_path / "noted"
    script = tmp_path / "hook"
    script.write_text(
        '#!/bin/sh\nprintf "%s|%s|%s\\n" "$DRIVEPREP_EVENT" "$DRIVEPREP_MANIFEST"'
        f' "$DRIVEPREP_REASON" >> {noted}\n'
    )
    script.chmod(0o755)
    noted.touch()
    return {event: [str(script)] for event in ("accepted", "warning")}, noted


def own(device_id):
    """A manifest without any placeholder."""
    text = manifest_for(device_id).replace(b"Your ", b"").replace(b"Optional 2nd", b"c/o")
    return text.replace(b"mybucket", b"our-bucket")


def test_a_placeholder_is_a_warning_of_the_job(start, heard):
    """In status, show and JSON; the hooks `accepted` and `warning` run once for each manifest."""
    hooks, noted = heard
    daemon = start(hooks=hooks)
    daemon.drop("HD001", name="a.yml")
    daemon.drop("HD002", own("HD002"), name="b.yml")
    daemon.until("both are accepted", lambda: noted.read_text().count("accepted|") == 2)

    warnings = daemon.job("HD001")["warnings"]
    assert warnings[0]["code"] == "manifest"
    assert "a.yml:5:11: logBucket: is the guide's placeholder" in warnings[0]["text"]
    assert daemon.job("HD002")["warnings"] == []
    assert "WARNING: a.yml:5:11: logBucket" in daemon.command("status").stdout
    assert "warning  a.yml:5:11: logBucket" in daemon.command("show", "HD001").stdout
    daemon.until("one is warned of", lambda: "warning|a.yml|a.yml:5:11" in noted.read_text())
    assert daemon.restart()
    assert daemon.job("HD001")["warnings"] == warnings
    assert noted.read_text().count("warning|") == 1


def test_each_of_many_manifests_is_warned_of_once(start, heard):
    """However many there are, and after another start too."""
    hooks, noted = heard
    daemon = start(hooks=hooks)
    names = [f"m{number:03}.yml" for number in range(150)]
    for name in names:
        daemon.drop(name[:4].upper(), name=name)

    def heard_of():
        return sorted(
            tuple(line.split("|")[:2])
            for line in noted.read_text().splitlines()
            if line[:1] in "aw"
        )

    daemon.until("all hooks ran", lambda: len(heard_of()) >= 2 * len(names))
    daemon.restart()
    daemon.drop("LAST", own("LAST"), name="last.yml")
    daemon.until("another one is accepted", lambda: "accepted|last.yml" in noted.read_text())
    expected = [(event, name) for event in ("accepted", "warning") for name in names]
    assert heard_of() == sorted([*expected, ("accepted", "last.yml")])


def test_what_the_service_has_against_it_is_a_warning(plug, service, start, heard):
    """A refused key, while the drive is not here; it goes when the service has agreed."""
    hooks, noted = heard
    daemon = start(hooks=hooks, secret="wrong")
    device_id = new_device_id()
    daemon.drop(device_id, own(device_id))

    def objected():
        return [one["code"] for one in daemon.job(device_id).get("warnings", ())]

    daemon.until("it is refused", lambda: objected() == ["SignatureDoesNotMatch"])
    daemon.until("the hook says so", lambda: "warning|" in noted.read_text())

    daemon.configure(hooks=hooks)
    drive = plug(device_id).mount()
    prepared_once(service, daemon, drive.mount_point, device_id, own(device_id))
    assert daemon.job(device_id)["warnings"] == []


def test_an_unreachable_service_is_a_warning_of_each_job(start, service):
    """Of the one that was tried, and of the others that wait for it."""
    daemon = start(endpoint="http://127.0.0.1:9", timeout=1)
    daemon.drop("HD001", own("HD001"))
    daemon.until("it is tried", lambda: daemon.job("HD001").get("warnings"))
    daemon.drop("HD002", own("HD002"))
    daemon.until("both have it", lambda: daemon.job("HD002").get("warnings"))

    assert [one["code"] for one in daemon.job("HD001")["warnings"]] == ["unreachable"]
    assert [one["code"] for one in daemon.job("HD002")["warnings"]] == ["service"]


def test_another_account_is_a_fault_when_dropped(start):
    """With the line; check and submit say the same."""
    daemon = start()
    text = own("HD001").replace(b"AKIAIOSFODNN7EXAMPLE", b"AKIAOTHEREXAMPLE")
    daemon.drop("HD001", text, name="a.yml")

    assert "a.yml:2:13: accessKeyId: is AKIAOTHEREXAMPLE" in daemon.rejected("a.yml")
    file = daemon.spool.parent / "x.yml"
    file.write_bytes(text)
    for words in (("check", file), ("submit", file)):
        done = daemon.command(*words)
        assert done.returncode == 65
        assert "x.yml:2:13: accessKeyId: is AKIAOTHEREXAMPLE" in done.stderr


def test_a_key_that_is_changed_later_rejects_nothing(plug, service, start):
    """Manifests that wait get an obstacle, also without their drives, until the key is back."""
    daemon = start()
    device_id = new_device_id()
    daemon.drop(device_id, own(device_id))
    daemon.until("it is accepted", lambda: daemon.job(device_id).get("obstacle"))

    settings = json.loads(daemon.config.read_text())
    changed = settings["credentials"] | {"access_key_id": "AKIANEWEXAMPLE"}
    daemon.configure(credentials=changed)
    daemon.obstacle(device_id, "is for the access key AKIAIOSFODNN7EXAMPLE", "AKIANEWEXAMPLE")
    drive = plug(device_id).mount()
    assert not jobs_for(service, device_id)

    daemon.configure()
    prepared_once(service, daemon, drive.mount_point, device_id, own(device_id))


def test_a_drive_is_never_sent_back_to_nobody(start):
    """Beyond a trial, a manifest whose address is still to be filled in is rejected."""
    daemon = start(endpoint="https://192.0.2.1", timeout=1)
    daemon.drop("HD001", name="a.yml")

    assert "returnAddress.name: is the guide's placeholder" in daemon.rejected("a.yml")


def test_after_a_trial_manifests_without_an_address_are_not_sent(plug, service, start):
    """When the endpoint is another machine's, those that wait get an obstacle without their drives.

    Back at the trial, they are prepared.
    """
    daemon = start()
    device_id = new_device_id()
    daemon.drop(device_id)
    daemon.until("it is accepted", lambda: daemon.job(device_id).get("obstacle"))

    daemon.configure(endpoint="https://192.0.2.1", timeout=1)
    job = daemon.obstacle(device_id, "returned to nobody", "returnAddress.name")
    assert (job["code"], job["state"]) == ("no-address", "Pending")

    daemon.configure()
    drive = plug(device_id).mount()
    prepared_once(service, daemon, drive.mount_point, device_id)
