"""Drives that are not empty: what a new NTFS uses, what is said of files, and `require_empty`.

Real daemon, real drives.
"""

from __future__ import annotations

import json
import os
import subprocess

import daemon_process
import pytest
from as_operator import jobs_for, look_again, new_device_id, signature_of
from loop_drives import attach, detach, run

from daemon.drives.medium import contents

service, start = daemon_process.service, daemon_process.start


@pytest.mark.parametrize("size", ["16M", "64M", "256M", "1G", "8G", "64G", "500G", "2T", "8T"])
@pytest.mark.parametrize("cluster", [4096, 65536])
def test_a_new_ntfs_of_any_size_is_empty(tmp_path, size, cluster):
    """The image is sparse; what mkfs.ntfs writes to it is all that is ever stored."""
    found, used = new_and_used(tmp_path, size, cluster)

    assert (found.names, found.is_empty) == ((), True), found
    assert found.used > contents.fresh_use(found.size, cluster) // 4  # the bound is not too wide
    assert (used.names, used.is_empty) == ((), True), used


@pytest.mark.parametrize(("size", "cluster"), [("1G", 512), ("1G", 2 << 20), ("64G", 2 << 20)])
def test_so_is_one_with_the_smallest_or_largest_clusters(tmp_path, size, cluster):
    """Twelve clusters are in use at once, however large they are."""
    for found in new_and_used(tmp_path, size, cluster):
        assert found.is_empty, found


def new_and_used(tmp_path, size, cluster):
    """What is on a new NTFS, and after Windows and driveprep have made what they always make."""
    image, place = tmp_path / "drive.img", tmp_path / "mnt"
    place.mkdir()
    run("truncate", "-s", size, image)
    loop = attach(image)
    try:
        run("mkfs.ntfs", "-F", "-Q", "-q", "-c", str(cluster), loop)
        run("mount", "-t", "ntfs-3g", loop, place)
        root = os.open(place, os.O_RDONLY)
        new = contents.read(root)
        windows, bin_ = place / "System Volume Information", place / "$RECYCLE.BIN" / "S-1-5-21-1"
        windows.mkdir()
        bin_.mkdir(parents=True)
        (windows / "WPSettings.dat").write_bytes(bytes(12))
        (windows / "IndexerVolumeGuid").write_bytes(bytes(76))
        (windows / "tracking.log").write_bytes(bytes(20480))
        (bin_ / "desktop.ini").write_bytes(bytes(129))
        (place / "SIGNATURE").write_bytes(bytes(120))
        run("sync", "-f", place)
        used = contents.read(root)
        os.close(root)
    finally:
        subprocess.run(["umount", place], capture_output=True, check=False)
        detach(image)
    return new, used


def prepared(service, daemon, drive):
    """Wait for the one job of a drive on which more than its SIGNATURE is; return its JobId."""
    daemon.until("its papers are filed", lambda: daemon.papers(drive.label))
    (job,) = jobs_for(service, drive.label)
    assert (drive.mount_point / "SIGNATURE").read_bytes() == signature_of(job)
    return job.job_id


def test_what_is_on_the_drive_is_said(plug, service, start, tmp_path):
    """It is signed; status, receipt, slip and hook say that the service may erase it."""
    drive = plug(new_device_id()).mount()
    (drive.mount_point / "Holiday <1>").mkdir()
    noted = tmp_path / "noted"
    hook = ["/bin/sh", "-c", f'echo "$DRIVEPREP_CONTENTS" > {noted}.new; mv {noted}.new {noted}']
    daemon = start(hooks={"prepared": hook})
    daemon.drop(drive.label)

    job_id = prepared(service, daemon, drive)

    papers = daemon.spool / "prepared" / f"{job_id}-{drive.label}"
    known = json.loads((papers / "receipt.json").read_text())["drive"]
    assert known["contents"].startswith("Holiday <1>, ")
    assert known["usedBytes"] > 0
    assert "it is not empty" in (papers / "slip.html").read_text()
    assert "Holiday &lt;1&gt;" in (papers / "slip.html").read_text()
    assert "NOT EMPTY: Holiday <1>" in daemon.command("status").stdout
    daemon.until("the hook ends", noted.exists)
    assert noted.read_text() == f"{known['contents']}\n"


def test_of_an_empty_drive_nothing_is_said(plug, service, start):
    """Neither SIGNATURE nor what Windows makes counts, when the drive comes back either."""
    drive = plug(new_device_id()).mount()
    (drive.mount_point / "System Volume Information").mkdir()
    daemon = start(require_empty=True)
    daemon.drop(drive.label)

    job_id = prepared(service, daemon, drive)

    slip = (daemon.spool / "prepared" / f"{job_id}-{drive.label}" / "slip.html").read_text()
    assert "it is not empty" not in slip
    assert "NOT EMPTY" not in daemon.command("status").stdout


def test_require_empty_waits_for_a_person(plug, service, start):
    """The obstacle names what is on it; the order lets this drive through, also after a restart."""
    drive = plug(new_device_id()).mount()
    (drive.mount_point / "thesis.doc").write_text("the only copy")
    daemon = start(require_empty=True)
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "is not empty: thesis.doc", "the service may erase it")
    look_again(service, daemon, plug)
    assert not jobs_for(service, drive.label)
    assert os.listdir(drive.mount_point) == ["thesis.doc"]

    assert daemon.stop() == 0
    asked = daemon.command("retry", drive.label, "--as-it-is")
    assert asked.returncode == 0, asked.stderr
    daemon.start()

    prepared(service, daemon, drive)
    assert (drive.mount_point / "thesis.doc").read_text() == "the only copy"


def test_as_it_is_needs_a_job(plug, service, start):
    """A deviceId that no job waits for is refused by the daemon that runs."""
    daemon = start(require_empty=True)

    asked = daemon.command("retry", "HD404", "--as-it-is")

    assert asked.returncode == 75
    assert "no job waits for the drive HD404" in asked.stderr
