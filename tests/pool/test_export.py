"""`pool export`: the pool as lines that a person can read."""

import json
import stat

import pytest
from as_operator import manifest_for, new_device_id
from loop_drives import wait_until
from stations import assert_done

pytestmark = pytest.mark.xdist_group("pool")
SECRET = "correct horse battery staple"


def test_all_that_a_person_needs(station, cluster, service, plug, tmp_path):
    """Stations, jobs and waiting manifests, without the passwords in them."""
    bench = station("bench-1").start()
    drive = plug(signed := new_device_id()).mount()
    bench.drop(signed)
    bench.until("it is filed", lambda: bench.papers(signed))
    drive.unmount()
    waiting = new_device_id()
    bench.drop(waiting, manifest_for(waiting) + f"trueCryptPassword: {SECRET}\n".encode())
    wait_until("it waits", lambda: cluster.ask("SELECT 1 FROM driveprep.manifest"))
    known = "SELECT 1 FROM driveprep.claim WHERE job_id IS NOT NULL AND manifest IS NULL"
    wait_until("the pool knows the job", lambda: cluster.ask(known))

    done = bench.command("pool", "export")

    assert_done(done)
    pool, one, job, manifest = map(json.loads, done.stdout.splitlines())
    assert (pool["kind"], pool["isOpen"], pool["endpoint"]) == ("pool", True, service.endpoint)
    assert (one["kind"], one["station"], one["successor"]) == ("station", "bench-1", None)
    (made,) = service.jobs
    assert (job["kind"], job["jobId"], job["deviceId"]) == ("claim", made.job_id, signed)
    assert (job["state"], job["isOpen"], "text" in job) == ("Signed", True, False)
    assert (manifest["kind"], manifest["deviceId"]) == ("manifest", waiting)
    assert f'deviceId: "{waiting}"' in manifest["text"]
    assert SECRET not in done.stdout

    file = tmp_path / "export"
    assert_done(bench.command("pool", "export", file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(map(json.loads, file.read_text().splitlines()))[2:] == [job, manifest]
    assert "already exists" in bench.command("pool", "export", file).stderr
