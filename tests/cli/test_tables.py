"""screen: a report for eyes, on a terminal of any width and in a pipe."""

import io
import os
import pty
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from daemon.cli.output import moments, tables

JOB = {
    "deviceId": "HD001",
    "state": "Pending",
    "jobId": None,
    "manifest": "HD001.yml",
    "since": "2026-11-25T15:00:00Z",
    "obstacle": "no mounted drive matches HD001",
    "code": "drive-absent",
    "hint": "Mount it.",
    "retryAt": None,
    "closed": False,
    "warnings": [],
    "drive": {},
    "progress": None,
    "late": False,
    "unshipped": False,
    "expiresAt": "2026-12-25T15:00:00Z",
}
DRIVE = {
    "deviceNode": "/dev/sdb1",
    "mountPoint": "/media/\x1b[2Jolga/[bold]Nobody",
    "fileSystem": "ntfs",
    "label": "Nobody",
    "serial": None,
    "uuid": "5E3A1B2C3D4E5F60",
    "deviceIds": [],
    "outsideBays": False,
    "path": None,
    "trouble": None,
}
REPORT = {
    "daemon": {"running": True, "pid": 7, "folder": "watched", "lastScan": "2026-11-25T15:02:20Z"},
    "jobs": [
        JOB,
        {**JOB, "deviceId": "HD2", "jobId": "K7M3X", "state": "Signed", "obstacle": None},
    ],
    "station": "bench-1",
    "stations": None,
    "today": {"jobs": 7, "limit": 50, "endsAt": "2026-11-26T00:00:00Z"},
    "ignored": [{"name": "old~", "reason": "it is an editor's copy"}],
    "drives": [DRIVE],
}
NOW = datetime(2026, 11, 25, 15, 2, 30, tzinfo=UTC).timestamp()


def shown(report, width):
    """Return the lines that a terminal of that width shows."""
    screen = io.StringIO()
    Console(file=screen, width=width, force_terminal=True, color_system=None).print(
        tables.tables(report, NOW)
    )
    return screen.getvalue().splitlines()


def test_a_row_is_a_line_in_a_pipe():
    """Whatever its length, so that grep finds a whole row, and cut its fields."""
    first, second = (line.split("\t") for line in tables.lines(REPORT))

    assert first[:6] == ["-", "HD001", "-", "waiting", "2026-11-25T15:00:00Z", "drive-absent"]
    assert first[6] == "no mounted drive matches HD001. Mount it."
    assert second[1:4] == ["HD2", "K7M3X", "prepared"]
    assert "safe to remove" in second[6]


def test_a_field_in_a_pipe_has_no_tab():
    """A name with a tab or a line end is escaped, so that the fields stay where they are."""
    row = {**JOB, "deviceId": "HD\t1\n2"}

    (line,) = tables.lines({**REPORT, "jobs": [row]})

    assert line.split("\t")[1] == r"HD\t1\n2"


def test_the_drives_in_a_pipe():
    """A row for each drive, mounted or not."""
    present = {**DRIVE, "deviceNode": "/dev/sdc1", "verdict": "not mounted"}
    del present["mountPoint"]
    report = {"drives": [{**DRIVE, "verdict": "no use"}], "present": [present]}

    first, second = (line.split("\t") for line in tables.lines(report))

    assert first[1:3] == ["/dev/sdb1", r"/media/\x1b[2Jolga/[bold]Nobody"]
    assert second[1:3] == ["/dev/sdc1", "-"]
    assert (first[-1], second[-1]) == ("no use", "not mounted")


def test_what_strangers_wrote_is_escaped():
    """No terminal obeys a label, and rich reads no markup in it."""
    told = "\n".join(shown(REPORT, 200))

    assert "\x1b[2J" not in told
    assert r"/media/\x1b[2Jolga/[bold]Nobody" in told


def test_nothing_is_cut_off_on_a_narrow_terminal():
    """Cells are folded, never shortened, and no line is wider than the terminal."""
    lines = shown(REPORT, 60)

    assert max(map(len, lines)) <= 60
    squeezed = "".join(lines).replace(" ", "")
    assert "…" not in squeezed
    for word in ("HD001", "K7M3X", "waiting", "prepared", "/dev/sdb1"):
        assert word in squeezed


