"""Hooks: real commands that get exactly what is promised and cannot do any harm."""

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.jobs.job import Job, Obstacle, Pending, Progress, Rejected, Signed
from daemon.service.reporting.hooks import HOOKS_AT_ONCE, HookQueue

SECONDS = 10.0  # after that, a test that hangs has failed
SIGNED = Signed("K7M3X", "secret text", "secret address", "", 1.0, 2.0, {"serial": "WX11"})
JOB = Job(7, "HD001", "NTFS", "a.yml", "ab12", SIGNED, 1.0, filed=True)
WAITING = replace(JOB, state=Pending("1"), filed=False)


def ended():
    """Wait until no hook is running."""
    for thread in threading.enumerate():
        if thread.name == "hook":
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def hooks():
    """A queue; no hook outlives its test."""
    yield HookQueue(os.environ["PATH"])
    ended()


@pytest.fixture
def script(tmp_path):
    """Create a command from some lines of sh; returns its path."""

    def make(lines, name="hook"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return str(path)

    return make


def environment(hooks, script, event, job):
    """What a hook finds in its environment."""
    place = Path(script("cat /proc/$$/environ > $0.seen", "seen"))
    hooks.run([str(place)], event, job, "/spool/prepared/K7M3X-HD001", "bench-1")
    ended()
    pairs = place.with_name("seen.seen").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def test_environment_is_as_promised(hooks, script, monkeypatch):
    """A hook gets PATH and the job's fields, and nothing that the daemon has for itself."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("LD_PRELOAD", "")

    assert environment(hooks, script, "prepared", JOB) == {
        "PATH": os.environ["PATH"],
        "DRIVEPREP_EVENT": "prepared",
        "DRIVEPREP_STATION": "bench-1",
        "DRIVEPREP_DEVICE_ID": "HD001",
        "DRIVEPREP_JOB_ID": "K7M3X",
        "DRIVEPREP_MANIFEST": "a.yml",
        "DRIVEPREP_REASON": "",
        "DRIVEPREP_HINT": "",
        "DRIVEPREP_PROGRESS": "",
        "DRIVEPREP_CONTENTS": "",
        "DRIVEPREP_BAY": "",
        "DRIVEPREP_NODE": "",
        "DRIVEPREP_DRIVE": "serial WX11",
        "DRIVEPREP_PAPERS": "/spool/prepared/K7M3X-HD001",
    }


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            replace(WAITING, obstacle=Obstacle("no drive\n$(id)", "plug it in", 1.0, 0, None)),
            {"JOB_ID": "", "REASON": "no drive\n$(id)", "HINT": "plug it in"},
        ),
        (replace(WAITING, state=Rejected("Ä: bad")), {"REASON": "Ä: bad", "HINT": ""}),
        (
            replace(JOB, progress=Progress(1.0, "Complete", None, is_terminal=True)),
            {"PROGRESS": "Complete"},
        ),
        (replace(JOB, progress=Progress(1.0, None, None, is_terminal=False)), {"PROGRESS": ""}),
        (replace(JOB, device_id="a\0b", name="\ud800.yml"), {"DEVICE_ID": "ab"}),
    ],
    ids=["obstacle", "rejected", "terminal", "no progress", "not allowed by execve(2)"],
)
def test_fields_of_each_event(hooks, script, job, expected):
    """Reason, hint and progress arrive word for word, as far as execve(2) allows."""
    found = environment(hooks, script, "event", job)

    assert {key: found[f"DRIVEPREP_{key}"] for key in expected} == expected


def test_reason_of_any_length(hooks, script):
    """A reason that is too long for a variable is cut, and the hook still runs."""
    long = replace(WAITING, state=Rejected("Ä" * 1_000_000))

    reason = environment(hooks, script, "rejected", long)["DRIVEPREP_REASON"]

    assert len(reason) > 30_000
    assert set(reason) == {"Ä"}


def test_no_shell(hooks, script, tmp_path):
    """The words of a command reach it unchanged; nothing interprets them on the way."""
    command = script('printf "%s|" "$@" > $0.words')

    hooks.run([command, "$(touch x)", "; touch y", "*", ""], "prepared", JOB)
    ended()

    assert (tmp_path / "hook.words").read_text() == "$(touch x)|; touch y|*||"


def test_run_does_not_wait(hooks, script, tmp_path):
    """The caller goes on at once, even if the hook waits for the caller."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    hooks.run([script(f"read line < {fifo}")], "prepared", JOB)

    fifo.write_text("go on\n")


def test_success_is_not_logged(hooks, script, caplog):
    """A hook that succeeds adds nothing to our log, whatever it prints."""
    caplog.set_level("DEBUG")
    hooks.run([script("echo out; echo err >&2")], "prepared", JOB)
    ended()

    assert caplog.records == []


def test_failure_is_logged(hooks, script, caplog):
    """A hook that fails is logged with its exit code and the end of its error output."""
    hooks.run([script("yes x | head -n 100000 >&2; echo Ä broken >&2; exit 3")], "prepared", JOB)
    ended()

    (record,) = caplog.records
    assert "/hook ended with 3: " in record.message
    assert record.message.endswith("Ä broken")
    assert len(record.message) < 1000


@pytest.mark.parametrize("command", ["/no/such/command", "/etc/passwd", "/bin/a\0b"])
def test_command_that_cannot_be_run(hooks, caplog, command):
    """A command that does not exist or cannot be executed is logged; nothing else changes."""
    hooks.run([command], "prepared", JOB)
    ended()

    (record,) = caplog.records
    assert record.message.startswith(f"hook {command}: ")


def is_alive(pid):
    """Whether a process is running."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_hook_that_takes_too_long(script, tmp_path, caplog):
    """After the time limit, a hook is killed with its children, and that is logged."""
    hooks = HookQueue(os.environ["PATH"], limit_seconds=1.0)
    hooks.run([script("sleep 60 & echo $$ $! > $0.pids; wait")], "prepared", JOB)
    ended()
    pids = (tmp_path / "hook.pids").read_text().split()

    (record,) = caplog.records
    assert "/hook took longer than 1 s, killed" in record.message
    deadline = time.monotonic() + SECONDS
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, pids))


def test_what_a_hook_leaves_running(script, tmp_path, caplog):
    """A hook that ends while its child keeps the pipe open is not late; the child is not killed.

    The child can still write to its error output, more than a pipe holds, and ends by itself.
    """
    go = tmp_path / "go"
    os.mkfifo(go)
    child = f"(read line < {go}; yes x | head -n 100000 >&2; echo $? > $0.child) &"
    HookQueue(os.environ["PATH"], limit_seconds=SECONDS).run([script(child)], "prepared", JOB)
    ended()

    assert caplog.records == []
    go.write_text("go on\n")
    deadline = time.monotonic() + SECONDS
    while not (tmp_path / "hook.child").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (tmp_path / "hook.child").read_text() == "0\n"


def test_a_hook_that_closes_its_error_output(hooks, script, tmp_path, caplog):
    """The hook still runs to its end."""
    hooks.run([script("exec 2>&-; sleep 0.1; touch $0.done; exit 3")], "prepared", JOB)
    ended()

    assert (tmp_path / "hook.done").exists()
    assert [record.message for record in caplog.records] == [f"hook {tmp_path}/hook ended with 3: "]


def test_no_signal_of_the_daemon_reaches_a_hook(hooks, script, tmp_path):
    """A hook has a session of its own, so Ctrl-C for the daemon does not reach it."""
    hooks.run([script("cut -d' ' -f6 /proc/$$/stat > $0.session")], "prepared", JOB)
    ended()

    assert int((tmp_path / "hook.session").read_text()) != os.getsid(0)


def test_a_flood_of_events(hooks, script, tmp_path):
    """However many events come at once, only a few hooks run at a time, and each runs once."""
    (tmp_path / "running").mkdir()
    command = script(
        "d=${0%/*}; touch $d/running/$$; ls $d/running | wc -l > $d/n-$$; sleep 0.02\n"
        "rm $d/running/$$; echo $DRIVEPREP_DEVICE_ID >> $d/all"
    )
    names = [f"HD{number}" for number in range(40)]
    for name in names:
        hooks.run([command], "rejected", replace(WAITING, device_id=name))
    ended()

    assert sorted((tmp_path / "all").read_text().split()) == sorted(names)
    counts = [int(path.read_text()) for path in tmp_path.glob("n-*")]
    assert 1 <= max(counts) <= HOOKS_AT_ONCE


def test_signals_are_as_at_first(hooks, script, tmp_path):
    """A hook does not inherit that our Python ignores SIGPIPE."""
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    hooks.run([script("grep SigIgn /proc/$$/status > $0.ignored")], "prepared", JOB)
    ended()

    ignored = int((tmp_path / "hook.ignored").read_text().split()[1], 16)
    assert not ignored & 1 << signal.SIGPIPE - 1
