"""The commands as a person meets them: real processes, their words and their exit codes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

from person import GUIDE, prepare

from daemon.cli.main import COMMANDS
from daemon.cli.options import ARGUMENTS
from daemon.jobs.job import NewJob, Obstacle, Pending, Rejected, unsigned
from daemon.jobs.schema import NAME
from daemon.spool.spool import Spool


def made(service, job):
    """The service's own record of a job."""
    return next(one for one in service.jobs if one.job_id == job.job_id)


def test_wrong_use_is_64(person):
    """A command that does not exist, or is used wrongly, ends with EX_USAGE."""
    assert person.types("sing").returncode == 64
    assert person.types("submit").returncode == 64


def test_bad_config_is_78(person):
    """A configuration with faults ends with EX_CONFIG, and each fault has its place."""
    person.config.write_text("endpiont: https://example.com\nworkers: many\n")

    done = person.types("status")

    assert done.returncode == 78
    assert "config.yml:1:1: endpiont" in done.stderr
    assert "did you mean endpoint" in done.stderr
    assert "config.yml:2:10: workers" in done.stderr
    assert "2 | workers: many" in done.stderr


def test_check_says_that_all_is_good(person):
    """The guide's own manifest passes, with warnings of its placeholders."""
    done = person.types("check", "--online", GUIDE)

    assert done.returncode == 0
    assert f"{person.config}: good" in done.stdout
    assert "good, for HD001 (NTFS)" in done.stdout
    assert "placeholder" in done.stdout


def test_check_of_a_bad_manifest_is_65(person, tmp_path):
    """All faults at once, each with its line and a caret; the good file beside it is told good."""
    bad = tmp_path / "bad.yml"
    bad.write_text(GUIDE.read_text().replace("deviceId", "deviceID").replace("NTFS", "FAT"))

    done = person.types("check", bad, GUIDE)

    assert done.returncode == 65
    assert "bad.yml:3:1: deviceId: is missing; did you mean deviceID" in done.stderr
    assert "bad.yml:4:12: fileSystem" in done.stderr
    assert "^" in done.stderr
    assert "good, for HD001" in done.stdout


def test_check_online_tells_the_services_complaint_with_its_line(person, service):
    """What the service refuses has the key and line it most likely means."""
    service.faults.add("error", "CreateJob", code="InvalidAddressException", message="no such city")

    done = person.types("check", "--online", GUIDE)

    assert done.returncode == 65
    assert "guide-manifest.yml:13:5: returnAddress.city" in done.stderr
    assert "InvalidAddressException" in done.stderr


def test_submit_without_a_spool_is_75(person):
    """Where no daemon has ever run there is nothing to drop into, and it is said so."""
    done = person.types("submit", GUIDE)

    assert done.returncode == 75
    assert "systemctl start driveprep" in done.stderr


def test_status_without_a_daemon(person):
    """Nothing there is told as that, not as an error."""
    done = person.types("status", "--json")

    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["version"] == 1
    assert found["daemon"] == {"running": False}
    assert found["jobs"] == []


def test_status_counts_the_jobs_of_the_services_day(person, ledger, service):
    """By when the service made them: one of yesterday does not count, whatever happened today."""
    prepare(ledger, service, person, "HD150")
    older = prepare(ledger, service, person, "HD151")
    midnight = time.time() // 86400 * 86400  # of UTC
    ledger.reopen(older, replace(unsigned(older.state), submitted_at=midnight - 1), b"")
    with person.config.open("a") as config:
        config.write("daily_limit: 6\n")

    today = json.loads(person.types("status", "--json").stdout)["today"]

    assert (today["jobs"], today["limit"]) == (1, 6)
    assert today["endsAt"].endswith("T00:00:00Z")
    said = "DAILY LIMIT: 5 of today's 6 jobs are left, until 00:00 UTC"
    assert said in person.types("status").stderr


def test_status_tells_every_job(person, ledger, service):
    """A prepared, a waiting and a rejected job, for eyes and for programs."""
    job = prepare(ledger, service, person, "HD100")
    waiting, _ = ledger.add(
        [
            NewJob(
                device_id="HD2\x1b[31m",
                file_system="NTFS",
                name="w.yml",
                sha256="w",
                state=Pending("1"),
                since=1.0,
            ),
            NewJob(
                device_id="",
                file_system="",
                name="bad.yml",
                sha256="b",
                state=Rejected("bad.yml:1:1: is bad\n more"),
                since=time.time(),
            ),
        ]
    )
    obstacle = Obstacle("no drive", "Plug it in.", 1.0, 2, 2_000_000_000.0)
    ledger.record_obstacles([(waiting, obstacle)])
    (bad,) = [one for one in ledger.unfiled() if one.name == "bad.yml"]
    rejected = person.spool / "rejected"  # the name was rejected once before
    (rejected / "bad.yml.reason.txt").write_text("(driveprep, entry 0, x)")
    (rejected / "bad-2.yml.reason.txt").write_text(f"bad\n\n({bad.mark})")

    jobs = {
        one["manifest"]: one for one in json.loads(person.types("status", "--json").stdout)["jobs"]
    }
    shown = person.types("status").stdout

    assert jobs["HD100.yml"]["state"] == "Signed"
    assert jobs["HD100.yml"]["jobId"] == job.job_id
    assert jobs["HD100.yml"]["safeToRemove"]
    assert jobs["w.yml"]["obstacle"] == "no drive"
    assert jobs["w.yml"]["hint"] == "Plug it in."
    assert jobs["w.yml"]["retryAt"] == "2033-05-18T03:33:20Z"
    assert jobs["bad.yml"]["state"] == "Rejected"
    assert "safe to remove" in shown
    assert "no drive. Plug it in. Next try at 2033-05-18T03:33:20Z." in shown
    assert "(complete: rejected/bad-2.yml.reason.txt)" in shown
    assert "\x1b[31m" not in shown


