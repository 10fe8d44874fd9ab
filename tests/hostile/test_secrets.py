"""Secrets stay where they belong: in the manifest's own places, and in nothing that is shown."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import daemon_process
import pytest
from as_operator import manifest_for, new_device_id
from daemon_process import DaemonProcess

from daemon.config import loading
from daemon.importexport import results
from daemon.importexport.client import Client
from daemon.importexport.credentials import Credentials
from daemon.importexport.emulator import EXAMPLE, SECRET_ACCESS_KEY, Emulator
from daemon.importexport.response import Answer
from daemon.manifest import rules
from daemon.preparation.papers import packing_slip

start = daemon_process.start

OTHER = "AKIAOTHEREXAMPLE"
TOKEN = "Zs3ss10nT0k3n"
PASSWORD = "hunter2 & <Zw0rt>"
PIN = "73519973"
SIGNATURE = "zOjsbR+r4qmmxYRUiceu+1zWfCM="
SECRETS = [SECRET_ACCESS_KEY, TOKEN, PASSWORD, "Zw0rt", PIN]
HOOK = "#!/bin/sh\n{ env; cat /proc/self/cmdline; } >> "


@pytest.fixture
def service() -> Iterator[Emulator]:
    """The service, for an account with a session token and for one without."""
    accounts = [Credentials(OTHER, SECRET_ACCESS_KEY, TOKEN), EXAMPLE]
    with Emulator(quota=10_000, accounts=accounts) as emulator:
        yield emulator


def secret_manifest(device_id: str, *more: str) -> bytes:
    """A manifest with all that can be secret in it."""
    lines = [f'trueCryptPassword: "{PASSWORD}"', f"pinCode: '{PIN}'", *more]
    return manifest_for(device_id) + "\n".join([*lines, ""]).encode()


def without_key(data: bytes) -> bytes:
    """The same without an accessKeyId of its own."""
    return b"".join(one for one in data.splitlines(True) if not one.startswith(b"accessKeyId"))


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    """As a shell has it: what is tight is so by our own doing."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def verbose(monkeypatch: pytest.MonkeyPatch, _usual_umask: None) -> None:
    """Every daemon logs all that it can."""
    code = "import sys, logging; sys.argv += ['--verbose'] * (sys.argv[1] == 'run');"
    # The tests' log lies in a watched folder: each line about an event would be one more event.
    code += "logging.getLogger('watchdog').setLevel('INFO');"
    code += "from daemon.cli import main; main()"
    monkeypatch.setattr(daemon_process, "DRIVEPREP", [sys.executable, "-c", code])


def settings(folder: Path) -> dict[str, object]:
    """Credentials with a session token, and hooks that write down all that they are told."""
    hook, secret = folder / "hook", folder / "secret-key"
    hook.write_text(f"{HOOK}{folder}/hooked\n")
    hook.chmod(0o755)
    secret.touch(mode=0o600)
    secret.write_text(SECRET_ACCESS_KEY)
    profiles = folder / "profiles"
    profiles.touch(mode=0o600)
    keys = f"aws_access_key_id={OTHER}\naws_secret_access_key={SECRET_ACCESS_KEY}\n"
    profiles.write_text(f"[staging]\n{keys}aws_session_token={TOKEN}\n")
    events = ("prepared", "rejected", "obstacle", "terminal")
    return {
        "credentials": {"profile": "staging"},
        "hooks": {event: [str(hook)] for event in events},
    }


def processes(daemon: DaemonProcess) -> str:
    """The command line of the daemon and of its children."""
    lines = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "status").read_text()
            if place.name == str(daemon.pid) or f"PPid:\t{daemon.pid}\n" in status:
                lines.append((place / "cmdline").read_text())
        except OSError:
            continue
    return "\n".join(lines)


def test_no_secret_is_shown_anywhere(plug, service, start, tmp_path, monkeypatch, verbose) -> None:
    """Prepared, refused here, refused there, hindered: no secret in what anybody is shown."""
    chosen = settings(tmp_path)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "profiles"))
    drive, unsigned = plug(new_device_id()).mount(), plug(new_device_id()).mount()
    (unsigned.mount_point / "SIGNATURE").write_text("jobId:OTHER\n")
    daemon = start(**chosen)
    daemon.drop(drive.label, without_key(secret_manifest(drive.label)))
    daemon.drop(unsigned.label, without_key(secret_manifest(unsigned.label)))
    daemon.drop("", secret_manifest("HDBAD", "trueCryptPassword: x", "logPrefix: [a]"), "bad.yml")
    daemon.drop("", secret_manifest("HDWORSE") + b"pinCode 1: 2: 3\n", "worse.yml")
    daemon.drop("", secret_manifest("HDNOBUCKET").replace(b"mybucket", b"No Bucket!"), "no.yml")

    daemon.until("it is prepared", lambda: daemon.papers(drive.label))
    daemon.obstacle(unsigned.label, "already has")
    reasons = [daemon.rejected(name) for name in ("bad.yml", "worse.yml")]
    hooked = tmp_path / "hooked"
    daemon.until("hooks have run", lambda: "EVENT=prepared" in hooked.read_text())
    (papers,) = daemon.papers(drive.label)
    job_id = papers.name.split("-")[0]
    commands = [
        *(["status"], ["status", "--json"], ["drives"], ["drives", "--json"]),
        *(["show", drive.label], ["show", job_id], ["show", unsigned.label]),
        *(["check", str(daemon.pending / f"{unsigned.label}.yml")],),
        *(["check", str(daemon.spool / "rejected" / "bad.yml")],),
    ]
    shown = [daemon.log, *daemon.notified, *reasons, processes(daemon)]
    shown += [done.stdout + done.stderr for done in (daemon.command(*words) for words in commands)]
    shown += [hooked.read_text()]
    shown += [(papers / name).read_text() for name in ("receipt.json", "SIGNATURE", "slip.html")]
    assert daemon.stop() == 0

    for text in shown:
        assert not [secret for secret in SECRETS if secret in text]
    assert "DRIVEPREP_EVENT=prepared" in hooked.read_text()
    assert "AWS_" not in hooked.read_text()


