"""What the service can do to CreateJob, seen from outside: one job all the same, or a plain word.

Every daemon here gives a request one second, so that doubt is settled within a few.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import daemon_process
import pytest
from as_operator import jobs_for, manifest_for, new_device_id, prepared_once, wait_until
from daemon_process import DaemonProcess

from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE, Emulator

service, start = daemon_process.service, daemon_process.start

AT_ONCE = {"timeout": 1, "validate_on_drop": False}
THROTTLED = {"kind": "error", "code": "Throttling", "message": "Rate exceeded."}
LOST_ON_THE_WAY = [  # the service made no job
    {"kind": "refuse"},
    {"kind": "cut-before"},
    {"kind": "500-before"},
    {"kind": "503"},
    THROTTLED,
    {"kind": "html"},
    {"kind": "redirect"},
    {"kind": "hang"},
]
LOST_ON_THE_WAY_BACK = [  # it made one
    {"kind": "cut-after"},
    {"kind": "500-after"},
    {"kind": "truncate"},
    {"kind": "entity-bomb"},
    {"kind": "hang-after"},
    {"kind": "drip"},
    {"kind": "delay", "seconds": 1.5},
]


@dataclass(frozen=True)
class Story:
    """A service with one fault, a daemon and a drive, which meet nobody else."""

    fault: dict
    service: Emulator
    daemon: DaemonProcess
    drive: object

    def ends_well(self) -> None:
        """Exactly one job, and a prepared drive."""
        assert not self.service.faults.pending(), self.fault
        prepared_once(self.service, self.daemon, self.drive.mount_point, self.drive.label)


@pytest.fixture
def tell(plug, tmp_path):
    """Begin a story for each fault, all at once: `tell({"kind": "hang"}, ...)`."""
    with ExitStack() as stack:
        yield lambda *faults: [_begin(fault, plug, tmp_path, stack) for fault in faults]


def _begin(fault: dict, plug, folder: Path, stack: ExitStack) -> Story:
    service = stack.enter_context(Emulator())
    service.faults.add(operation="CreateJob", **fault)
    drive = plug(new_device_id()).mount()
    daemon = DaemonProcess(folder / drive.label, service.endpoint, **AT_ONCE).start()
    stack.callback(daemon.kill)
    daemon.drop(drive.label)
    wait_until(f"{fault} has struck", lambda: not service.faults.pending())
    return Story(fault, service, daemon, drive)


# Whether a job was made


def test_what_is_lost_on_the_way(tell):
    """There or back, it ends in one job: found at the service, or sent again where it is not."""
    for story in tell(*LOST_ON_THE_WAY, *LOST_ON_THE_WAY_BACK):
        story.ends_well()


def test_a_service_that_is_not_there(plug, service, start):
    """The connection is refused: an obstacle with the time of the next try, then one job."""
    service.stop()
    drive = plug(new_device_id()).mount()
    daemon = start(**AT_ONCE)
    daemon.drop(drive.label)
    assert daemon.obstacle(drive.label, "cannot reach", "refused")["retryAt"]

    with Emulator(port=int(service.endpoint.rpartition(":")[2])) as back:
        prepared_once(back, daemon, drive.mount_point, drive.label)


def test_killed_while_the_answer_was_out(plug, service, start):
    """The next daemon finds the job at the service and completes it."""
    service.faults.add("delay", "CreateJob", seconds=30)
    drive = plug(new_device_id()).mount()
    daemon = start(**AT_ONCE, workers=1)
    daemon.drop(drive.label)
    wait_until("the job is made", lambda: jobs_for(service, drive.label))

    daemon.kill()
    daemon.start()

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_several_jobs_at_the_service(plug, service, start):
    """An obstacle with all JobIds, and no choice made; the one that is left is taken."""
    service.faults.add("hang", "CreateJob")
    drive = plug(new_device_id()).mount()
    daemon = start(**AT_ONCE)
    daemon.drop(drive.label)
    wait_until("the request hangs", lambda: not service.faults.pending())
    client = Client(service.endpoint, EXAMPLE, 5)
    text = manifest_for(drive.label).decode()
    made = [client.create_job(text).job_id for _ in range(2)]

    daemon.obstacle(drive.label, *made)
    assert os.listdir(drive.mount_point) == []
    client.cancel_job(made[0])

    daemon.until("the other is used", (drive.mount_point / "SIGNATURE").exists)
    assert f"jobId:{made[1]}\n" in (drive.mount_point / "SIGNATURE").read_text()
    assert len(jobs_for(service, drive.label)) == 2
    client.close()


def test_a_job_in_doubt_at_another_service(plug, service, start):
    """Another endpoint's list can settle nothing: the obstacle asks for the old one back."""
    service.faults.add("cut-after", "CreateJob")
    service.faults.add("503", "ListJobs")
    drive = plug(new_device_id()).mount()
    with Emulator() as other:
        daemon = start(**AT_ONCE)
        daemon.drop(drive.label)
        daemon.obstacle(drive.label, "")

        daemon.configure(**AT_ONCE, endpoint=other.endpoint)
        daemon.obstacle(drive.label, service.endpoint, "another endpoint or key")
        daemon.configure(**AT_ONCE)

        prepared_once(service, daemon, drive.mount_point, drive.label)
        assert not other.jobs


