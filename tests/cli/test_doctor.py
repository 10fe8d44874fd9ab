"""What the doctor finds: at the service (our emulator), in the spool, on this machine."""

import grp
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli import doctor
from daemon.cli.doctor import Verdict, sandbox, state
from daemon.cli.doctor import machine as machine_room
from daemon.cli.main import driveprep
from daemon.drives import mounts
from daemon.importexport.emulator import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Emulator
from daemon.jobs.journal import Journal
from daemon.spool.spool import Spool
from daemon.system import programs as system_programs

TOP = Path(__file__).parents[2]
OK, PROBLEM, UNSEEN = Verdict.OK, Verdict.PROBLEM, Verdict.UNSEEN


@pytest.fixture
def service():
    """The service."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The spool of a machine in order, whatever is mounted where the tests run."""
    group = grp.getgrgid(os.getegid()).gr_name
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, word in (("mount.ntfs-3g", ""), ("blkid", ""), ("systemctl", "enabled")):
        (programs / name).write_text(f"#!/bin/sh\necho {word}\n")
        (programs / name).chmod(0o755)
    (programs / "systemctl").write_text(
        "#!/bin/sh\ncase $1 in is-active) echo active;; *) echo enabled;; esac\n"
    )
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(system_programs, "SYSTEM", {"PATH": str(programs)})
    for room in (machine_room, state):
        monkeypatch.setattr(room, "ACCOUNT", group)
    monkeypatch.setattr(machine_room, "UDEV_CONTROL", tmp_path)
    monkeypatch.setattr(machine_room, "SYSTEMD", tmp_path)
    monkeypatch.setattr(sandbox, "MOUNT_ROOTS", (tmp_path,))
    monkeypatch.setattr(mounts, "PROC_MOUNTINFO", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text("27 1 0:30 / / rw - overlay none rw\n")
    Spool(tmp_path / "spool", 1, time.monotonic)
    Journal(tmp_path / "spool", time.time).close()
    return tmp_path / "spool"


def configuration(folder, endpoint, secret=SECRET_ACCESS_KEY, **more):
    """A config.yml for that service."""
    credentials = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": secret}
    settings = {"endpoint": endpoint, "credentials": credentials, "spool": str(folder / "spool")}
    path = folder / "config.yml"
    path.write_text(json.dumps({**settings, **more}))  # JSON is YAML
    path.chmod(0o640)
    return path


def found(path, *subjects):
    """Subjects, verdicts and facts, of these subjects only."""
    findings = [one for one in doctor.examine(path, {}) if one.subject in subjects]
    assert all(one.remedy for one in findings if one.verdict is PROBLEM)
    return [(one.subject, one.verdict, one.fact) for one in findings]


def test_a_machine_in_order(service, machine, tmp_path):
    """Every line is ok, the exit code is 0, and the service has no job more than before."""
    path = configuration(tmp_path, service.endpoint)

    done = CliRunner().invoke(driveprep, ["doctor", "--config", str(path)])

    assert done.exit_code == 0, done.output
    lines = [line.split()[:2] for line in done.output.splitlines()]
    assert {verdict for verdict, _ in lines} == {"ok"}
    subjects = "NTFS udev unit group config spool journal backup mounts drives service clock"
    subjects += " credentials"
    assert [subject.rstrip(":") for _, subject in lines] == subjects.split()
    assert service.jobs == ()


def test_a_wrong_secret(service, machine, tmp_path):
    """Credentials that are refused are told apart from a service that is not there."""
    path = configuration(tmp_path, service.endpoint, "wrong")

    (answers, *_, credentials) = found(path, "service", "clock", "credentials")

    assert answers[:2] == ("service", OK)
    assert credentials[:2] == ("credentials", PROBLEM)
    assert ACCESS_KEY_ID in credentials[2]
    assert "wrong" not in credentials[2]
    done = CliRunner().invoke(driveprep, ["doctor", "--config", str(path)])
    assert done.exit_code == 75


@pytest.mark.parametrize(("hours", "word"), [(1, "behind"), (-1, "ahead")])
def test_a_wrong_clock(machine, tmp_path, hours, word):
    """The clock is compared with the service's Date, also where the service refuses ours."""
    with Emulator(clock=lambda: time.time() + hours * 3600) as service:
        path = configuration(tmp_path, service.endpoint)
        (clock,) = found(path, "clock")

    assert clock[1] is PROBLEM
    assert word in clock[2]
    assert 3590 < int(clock[2].split()[0]) < 3610


def test_nobody_listens(machine, tmp_path):
    """A service that is not there is one line, with the address that was tried."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        path = configuration(tmp_path, endpoint)
        ((_, verdict, fact),) = found(path, "service", "clock", "credentials")

    assert verdict is PROBLEM
    assert endpoint in fact


def test_the_service_is_asked_with_the_daemons_environment(machine, tmp_path, monkeypatch):
    """Its proxy counts, not that of this shell; where it cannot be seen, that is said."""
    path = configuration(tmp_path, "https://importexport.invalid/")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:7")
    ((_, verdict, fact),) = found(path, "service")
    assert verdict is PROBLEM
    assert "through the proxy 127.0.0.1:7" in fact
    assert "asked with the proxies of this shell" in fact

    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    environment = {"https_proxy": "http://127.0.0.1:9"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as daemon:
        monkeypatch.setattr(sandbox.reader, "daemon_info", lambda _: {"pid": daemon.pid})
        ((_, _, fact),) = found(path, "service")

    assert "through the proxy 127.0.0.1:9" in fact
    assert "this shell" not in fact
    assert os.environ["HTTPS_PROXY"] == "http://127.0.0.1:7"


def test_something_else_listens(service, machine, tmp_path):
    """A captive portal's page is not taken for the service."""
    service.faults.add("html", times=None)

    findings = found(configuration(tmp_path, service.endpoint), "service", "credentials")

    assert findings[-1][:2] == ("service", PROBLEM)


def test_a_faulty_configuration(machine, tmp_path):
    """Each fault is told with its place; the service is not asked, and that is said."""
    path = configuration(tmp_path, "ftp://x", workers="many")

    *faults, service = found(path, "config", "service")

    assert [verdict for _, verdict, _ in faults] == [PROBLEM, PROBLEM]
    assert all(str(path) in fact for *_, fact in faults)
    assert service[1] is UNSEEN


def test_a_damaged_journal(machine, tmp_path):
    """A journal that cannot be trusted is a problem before the daemon stumbles over it."""
    (machine / "journal.sqlite3").write_bytes(b"no database" * 100)

    ((_, verdict, fact),) = found(configuration(tmp_path, "http://127.0.0.1:9"), "journal")

    assert verdict is PROBLEM
    assert "journal.sqlite3" in fact


def test_looking_changes_nothing(service, machine, tmp_path):
    """No file is made, none is written."""

    def state():
        return {place: place.stat().st_mtime_ns for place in machine.rglob("*")}

    path, before = configuration(tmp_path, service.endpoint), state()

    assert len(list(doctor.examine(path, {}))) > 10
    assert state() == before


def test_a_sandbox_without_the_mount_root(machine, tmp_path):
    """A mount root that is read-only for the service alone is told, with the drop-in to add."""
    inside = mounts.parse(b"1 0 8:1 / / ro - ext4 /dev/sda1 rw\n")

    (finding,) = sandbox.mount_roots(inside)

    assert finding.verdict is PROBLEM
    assert "in the service's sandbox" in finding.fact
    assert f"ReadWritePaths=-{tmp_path}" in finding.remedy


def test_no_driver_for_ntfs(machine, tmp_path, monkeypatch):
    """Without ntfs-3g and without a driver in the kernel nothing can be mounted."""
    (tmp_path / "bin/mount.ntfs-3g").unlink()
    monkeypatch.setattr(machine_room, "PROC", tmp_path)
    (tmp_path / "filesystems").write_text("nodev\ttmpfs\n\text4\n")
    path = configuration(tmp_path, "http://127.0.0.1:9")
    assert found(path, "NTFS")[0][1] is PROBLEM

    (tmp_path / "filesystems").write_text("nodev\ttmpfs\n\tntfs3\n")
    assert found(path, "NTFS") == [("NTFS", OK, "kernel ntfs3")]


@pytest.mark.parametrize(
    ("said", "verdict", "fact"),
    [
        ("echo enabled", OK, "enabled, active"),
        ("echo disabled; exit 1", PROBLEM, "disabled, active"),
        ("echo Failed to get unit file state for x >&2", PROBLEM, "not installed, active"),
        ("echo Failed to connect to bus >&2", UNSEEN, "systemd does not answer"),
    ],
)
def test_the_unit_is_enabled(machine, tmp_path, said, verdict, fact):
    """A service that will not start with the machine is a problem; a deaf systemd tells nothing."""
    (tmp_path / "bin/systemctl").write_text(
        f"#!/bin/sh\ncase $1 in is-active) echo active;; *) {said};; esac\n"
    )

    ((_, told, words),) = found(configuration(tmp_path, "http://127.0.0.1:9"), "unit")

    assert told is verdict
    assert words.startswith(fact)


def test_a_sandbox_needs_udev(machine, tmp_path, monkeypatch):
    """Where systemd runs but udev does not, the service would know no drive, blkid or not."""
    monkeypatch.setattr(machine_room, "UDEV_CONTROL", tmp_path / "gone")
    path = configuration(tmp_path, "http://127.0.0.1:9")
    assert found(path, "udev")[0][1] is PROBLEM

    monkeypatch.setattr(machine_room, "SYSTEMD", tmp_path / "gone")
    assert found(path, "udev")[0][1] is OK


# The first look, as root, loads all modules: Python itself may lie where nobody else may look.
AS_NOBODY = """
import os, pathlib, sys
from daemon.cli import doctor
from daemon.cli.doctor import state
from daemon.importexport import transport
path = pathlib.Path(sys.argv[1])
state.SERVICE_CREDENTIALS = path.parent / "credentials"
list(doctor.examine(path, {}))
os.setgroups([]), os.setgid(65534), os.setuid(65534)
for finding in doctor.examine(path, {}):
    print(finding.verdict.value, finding.subject)
"""


@pytest.fixture
def open_folder():
    """A folder that every user may look into; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "credentials").mkdir(mode=0o700)
        yield Path(name)


def as_nobody(path):
    """What another user is told: verdicts and subjects."""
    command = [sys.executable, "-c", AS_NOBODY, path]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_operator_is_told_what_cannot_be_seen(open_folder):
    """Who may not read the configuration is not told that it is faulty, or that all is well."""
    path = configuration(open_folder, "http://127.0.0.1:9")

    told = as_nobody(path)

    assert "unseen config" in told
    assert "unseen service" in told


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_secret_that_systemd_keeps(open_folder):
    """That the service's own credentials are closed to others is no fault of the configuration."""
    path = open_folder / "config.yml"
    settings = f"endpoint: http://127.0.0.1:9\nspool: {open_folder}/spool\n"
    path.write_text(settings + "credentials: {access_key_id: AKIA}\n")
    path.chmod(0o644)

    told = as_nobody(path)
    assert {"ok config", "unseen credentials", "problem service"} <= {*told}, told
    (open_folder / "credentials").rmdir()
    assert "problem config" in as_nobody(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_secret_in_a_file_of_the_service(service, open_folder):
    """An operator is shown all the rest: spool, service and clock."""
    secret = open_folder / "secret"
    secret.write_text(SECRET_ACCESS_KEY)
    secret.chmod(0o600)
    path = configuration(open_folder, service.endpoint)
    settings = json.loads(path.read_text())
    settings["credentials"] = {
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key_file": str(secret),
    }
    path.write_text(json.dumps(settings))
    path.chmod(0o644)

    told = as_nobody(path)

    subjects = [one.split()[1] for one in told]
    assert {"ok config", "unseen credentials", "ok service", "ok clock"} <= {*told}, told
    assert subjects.count("credentials") == 1
    assert "spool" in subjects