def test_what_is_kept_is_kept_from_others(plug, service, start, verbose) -> None:
    """Files 0640 in folders 0750 at most, the journal 0600; the manifest in its own places only."""
    drive = plug(new_device_id()).mount()
    daemon = start()
    daemon.drop(drive.label, secret_manifest(drive.label))
    daemon.until("it is prepared", lambda: daemon.papers(drive.label))
    daemon.drop("", b"nonsense\n", "bad.yml")
    daemon.rejected("bad.yml")

    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in daemon.spool.rglob("*")}
    journal = {place: mode for place, mode in modes.items() if "sqlite" in place.name}
    dropped = daemon.spool / "rejected" / "bad.yml"  # as its owner had it, behind a closed door
    open_to_all = {place for place, mode in modes.items() if mode & 0o007} - {dropped}
    (papers,) = daemon.papers(drive.label)
    holders = [place for place in modes if place.is_file() and PIN.encode() in place.read_bytes()]

    assert stat.S_IMODE(daemon.spool.stat().st_mode) == 0o750
    assert open_to_all == set()
    assert len(journal) == 3
    assert set(journal.values()) == {0o600}
    assert {modes[place] for place in papers.iterdir()} == {0o640}
    assert {place.name for place in holders} <= {"manifest.yml", "journal.sqlite3-wal"}
    assert daemon.stop() == 0
    assert PIN.encode() not in (daemon.spool / "journal.sqlite3").read_bytes()


BUGS = {
    "in the manifest": "import daemon.manifest.rules as m; m.to_send = lambda: 0",
    "in the papers": "import daemon.preparation.papers.contents as m; m._receipt = lambda a: 0",
    "in the slip": (
        "import daemon.preparation.papers.packing_slip as m;"
        " m.return_lines = lambda a: {}[str(type(a))]"
    ),
    "in the answer": "import daemon.importexport.results as m; m.created_job = lambda: 0",
    "in the signature": "import daemon.importexport.authentication as m; m.sign = lambda: 0",
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_traceback_tells_of_the_bug_and_of_no_secret(
    plug, service, tmp_path, monkeypatch, bug
) -> None:
    """A bug ends the daemon; what it leaves in the log is code, not values."""
    code = f"{bug}; from daemon.cli import main; main()"
    monkeypatch.setattr(daemon_process, "DRIVEPREP", [sys.executable, "-c", code])
    drive = plug(new_device_id()).mount()
    daemon = DaemonProcess(tmp_path / "daemon", service.endpoint)
    daemon.start()
    try:
        daemon.drop(drive.label, secret_manifest(drive.label))
        code = daemon.wait()
    finally:
        daemon.kill()

    assert code == 1
    assert "Traceback" in daemon.log
    assert not [secret for secret in [*SECRETS, "mybucket"] if secret in daemon.log]


def test_no_value_shows_its_secret() -> None:
    """repr of whatever holds a secret, as a traceback's tools and a debugger would print it."""
    credentials = Credentials("AKIA", SECRET_ACCESS_KEY, TOKEN)
    read = rules.read(secret_manifest("HD001"), "a.yml")
    sent = rules.to_send(read, "AKIA").replace("&", "&amp;").replace("<", "&lt;")
    body = (
        "<GetStatusResponse><GetStatusResult><JobId>K7M3X</JobId>"
        f"<CurrentManifest>{sent}</CurrentManifest>"
        f"<SignatureFileContents>version:2.0\njobId:K7M3X\nsignature:{SIGNATURE}\n"
        "</SignatureFileContents></GetStatusResult></GetStatusResponse>"
    )
    answer = Answer("GetStatus", 200, "text/xml", None, body.encode())
    status = results.job_status(answer)
    created = results.created_job(
        Answer("CreateJob", 200, "text/xml", None, body.replace("GetStatus", "CreateJob").encode())
    )
    client = Client("https://127.0.0.1", credentials, 1)
    values = [credentials, read, answer, status, created, client]
    values += [packing_slip.Contact("a", "b", None), vars(client)]

    assert PASSWORD in (status.current_manifest or "")
    for value in values:
        assert not [secret for secret in [*SECRETS, SIGNATURE] if secret in repr(value)], value


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that any user of the machine can read or replace is no secret; it is not shown."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET_ACCESS_KEY)
    secret.chmod(mode)
    path = tmp_path / "config.yml"
    keys = f"{{access_key_id: A, secret_access_key_file: {secret}}}"
    path.write_text(f"credentials: {keys}\n")

    with pytest.raises(loading.ConfigError, match="accessible to every user") as refused:
        loading.load(path, {})

    assert SECRET_ACCESS_KEY not in str(refused.value)