# What only a person can mend


def test_a_fault_of_the_manifest(plug, service, start):
    """Rejected with the service's own words; the drive is untouched."""
    refusal = {"code": "InvalidAddressException", "message": "No such town."}
    service.faults.add("error", "CreateJob", **refusal)
    drive = plug(new_device_id()).mount()
    daemon = start(**AT_ONCE)

    daemon.drop(drive.label)

    assert "No such town." in daemon.rejected(f"{drive.label}.yml")
    assert not service.jobs
    assert os.listdir(drive.mount_point) == []


def test_a_spent_quota(plug, service, start):
    """No job and no rejection: the obstacle says so, and `retry` tries at once."""
    refusal = {"code": "CreateJobQuotaExceededException", "message": "50 jobs are made."}
    service.faults.add("error", "CreateJob", times=None, **refusal)
    drive = plug(new_device_id()).mount()
    daemon = start(**AT_ONCE)
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "50 jobs are made.")
    next_try = next_distant_try(daemon, drive.label)
    assert not service.jobs
    service.faults.clear()

    assert daemon.command("retry", drive.label).returncode == 0

    prepared_once(service, daemon, drive.mount_point, drive.label)
    assert time.time() < next_try


def test_wrong_credentials(plug, service, start):
    """The next try survives a restart; a corrected config.yml does not wait for it."""
    drive = plug(new_device_id()).mount()
    daemon = start(**AT_ONCE, secret="wrong")
    daemon.drop(drive.label)
    daemon.obstacle(drive.label, "SignatureDoesNotMatch")
    next_try = next_distant_try(daemon, drive.label)
    daemon.restart()
    assert datetime.fromisoformat(daemon.job(drive.label)["retryAt"]).timestamp() == next_try
    assert not service.jobs

    daemon.configure(**AT_ONCE)

    prepared_once(service, daemon, drive.mount_point, drive.label)
    assert time.time() < next_try


def next_distant_try(daemon: DaemonProcess, device_id: str) -> float:
    """Wait until tries are so far apart that one made sooner shows; the time of the next."""

    def distant() -> float:
        if not (told := daemon.job(device_id)["retryAt"]):
            return 0.0
        moment = datetime.fromisoformat(told).timestamp()
        return moment if moment > time.time() + 3 else 0.0

    return daemon.until("the next try is seconds away", distant)


def test_a_wrong_clock(plug, start):
    """The request is made again by the service's time, once, and the log says so."""
    with Emulator(clock=lambda: time.time() + 3600) as tomorrow:
        drive = plug(new_device_id()).mount()
        daemon = start(**AT_ONCE, endpoint=tomorrow.endpoint)

        daemon.drop(drive.label)

        prepared_once(tomorrow, daemon, drive.mount_point, drive.label)
        assert daemon.log.count("local clock is wrong") == 1