def test_a_job_without_trouble_is_one_line_of_80_characters():
    """A drive that is waited for, and one that is prepared; what is wrong has all the room."""
    waiting, prepared = (line for line in shown(REPORT, 80) if line.startswith("HD"))

    assert "plug in and mount its drive" in waiting
    assert "2 min ago" in waiting
    assert "safe to remove; must arrive before 25 Dec" in prepared

    wrong = {**JOB, "code": "read-only", "obstacle": "/dev/sdb1 is read-only"}
    told = " ".join(" ".join(shown({**REPORT, "jobs": [wrong]}, 80)).split())
    assert "/dev/sdb1 is read-only." in told
    assert "Mount it." in told


def test_the_header_says_whether_the_service_can_be_reached():
    """Reachable, away with the reason, or not asked since the daemon started."""
    daemon = REPORT["daemon"]
    for service, word in ((None, "not asked yet"), ("", "reachable"), ("it is down", "AWAY")):
        found = daemon if service is None else daemon | {"service": service}
        lines = shown(REPORT | {"daemon": found}, 200)
        assert f"service: {word};" in lines[0]
        assert ("SERVICE: it is down" in lines) == bool(service)


def test_bays_come_first():
    """Where a port has a name; the drive outside of the named ones says so."""
    job, row = {**JOB, "bay": "bay 3"}, {**DRIVE, "bay": "bay 3", "outsideBays": True}

    lines = shown({**REPORT, "jobs": [job], "drives": [row]}, 200)

    assert [line[:6].strip() for line in lines if line.startswith("bay")] == ["bay", "bay 3"] * 2
    assert "Nobody (not in a named bay)" in lines[-1]


def test_what_is_ignored_in_pending_is_said():
    """With the reason; in a pipe on standard error, beside the rows."""
    said = "IGNORED in pending/: old~ (it is an editor's copy)"

    assert said in shown(REPORT, 80)
    assert said in tables.problems(REPORT)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (44, ""),
        (45, "5 of today's 50 jobs are left, until 00:00 UTC"),
        (49, "1 of today's 50 jobs is left, until 00:00 UTC"),
        (50, "all 50 jobs of today are made; the service makes more from 00:00 UTC"),
        (51, "all 50 jobs of today are made; the service makes more from 00:00 UTC"),
    ],
)
def test_the_daily_limit_is_said_when_few_are_left(made, said):
    """From five on; before that it would only be in the way."""
    report = {**REPORT, "today": {**REPORT["today"], "jobs": made}}

    found = [line for line in tables.problems(report) if line.startswith("DAILY LIMIT: ")]

    assert found == ([f"DAILY LIMIT: {said}"] if said else [])


def test_a_terminal_gets_tables(tmp_path):
    """The command itself sees where it writes."""
    config = tmp_path / "config.yml"
    config.write_text(f"spool: {tmp_path / 'spool'}\n")
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", 0) as terminal, os.fdopen(slave, "wb") as its_end:
        command = [sys.executable, "-m", "daemon", "status", "--config", str(config)]
        subprocess.run(command, stdout=its_end, check=True, env=os.environ | {"TERM": "xterm"})
        piped = subprocess.run(command, capture_output=True, check=True)

        told = terminal.read(1 << 16)

    assert b"NOT RUNNING" in told
    assert b"NOT RUNNING" in piped.stderr
    assert piped.stdout == b""
    assert b"\x1b" not in piped.stderr


def test_what_the_daemon_cannot_read_is_said():
    """No job exists for such a file, so no row can say it."""
    daemon = REPORT["daemon"] | {"unreadable": "a.yml and 2 more"}

    assert "CANNOT READ a.yml and 2 more" in "\n".join(tables.problems(REPORT | {"daemon": daemon}))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s ago"), (59, "59 s ago"), (61, "1 min ago"), (3600, "1 h ago"), (86399, "23 h ago")],
)
def test_how_long_ago(seconds, said):
    """The largest whole unit."""
    assert moments.ago("2026-11-25T15:00:00Z", seconds + NOW - 150) == said


def test_another_day_is_a_local_date(monkeypatch):
    """After a day, and for a clock that is ahead of ours; in the time zone of the machine."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert moments.ago("2026-11-25T15:00:00Z", NOW + 86400) == "26 Nov 00:00"
        assert moments.ago("2026-11-25T15:02:40Z", NOW) == "26 Nov 00:02"
        assert moments.day("2026-11-25T15:02:40Z") == "26 Nov"
        assert moments.clock_time("2026-11-25T15:02:40Z") == "00:02:40"
    finally:
        monkeypatch.undo()
        time.tzset()
