"""Named ports: which bay a drive is in, and drives outside of the named ones.

Real daemon, real drives; udev's database is written for them.
"""

from __future__ import annotations

import json
import os

import daemon_process
import udev_database
from as_operator import jobs_for, new_device_id, prepared_once

service, start, udev = daemon_process.service, daemon_process.start, udev_database.udev

PORTS = {"bay 1": "pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0", "bay 2": ["usb-2a", "usb-2b"]}


def look_again_in_a_bay(service, daemon, plug, udev):
    """Have the daemon prepare another drive, after which it has considered the first one again."""
    witness = plug(new_device_id())
    udev.describe(witness.device, ID_PATH=PORTS["bay 1"])
    witness.mount()
    daemon.drop(witness.label)
    prepared_once(service, daemon, witness.mount_point, witness.label)


def test_the_bay_is_named_everywhere(plug, service, start, udev):
    """In status, log, receipt and slip, from either path of the port."""
    drive = plug(new_device_id())
    udev.describe(drive.device, ID_PATH="usb-2b")
    drive.mount()
    daemon = start(bays=PORTS, only_bays=True)
    daemon.drop(drive.label)

    job_id = prepared_once(service, daemon, drive.mount_point, drive.label).job_id

    papers = daemon.spool / "prepared" / f"{job_id}-{drive.label}"
    assert json.loads((papers / "receipt.json").read_text())["drive"]["bay"] == "bay 2"
    assert "bay 2" in (papers / "slip.html").read_text()
    assert daemon.job(drive.label)["bay"] == "bay 2"
    assert f"bay 2 {drive.label} {job_id}: SIGNATURE written" in daemon.log
    assert daemon.command("status").stdout.startswith(f"bay 2\t{drive.label}\t{job_id}\tprepared")
    (row,) = (
        one
        for one in json.loads(daemon.command("drives", "--json").stdout)["drives"]
        if one["mountPoint"] == str(drive.mount_point)
    )
    assert (row["bay"], row["path"], row["outsideBays"]) == ("bay 2", "usb-2b", False)


def test_a_drive_outside_of_the_bays_is_never_written_to(plug, service, start, udev):
    """It keeps its row; once its port has a name, it is prepared at once."""
    drive = plug(new_device_id())
    udev.describe(drive.device, ID_PATH="usb-9")
    drive.mount()
    daemon = start(bays=PORTS, only_bays=True)
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "is not in a named bay; its port is usb-9")
    look_again_in_a_bay(service, daemon, plug, udev)

    assert not jobs_for(service, drive.label)
    assert os.listdir(drive.mount_point) == []
    assert f"{drive.label} (not in a named bay)" not in daemon.command("status").stdout
    shown = daemon.command("drives").stdout
    assert "is not in a named bay" in next(
        line for line in shown.splitlines() if str(drive.mount_point) in line
    )

    daemon.configure(bays={**PORTS, "bay 3": "usb-9"}, only_bays=True)
    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_it_still_counts_when_ambiguity_is_judged(plug, service, start, udev):
    """Two drives of one label are refused, even if only one is in a bay."""
    device_id = new_device_id()
    inside, outside = plug(device_id), plug(device_id)
    udev.describe(inside.device, ID_PATH="usb-2a")
    udev.describe(outside.device, ID_PATH="usb-9")
    inside.mount()
    outside.mount()
    daemon = start(bays=PORTS, only_bays=True)
    daemon.drop(device_id)

    daemon.obstacle(device_id, "2 drives match", inside.device, outside.device)
    look_again_in_a_bay(service, daemon, plug, udev)
    assert not jobs_for(service, device_id)


def test_two_disks_on_one_path_are_refused(plug, service, start, udev):
    """One of them is somewhere else, so neither's bay is known; without udev, too."""
    drive, other = plug(new_device_id()), plug("OTHER")
    udev.describe(drive.device, ID_PATH="usb-2a")
    udev.describe(other.device, ID_PATH="usb-2a")
    drive.mount()
    daemon = start(bays=PORTS)
    daemon.drop(drive.label)

    daemon.obstacle(drive.label, "two disks have the path of bay 2", drive.device, other.device)
    look_again_in_a_bay(service, daemon, plug, udev)
    assert not jobs_for(service, drive.label)


def test_without_udev_there_are_no_bays(plug, service, start):
    """The obstacle says so; only drives in a bay are wanted, and no bay is known."""
    drive = plug(new_device_id()).mount()
    daemon = start(bays=PORTS, only_bays=True)
    daemon.drop(drive.label)

    daemon.obstacle(drive.label, "the bay of", "udev has not described it")
    assert not jobs_for(service, drive.label)

    daemon.configure(bays=PORTS)
    prepared_once(service, daemon, drive.mount_point, drive.label)
    assert daemon.job(drive.label)["bay"] is None
