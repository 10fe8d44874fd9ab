"""`submit` and `check` with many files, and `--wait`: every manifest gets its verdict."""

import os
import pty
import subprocess

import daemon_process
import pytest
from as_operator import manifest_for
from daemon_process import DRIVEPREP, ROOT
from person import GUIDE

service, start = daemon_process.service, daemon_process.start

NO_BUCKET = b"exportBucket:no bucket!"


@pytest.fixture
def batch(tmp_path):
    """A folder with two manifests, and what else may lie there."""
    folder = tmp_path / "batch"
    (folder / "old").mkdir(parents=True)
    for device_id in ("HD002", "HD001"):
        (folder / f"{device_id}.yml").write_bytes(manifest_for(device_id))
    (folder / "list.csv").write_text("deviceId\n")
    (folder / ".HD003.yml.swp").write_text("")
    return folder


def faulty(device_id):
    """Return a manifest with a fault on line 7."""
    return manifest_for(device_id).replace(b"exportBucket:mybucket", NO_BUCKET)


def test_files_and_folders_are_dropped(person, ledger, batch, tmp_path):
    """All that can be manifests, in one command; what else is in a folder is named."""
    other = tmp_path / "HD9"
    other.write_bytes(manifest_for("HD9"))
    done = person.types("submit", batch, other)

    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(person.spool / "pending")) == ["HD001.yml", "HD002.yml", "HD9.yml"]
    assert done.stdout.count("dropped as") == 3
    assert f"not read in {batch}: list.csv, old (manifests end with .yml" in done.stderr


def test_a_fault_stops_only_its_own_file(person, ledger, batch):
    """The others are dropped, and the faults are reported with their places."""
    (batch / "HD001.yml").write_bytes(faulty("HD001"))
    done = person.types("submit", batch)

    assert done.returncode == 65
    assert os.listdir(person.spool / "pending") == ["HD002.yml"]
    assert f"{batch}/HD001.yml:7:18: operations[0].exportBucket: is not" in done.stderr
    assert "1 dropped, 1 not" in done.stderr


def test_the_same_file_can_be_submitted_again(person, ledger):
    """It is not dropped twice; another one never takes its name."""
    first, again = person.types("submit", GUIDE), person.types("submit", GUIDE)
    place = person.spool / "pending" / GUIDE.name

    assert (first.returncode, again.returncode) == (0, 0)
    assert "was already dropped" in again.stdout
    assert place.read_bytes() == GUIDE.read_bytes()

    place.write_bytes(manifest_for("HD002"))
    other = person.types("submit", GUIDE)
    assert other.returncode == 75
    assert "already exists" in other.stderr
    assert place.read_bytes() == manifest_for("HD002")


@pytest.mark.parametrize("command", ["submit", "check"])
def test_a_folder_without_manifests_is_a_fault(person, ledger, tmp_path, command):
    """It would be silent otherwise."""
    (tmp_path / "empty").mkdir()
    done = person.types(command, tmp_path / "empty")

    assert done.returncode == 65
    assert "empty has no manifest" in done.stderr


def test_check_takes_folders(person, batch):
    """Every manifest in it is checked; the faults of one do not hide those of another."""
    (batch / "HD001.yml").write_bytes(faulty("HD001"))
    done = person.types("check", "--online", batch, GUIDE)

    assert done.returncode == 65
    assert f"{batch}/HD001.yml:7:18" in done.stderr
    assert f"{batch}/HD002.yml: good, for HD002" in done.stdout
    assert f"{GUIDE}: good, for HD001" in done.stdout


def test_all_are_accepted(start, batch):
    """The command ends when the daemon has taken them all in, and the service found them valid."""
    station = start()
    done = station.command("submit", "--wait", batch)

    assert done.returncode == 0, done.stderr
    assert "HD001.yml: accepted, for HD001" in done.stdout
    assert "HD002.yml: accepted, for HD002" in done.stdout
    assert station.log.count("found valid") == 2


def test_a_rejection_is_printed_with_its_reason(start, service, batch):
    """Whether found here or by the service: the exit code is 65, the others are accepted."""
    station = start()
    service.faults.add("error", "CreateJob", code="NoSuchBucketException", message="no such bucket")
    (batch / "HD003.yml").write_bytes(faulty("HD003"))
    done = station.command("submit", "--wait", batch)

    assert done.returncode == 65
    assert done.stderr.count(": rejected: ") == 1
    assert "no such bucket" in done.stderr
    assert "HD003.yml:7:18" in done.stderr
    assert done.stdout.count(": accepted, for ") == 1


def test_what_is_unsettled_is_listed_after_the_timeout(start, batch):
    """The service is away: the manifests stay in pending/, and the exit code is 69."""
    station = start(endpoint="http://127.0.0.1:9")
    done = station.command("submit", "--wait", "--timeout", "1.5", batch)

    assert done.returncode == 69
    assert "HD001.yml: no verdict yet" in done.stderr
    assert "HD002.yml: no verdict yet" in done.stderr
    assert "2 of 2 unsettled: after 1.5 s" in done.stderr


def test_without_validation_a_manifest_is_accepted_when_it_is_taken_in(start, batch):
    """With `validate_on_drop: false` there is no other verdict to wait for."""
    station = start(endpoint="http://127.0.0.1:9", validate_on_drop=False)

    assert station.command("submit", "--wait", batch).returncode == 0


def test_a_manifest_that_was_already_rejected_gets_a_new_verdict(start, service, batch):
    """An old rejection of the same bytes is not taken for the new one."""
    station = start()
    service.faults.add("error", "CreateJob", code="NoSuchBucketException", message="no such bucket")
    one = batch / "HD001.yml"

    assert station.command("submit", "--wait", one).returncode == 65
    assert station.command("submit", "--wait", one).returncode == 0


def test_without_a_daemon_nothing_is_dropped(person, ledger, batch):
    """It would wait in vain: the exit code is 75."""
    ledger.close()
    done = person.types("submit", "--wait", batch)

    assert done.returncode == 75
    assert "daemon is not running, nothing was dropped" in done.stderr
    assert os.listdir(person.spool / "pending") == []


def test_a_wait_of_more_than_a_second_shows_a_bar(start, batch):
    """On a terminal it is on standard error; in a pipe there is none."""
    station = start(endpoint="http://127.0.0.1:9")
    words = ["submit", "--wait", "--timeout", "2", str(batch), "--config", str(station.config)]
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*DRIVEPREP, *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm"},
        )
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
        output, _ = process.communicate()
    finally:
        os.close(ours)
    piped = station.command(*words[:4], batch)

    assert b"waiting for the verdicts" in shown
    assert b"waiting" not in output
    assert "waiting for the verdicts" not in piped.stderr


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side is closed
        return b""