def test_show_cancel_and_retry_words(person, ledger, service):
    """A job is shown with what the service says; cancelled; and the daemon asked to look."""
    job = prepare(ledger, service, person, "HD200")

    shown = person.types("show", "HD200").stdout
    refused = person.types("cancel", job.job_id)
    done = person.types("cancel", job.job_id, "--yes")
    again = person.types("cancel", "HD200", "--yes")

    assert job.job_id in shown
    assert "NotReceived" in shown
    assert refused.returncode == 130  # nobody said yes
    assert done.returncode == again.returncode == 0
    assert made(service, job).is_canceled
    assert [path.name for path in (person.spool / "pending").iterdir()] == [".retry-HD200"]
    assert "Canceled" in person.types("show", "HD200").stdout


def test_update_wants_the_same_drive(person, ledger, service, tmp_path):
    """Another manifest goes to the service, unless it is another drive's."""
    job = prepare(ledger, service, person, "HD300")
    other = tmp_path / "other.yml"
    other.write_text(GUIDE.read_text())
    right = tmp_path / "right.yml"
    right.write_text("logPrefix:new/\n" + GUIDE.read_text().replace("HD001", "HD300"))

    wrong, done = person.types("update", "HD300", other), person.types("update", "HD300", right)

    assert wrong.returncode == 65
    assert "is for HD001" in wrong.stderr
    assert done.returncode == 0
    assert "SIGNATURE" in done.stdout
    assert made(service, job).manifest == right.read_text()


def test_label_and_slip(person, ledger, service, tmp_path):
    """The carrier label's link, and the slip again."""
    job = prepare(ledger, service, person, "HD400")
    place = tmp_path / "slip.html"

    label, slip = (
        person.types("label", "HD400"),
        person.types("slip", job.job_id, "--output", place),
    )

    assert label.stdout.startswith("https://")
    assert slip.stdout.strip() == str(place)
    assert job.job_id in place.read_text()


def test_what_works_without_the_secret_key(person, ledger, service, tmp_path):
    """The slip and the journal's part of `show`; without a daemon, the rest says so."""
    job = prepare(ledger, service, person, "HD410")
    place = tmp_path / "slip.html"
    ledger.close()
    (tmp_path / "secret").unlink()

    slip = person.types("slip", job.job_id, "--output", place)
    shown = person.types("show", "HD410")
    label = person.types("label", "HD410")

    assert slip.returncode == 0, slip.stderr
    assert job.job_id in place.read_text()
    assert (shown.returncode, job.job_id in shown.stdout) == (0, True)
    assert "this user has no secret key" in shown.stdout
    assert label.returncode == 78
    assert "systemctl start driveprep" in label.stderr


def test_unknown_job_is_75(person, ledger):
    """A JOB that is none is told, with the way to find one."""
    done = person.types("show", "XXXXX")

    assert done.returncode == 75
    assert "there is no job XXXXX" in done.stderr
    assert "driveprep status" in done.stderr


def test_service_out_of_reach_is_69(person, ledger, service):
    """Where the service cannot be reached, a command that needs it ends with EX_UNAVAILABLE."""
    job = prepare(ledger, service, person, "HD500")
    person.config.write_text(
        person.config.read_text().replace(service.endpoint, "http://127.0.0.1:9")
    )

    done = person.types("cancel", job.job_id, "--yes")

    assert done.returncode == 69
    assert "cannot reach" in done.stderr


def test_drives_give_a_verdict(person):
    """Every drive of this machine is told with what it is for, and nothing fails on the way."""
    done = person.types("drives", "--json")

    assert done.returncode == 0
    assert all(drive["verdict"] for drive in json.loads(done.stdout)["drives"])


def test_a_torn_journal_is_told(person, ledger):
    """A journal that cannot be trusted is named, with what to do."""
    ledger.close()
    (person.spool / NAME).write_bytes(b"garbage" * 1000)

    done = person.types("status")

    assert done.returncode == 75
    assert NAME in done.stderr
    assert "backup" in done.stderr


def test_everything_has_a_description():
    """Each command, option and argument is described, in --help or in the manual page."""
    for command in COMMANDS:
        assert command.help, command.name
        for parameter in command.params:
            name = (parameter.metavar or parameter.human_readable_name).upper()
            assert getattr(parameter, "help", None) or name in ARGUMENTS, parameter.name


def test_the_locale_does_not_decide_what_text_is(person, tmp_path):
    """Input and output are UTF-8, also where Python is made to take the locale's ASCII."""
    person.environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    Spool(person.spool, 1.0, time.monotonic)
    manifest = tmp_path / "Z\u00fcrich.yml"
    text = GUIDE.read_text().replace("deviceId:HD001", "deviceId: Z\u00fcrich")
    manifest.write_text(text, encoding="utf-8")

    assert person.types("submit", manifest).returncode == 0

    assert os.listdir(person.spool / "pending") == ["Z\u00fcrich.yml"]
    manifest.write_text(text + "w\u00fcnsche: 1\n", encoding="utf-8")
    shown = person.types("check", manifest)
    assert "Z\u00fcrich.yml" in shown.stdout
    assert "w\u00fcnsche: 1" in shown.stdout
