"""screen: a report for eyes, on a terminal of any width and in a pipe."""

import io
import os
import pty
import subprocess
import sys

from rich.console import Console

from daemon.cli import tables

JOB = {
    "deviceId": "HD001",
    "state": "Pending",
    "jobId": None,
    "manifest": "HD001.yml",
    "since": "2026-11-25T15:00:00Z",
    "obstacle": "no mounted drive matches HD001",
    "hint": "Mount it.",
    "retryAt": None,
    "closed": False,
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
    "trouble": None,
}
REPORT = {
    "daemon": {"running": True, "pid": 7, "folder": "watched", "lastScan": "now"},
    "jobs": [
        JOB,
        {**JOB, "deviceId": "HD2", "jobId": "K7M3X", "state": "Signed", "obstacle": None},
    ],
    "drives": [DRIVE],
}


def test_a_row_is_a_line_in_a_pipe():
    """Whatever its length, so that grep finds a whole row; columns stand below each other."""
    told = list(tables.lines(REPORT))

    first, second = (line for line in told if line.startswith("HD"))
    heading = next(line for line in told if line.startswith("deviceId"))
    assert "no mounted drive matches HD001. Mount it." in first
    assert "safe to remove" in second
    assert first.index("waiting") == second.index("prepared") == heading.index("state")


def test_what_strangers_wrote_is_escaped():
    """No terminal obeys a label, and rich reads no markup in it."""
    shown = io.StringIO()
    Console(file=shown, width=200, force_terminal=True, color_system=None).print(
        tables.tables(REPORT)
    )

    for told in (shown.getvalue(), "\n".join(tables.lines(REPORT))):
        assert "\x1b[2J" not in told
        assert r"/media/\x1b[2Jolga/[bold]Nobody" in told


def test_nothing_is_cut_off_on_a_narrow_terminal():
    """Cells are folded, never shortened."""
    shown = io.StringIO()
    Console(file=shown, width=60).print(tables.tables(REPORT))

    squeezed = shown.getvalue().replace(" ", "").replace("\n", "")
    assert "…" not in squeezed
    for word in ("HD001", "K7M3X", "waiting", "prepared", "5E3A", "process7"):
        assert word in squeezed


def test_a_terminal_gets_tables(tmp_path):
    """The command itself sees where it writes."""
    config = tmp_path / "config.yml"
    config.write_text(f"spool: {tmp_path / 'spool'}\n")
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", 0) as terminal, os.fdopen(slave, "wb") as its_end:
        command = [sys.executable, "-m", "daemon", "status", "--config", str(config)]
        subprocess.run(command, stdout=its_end, check=True, env=os.environ | {"TERM": "xterm"})
        piped = subprocess.run(command, capture_output=True, check=True).stdout

        told = terminal.read(1 << 16)

    assert b"NOT RUNNING" in told
    assert b"NOT RUNNING" in piped
    assert b"\x1b[1m" in told  # headings are bold
    assert b"\x1b" not in piped


def test_what_the_daemon_cannot_read_is_in_the_first_line():
    """No job exists for such a file, so no row can say it."""
    daemon = REPORT["daemon"] | {"unreadable": "a.yml and 2 more"}

    assert "CANNOT READ a.yml and 2 more" in next(tables.lines(REPORT | {"daemon": daemon}))
