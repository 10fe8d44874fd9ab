"""Jobs in every state, drives, and what one scan made of them: values for tests of the rules."""

import os
from dataclasses import replace

from daemon.drives.drive import Drive
from daemon.drives.identity import Identity
from daemon.drives.mounts import Mount
from daemon.drives.recognition import Recognition
from daemon.drives.sysfs import Device
from daemon.jobs.job import Job, Pending, Rejected, Signed, Submitted, Submitting
from daemon.preparation.pairing import Pairing, named

PENDING = Pending("1")
SUBMITTING = Submitting(1.0, "https://service", "AKIA", {})
SUBMITTED = Submitted("K7M3X", "text", "address", "", 1.0, {})
SIGNED = Signed("K7M3X", "text", "address", "", 1.0, 2.0, {})
REJECTED = Rejected("x")


def device(minor):
    """A disk of its own."""
    number = os.makedev(8, minor)
    return Device(number, f"/dev/sd{minor}", number, 1, 10**12, False)


def drive(label, minor=1, place=None):
    """A mounted NTFS drive; with a place, that folder is its root."""
    here = device(minor)
    if place:
        here = replace(here, number=place.stat().st_dev)
    point = str(place or f"/media/{minor}")
    mount = Mount(minor, 1, here.number, "/", point, "rw", "fuseblk", here.node, "rw")
    return Drive(here, Identity(file_system="ntfs", label=label), mount)


def job(state, device_id="HD001", name="a.yml", file_system="NTFS"):
    """A job in that state."""
    return Job(1, device_id, file_system, name, "ab12", state, 1.0)


def pairing(jobs, *drives, present=(), recognition=None):
    """One look at these jobs and drives."""
    return Pairing(named(jobs), drives, present, recognition or Recognition())
