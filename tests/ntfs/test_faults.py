"""What can go wrong with CreateJob, seen from outside: still one job, or a clear obstacle.

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
    """A service with one fault, and a daemon and a drive of its own."""

    fault: dict
    service: Emulator
    daemon: DaemonProcess
    drive: object

    def ends_well(self) -> None:
        """Check that there is exactly one job, and that the drive is prepared."""
        assert not self.service.faults.pending(), self.fault
        prepared_once(self.service, self.daemon, self.drive.mount_point, self.drive.label)


@pytest.fixture
def tell(plug, tmp_path):
    """Begin a story for each of these faults, all at once: `tell({"kind": "hang"}, ...)`."""
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
    """Request or response lost: one job, either found at the service or submitted again."""
    for story in tell(*LOST_ON_THE_WAY, *LOST_ON_THE_WAY_BACK):
        story.ends_well()


def test_a_service_that_is_not_there(plug, service, start):
    """The obstacle says when the next attempt is made; then there is one job."""
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
    daemon = start(**AT_ONCE, requests=1)
    daemon.drop(drive.label)
    wait_until("the job is made", lambda: jobs_for(service, drive.label))

    daemon.kill()
    daemon.start()

    prepared_once(service, daemon, drive.mount_point, drive.label)


def test_several_jobs_at_the_service(plug, service, start):
    """The obstacle names all JobIds and none is chosen. When only one is left, it is used."""
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
    """The list of another endpoint proves nothing: the obstacle asks for the old endpoint."""
    service.faults.add("hang-after", "CreateJob")
    drive = plug(new_device_id()).mount()
    with Emulator() as other:
        daemon = start(**AT_ONCE)
        daemon.drop(drive.label)
        wait_until("the job is made", lambda: jobs_for(service, drive.label))
        service.faults.add("503", "ListJobs")
        daemon.obstacle(drive.label, "")

        daemon.configure(**AT_ONCE, endpoint=other.endpoint)
        daemon.obstacle(drive.label, service.endpoint, "another endpoint or key")
        daemon.configure(**AT_ONCE)

        prepared_once(service, daemon, drive.mount_point, drive.label)
        assert not other.jobs


# What only a person can fix


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
    """Neither a job nor a rejection: the obstacle says why, and `retry` tries at once."""
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
    """The time of the next attempt survives a restart. A corrected config.yml is tried at once."""
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
    """Wait until the next attempt is so far away that an earlier one would show; its time."""

    def distant() -> float:
        if not (told := daemon.job(device_id)["retryAt"]):
            return 0.0
        moment = datetime.fromisoformat(told).timestamp()
        return moment if moment > time.time() + 3 else 0.0

    return daemon.until("the next try is seconds away", distant)


def test_a_wrong_clock(plug, start):
    """The request is repeated once with the service's time, and the log says so."""
    with Emulator(clock=lambda: time.time() + 3600) as tomorrow:
        drive = plug(new_device_id()).mount()
        daemon = start(**AT_ONCE, endpoint=tomorrow.endpoint)

        daemon.drop(drive.label)

        prepared_once(tomorrow, daemon, drive.mount_point, drive.label)
        assert daemon.log.count("the service refused our clock") == 1


def test_a_refusal_is_shown_before_the_drive_comes(plug, service, start):
    """`status` says what the service objects to, also while no job waits for it; then no more."""
    service.faults.add("error", "CreateJob", code="InvalidAccessKeyId", status=403)
    daemon = start()
    first, second = new_device_id(), new_device_id()
    daemon.drop(first)

    told = daemon.until("it is shown", lambda: daemon.status()["daemon"].get("service"))
    assert "InvalidAccessKeyId" in told
    assert told in daemon.command("status").stdout.replace("\n", " ")

    drive = plug(second).mount()
    daemon.drop(second)
    prepared_once(service, daemon, drive.mount_point, second)
    assert daemon.status()["daemon"]["service"] == ""
