"""The main job as an operator sees it: drop a manifest, mount a drive, and it is prepared.

Real daemon, real NTFS drives, the service on loopback.
"""

from __future__ import annotations

import hashlib
import json
import os
import time

import daemon_process
from as_operator import (
    GUIDE,
    check_drive,
    check_papers,
    jobs_for,
    look_again,
    manifest_for,
    mount,
    new_device_id,
    prepared_once,
    signature_of,
    unmount,
    uuid_of,
)

service, start = daemon_process.service, daemon_process.start


# One job, no matter which comes first


def test_the_guides_example(plug, service, start):
    """The guide's manifest, byte for byte, and then a drive HD001: from drop to papers."""
    drive = plug("HD001")
    daemon = start()  # it sees no other HD001 that may be on this machine
    daemon.drop("HD001", GUIDE)
    daemon.obstacle("HD001", "HD001 is present but not mounted")

    drive.mount()

    job = prepared_once(service, daemon, drive.mount_point, "HD001", GUIDE)
    assert not list(daemon.pending.iterdir())
    (papers,) = daemon.papers("HD001")
    receipt = json.loads((papers / "receipt.json").read_bytes())
    assert (receipt["jobId"], receipt["deviceId"]) == (job.job_id, "HD001")
    assert f"JOBID {job.job_id}" in receipt["shippingAddress"]
    assert receipt["drive"]["uuid"] == uuid_of(drive)
    assert receipt["drive"]["label"] == "HD001"
    assert receipt["submittedAt"] <= receipt["signedAt"] < receipt["expiresAt"]
    assert receipt["manifest"]["sha256"] == hashlib.sha256(GUIDE).hexdigest()
    assert receipt["signature"]["sha256"] == hashlib.sha256(signature_of(job)).hexdigest()
    shown = daemon.job("HD001")
    assert (shown["state"], shown["jobId"], shown["obstacle"]) == ("Signed", job.job_id, None)


def test_drive_first(plug, service, start):
    """A manifest dropped for a drive that is already mounted."""
    drive = plug(new_device_id()).mount()
    daemon = start()

    daemon.drop(drive.label)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_both_before_the_daemon(plug, service, start):
    """With drive and manifest present before the daemon starts, it prepares the drive."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.stop()
    daemon.drop(drive.label)

    daemon.start()

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_a_prepared_drive_mounted_again(plug, service, start, tmp_path):
    """At another place and under another daemon process it is left alone."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    prepared_once(service, daemon, drive.mount_point, drive.label)
    written = (drive.mount_point / "SIGNATURE").stat().st_mtime_ns

    unmount(drive)
    drive.mount_point = tmp_path / "elsewhere"
    mount(drive)
    look_again(service, daemon, plug)
    daemon.restart()
    look_again(service, daemon, plug)

    prepared_once(service, daemon, drive.mount_point, drive.label)
    assert (drive.mount_point / "SIGNATURE").stat().st_mtime_ns == written


def test_a_storm_of_mounts(plug, service, start):
    """A drive that is mounted and unmounted 25 times in a row gets one job."""
    drive = plug(new_device_id())
    daemon = start(validate_on_drop=False)
    daemon.drop(drive.label)

    for _ in range(25):
        drive.mount()
        unmount(drive)
    mount(drive)

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_drives_at_once(plug, service, start):
    """If the service takes half a second, six drives take hardly longer than one."""
    drives = [plug(new_device_id()).mount() for _ in range(6)]
    daemon = start(validate_on_drop=False)
    service.faults.add("delay", "CreateJob", times=None, seconds=0.5)
    began = time.monotonic()

    for drive in drives:
        daemon.drop(drive.label)
    for drive in drives:
        prepared_once(service, daemon, drive.mount_point, drive.label)

    assert time.monotonic() - began < 6 * 0.5


# Manifests


def test_a_manifest_written_slowly_in_place(plug, service, start):
    """While it is being written it is ignored; it is used as soon as it is closed."""
    drive = plug(new_device_id()).mount()
    daemon = start(settle=600)
    data = manifest_for(drive.label)

    with (daemon.pending / f"{drive.label}.yml").open("wb", buffering=0) as file:
        for begin in range(0, len(data), 150):
            file.write(data[begin : begin + 150])
            if begin < 450:
                look_again(service, daemon, plug)
    began = time.monotonic()

    prepared_once(service, daemon, drive.mount_point, drive.label, data)
    assert time.monotonic() - began < 10
    assert not list((daemon.spool / "rejected").iterdir())


def test_odd_manifests(plug, service, start):
    """Spaces, quotes, Unicode, BOM and CRLF: the service gets the bytes as dropped."""
    blank = f"AWS EXP {new_device_id()}"
    odd = f"Zürich 東京 \"'\\ {new_device_id()}"
    dos = new_device_id()
    manifests = {
        blank: manifest_for(blank),
        odd: manifest_for(odd).replace(b"Your City", "'Zürich: #1 \"東京\"'".encode()),
        dos: b"\xef\xbb\xbf" + manifest_for(dos).replace(b"\n", b"\r\n"),
    }
    daemon = start()

    for number, (label, data) in enumerate(manifests.items()):
        daemon.drop(label, data, f"{number} ü {number}.yml")
    drives = [plug(label).mount() for label in manifests]

    for drive in drives:
        prepared_once(service, daemon, drive.mount_point, drive.label, manifests[drive.label])


