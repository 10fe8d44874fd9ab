"""Three stations, one database, and faults without a pattern: each manifest becomes one job.

`driveprep` runs as real processes, with a real PostgreSQL and real NTFS drives; the history that is
checked is the service's. A run is told by its seed: DRIVEPREP_SEED=7 repeats the choices (not the
moments), DRIVEPREP_JOBS=500 makes it long.
"""

import os
import random
import signal
import time

import pytest
from as_operator import check_drive, check_papers, jobs_for, manifest_for, new_device_id
from loop_drives import wait_until

pytestmark = pytest.mark.xdist_group("pool")
JOBS = int(os.environ.get("DRIVEPREP_JOBS", "12"))
SEED = int(os.environ.get("DRIVEPREP_SEED", random.randrange(10**6)))
PATIENCE_SECONDS = 120
WINDOW_SECONDS = 15 * 60.0  # of the service, for a request's Timestamp


@pytest.mark.timeout(60 + 30 * JOBS)
def test_each_manifest_is_one_job_whatever_breaks(station, service, plug, cluster, clock):
    """Stations killed, frozen and thawed, the database crashed, answers lost, manifests twice."""
    chance = random.Random(SEED)
    print(f"DRIVEPREP_SEED={SEED}")
    stations = [station(f"bench-{number}").start() for number in (1, 2, 3)]
    drives = {}

    def kill():
        one = chance.choice(stations)
        one.kill()
        one.start()

    def freeze():
        one = chance.choice(stations)
        os.kill(one.pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 4))  # what a frozen process waits for is time
        os.kill(one.pid, signal.SIGCONT)

    def crash_the_database():
        cluster.stop("immediate")
        cluster.start()

    def lose_an_answer():
        service.faults.add(chance.choice(["cut-before", "cut-after", "hang-after", "500-after"]))

    faults = [kill, freeze, crash_the_database, lose_an_answer]
    for _ in range(JOBS):
        device_id = new_device_id()
        drives[device_id] = plug(device_id)
        for one in chance.sample(stations, chance.choice([1, 1, 2])):
            one.drop(device_id)
        drives[device_id].mount()
        chance.choice(faults)()
    clock.ahead = WINDOW_SECONDS + 5  # what was killed with a claim is in doubt for so long

    for device_id, drive in drives.items():
        root = drive.mount_point
        wait_until(
            f"{device_id} is prepared (seed {SEED})",
            lambda device_id=device_id: any(one.papers(device_id) for one in stations),
            PATIENCE_SECONDS,
        )
        (job,) = jobs_for(service, device_id)
        assert job.manifest.encode() == manifest_for(device_id)
        check_drive(root, job)
        (papers,) = [path for one in stations for path in one.papers(device_id)]
        check_papers(papers, job)
    for one in stations:
        one.until("nothing waits", lambda one=one: not list(one.pending.glob("*.yml")), 60)
    query = "SELECT count(*) FROM driveprep.claim WHERE job_id IS NULL AND NOT is_closed"
    wait_until("no claim is forgotten", lambda: cluster.ask(query) == [(0,)], 60)
