"""What is asked at one station about a job of another: the person is told where it is."""

import pytest
from as_operator import manifest_for, new_device_id, prepared_once, unmount

pytestmark = pytest.mark.xdist_group("pool")


@pytest.fixture
def benches(station):
    """Two stations; the second one answers to no label, so that the first one has the drives."""
    return station("bench-1").start(), station("bench-2", require_mapping=True).start()


def commands(word, file):
    """Each command for a JOB."""
    yield "show", word
    yield "cancel", "--yes", word
    yield "update", word, file
    yield "label", word
    yield "slip", word
    yield "shipped", word
    yield "shipped", "--undo", word
    yield "retry", word
    yield "retry", "--as-it-is", word
    yield "retry", "--same-drive", word
    yield "dismiss", word


def refused(daemon, words, *told):
    """The command fails, and says this."""
    done = daemon.command(*words)
    assert done.returncode != 0, words
    for text in told:
        assert text in done.stderr, (words, done.stderr)


def test_each_command_names_the_station_of_a_job(benches, service, plug, tmp_path):
    """By its JobId, in any case, and by its deviceId; nothing happens to the job."""
    first, second = benches
    device_id = new_device_id()
    drive = plug(device_id).mount()
    first.drop(device_id)
    job = prepared_once(service, first, drive.mount_point, device_id)
    first.until("it is published", lambda: "bench-1" in second.command("show", device_id).stderr)
    file = tmp_path / "other.yml"
    file.write_bytes(manifest_for(device_id) + b"# changed\n")

    for word in (job.job_id.lower(), device_id):
        for words in commands(word, file):
            told = f"station bench-1 has job {job.job_id} for {device_id}", "at that station"
            refused(second, words, *told)
    refused(second, ("show", f"{device_id}.yml"), f"station bench-1 has job {job.job_id}")

    assert first.command("show", job.job_id).returncode == 0
    prepared_once(service, first, drive.mount_point, device_id)


def test_each_command_names_the_station_of_a_manifest(benches, tmp_path):
    """That waits there for its drive."""
    first, second = benches
    device_id = new_device_id()
    first.drop(device_id)
    first.until("it is published", lambda: "bench-1" in second.command("show", device_id).stderr)
    file = tmp_path / "other.yml"
    file.write_bytes(manifest_for(device_id))

    for words in commands(device_id, file):
        refused(second, words, f"station bench-1 has what waits for {device_id}")
    refused(second, ("dismiss", f"{device_id}.yml"), "station bench-1 has")


def test_what_is_nowhere_is_said_to_be_nowhere(benches, cluster):
    """And what cannot be asked is not said to be nowhere."""
    _, second = benches
    refused(second, ("show", "HD404"), "there is no job HD404")
    refused(second, ("shipped", "HD404"), "there is no job HD404")
    cluster.stop()
    try:
        for words in (("show", "HD404"), ("shipped", "HD404"), ("retry", "HD404")):
            refused(second, words, "there is no job HD404 here", "cannot be asked")
    finally:
        cluster.start()


def test_a_drive_that_comes_back_has_a_new_job_elsewhere(benches, service, plug):
    """An old job of the same drive is here; what is meant is the open one at the other station."""
    first, second = benches
    device_id = new_device_id()
    drive = plug(device_id).mount()
    first.drop(device_id)
    old = prepared_once(service, first, drive.mount_point, device_id)
    assert first.command("cancel", "--yes", old.job_id).returncode == 0
    first.until("it is closed", lambda: "Canceled" in first.command("show", old.job_id).stdout)
    unmount(drive)
    second.drop(device_id)
    second.until("it waits", lambda: second.job(device_id).get("state") == "Pending")
    first.until("it is seen", lambda: "bench-2" in first.command("show", device_id).stderr)

    assert first.command("show", old.job_id).returncode == 0
    refused(first, ("label", device_id), f"station bench-2 has what waits for {device_id}")