def test_a_withdrawn_manifest(plug, service, start):
    """Removed from pending/ before the drive is mounted, it has no effect."""
    drive = plug(new_device_id())
    daemon = start()
    dropped = daemon.drop(drive.label)
    daemon.obstacle(drive.label, "is present but not mounted")

    dropped.unlink()
    daemon.until("the job is withdrawn", lambda: not daemon.job(drive.label))
    drive.mount()
    look_again(service, daemon, plug)

    assert not jobs_for(service, drive.label)
    assert os.listdir(drive.mount_point) == []


def test_an_edited_manifest(plug, service, start):
    """If it is corrected while it waits, only the new text is used."""
    drive = plug(new_device_id())
    wrong, right = new_device_id(), manifest_for(drive.label, logBucket="logs")
    daemon = start()
    daemon.drop(wrong, name="export.yml")
    daemon.obstacle(wrong, "no mounted drive")

    daemon.drop(drive.label, right, "export.yml")
    drive.mount()

    prepared_once(service, daemon, drive.mount_point, drive.label, right)
    assert not daemon.job(wrong)


def test_two_manifests_for_one_device(plug, service, start):
    """Neither is used, and the obstacle names both; when one is removed, the other is used."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.stop()
    wanted = manifest_for(drive.label, logBucket="wanted")
    unwanted = daemon.drop(drive.label, manifest_for(drive.label, logBucket="unwanted"), "a.yml")
    daemon.drop(drive.label, wanted, "b.yml")
    daemon.start()
    daemon.obstacle(drive.label, "a.yml", "b.yml")
    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)

    unwanted.unlink()

    prepared_once(service, daemon, drive.mount_point, drive.label, wanted)


def test_a_faulty_manifest(service, start):
    """It is rejected with every fault, its line and its remedy, without a request."""
    daemon = start()
    name = f"{new_device_id()}.yml"

    daemon.drop(
        "",
        manifest_for(new_device_id()).replace(b"NTFS", b"NFTS").replace(b"deviceId", b"devId"),
        name,
    )

    reason = daemon.rejected(name)
    assert f"{name}:4:" in reason
    assert "deviceId" in reason
    assert not daemon.status()["jobs"] or daemon.status()["jobs"][0]["state"] == "Rejected"
    assert not service.jobs


def test_a_manifest_the_service_refuses(service, start):
    """A ValidateOnly call shows the service's reason before the drive is mounted."""
    service.faults.add(
        "error", "CreateJob", code="InvalidAddressException", message="No such town."
    )
    daemon = start()
    device_id = new_device_id()

    daemon.drop(device_id)

    assert "No such town." in daemon.rejected(f"{device_id}.yml")


def test_the_same_bytes_again(plug, service, start):
    """There is no second job; the reason names the first one."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    job = prepared_once(service, daemon, drive.mount_point, drive.label)

    daemon.drop(drive.label, name="again.yml")

    assert f"already prepared as {job.job_id}" in daemon.rejected("again.yml")
    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_another_manifest_for_an_open_job_then_the_drive_returns(plug, service, start):
    """It waits and names the open job; when the service is done with that, the drive is used again.

    The old SIGNATURE was written by driveprep, so it is replaced.
    """
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label)
    first = prepared_once(service, daemon, drive.mount_point, drive.label)
    again = manifest_for(drive.label, logBucket="again")

    daemon.drop(drive.label, again, "again.yml")
    daemon.obstacle(drive.label, "open job", first.job_id)
    assert jobs_for(service, drive.label) == [first]

    service.move(first.job_id, location_code="Returned", progress_code="Complete")
    unmount(drive)
    mount(drive)
    daemon.until("the drive is prepared anew", lambda: len(daemon.papers(drive.label)) == 2)
    second = jobs_for(service, drive.label)[-1]
    check_drive(drive.mount_point, second)
    assert second.manifest.encode() == again
    check_papers(daemon.spool / "prepared" / f"{second.job_id}-{drive.label}", second)
    check_papers(daemon.spool / "prepared" / f"{first.job_id}-{drive.label}", first)


# The process


def test_a_second_daemon_on_the_spool(start):
    """It ends with 75, and the first one keeps running."""
    daemon = start()

    second = daemon.command("run")

    assert second.returncode == os.EX_TEMPFAIL
    assert "another driveprep daemon" in second.stderr
    assert daemon.is_running


def test_systemd_is_told(plug, service, start):
    """It reports READY, STATUS and STOPPING; SIGTERM ends it with 0."""
    daemon = start()
    look_again(service, daemon, plug)

    assert daemon.stop() == 0

    assert daemon.notified[0] == "READY=1"
    assert daemon.notified[-1] == "STOPPING=1"
    assert any(told.startswith("STATUS=1 jobs") for told in daemon.notified)


def test_the_service_away_at_start(plug, start, service):
    """A daemon that cannot reach its service still starts, and reports what is wrong."""
    service.stop()
    drive = plug(new_device_id()).mount()
    daemon = start()

    daemon.drop(drive.label)

    told = daemon.obstacle(drive.label, "cannot reach")
    assert told["retryAt"]
