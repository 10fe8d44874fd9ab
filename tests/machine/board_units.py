"""The board on a fresh workstation: its socket, its user and its sandbox, started by systemd."""

from __future__ import annotations

import json
import re

import pytest
from day import (
    CONFIG,
    EMULATOR,
    INSTALL,
    INSTALL_SECONDS,
    KEEP_SECRET,
    SECRET,
    SETTINGS,
    plug,
    prepared,
    shown,
    submit,
)
from image import OPERATOR
from machine import Machine, wait_for

pytestmark = pytest.mark.timeout(3600)
MAX_EXPOSURE = 1.0
BOARD = "http://127.0.0.1:8480"
ASK = (
    "import sys, urllib.request as web;"
    'head = {"Authorization": "Bearer " + sys.argv[2]};'
    "print(web.urlopen(web.Request(sys.argv[1], headers=head)).read().decode())"
)


def asked(machine: Machine, token: str, path: str) -> str:
    """What the board answers to who has this token."""
    return machine.sh(f"python3 -c '{ASK}' {BOARD}{path} '{token}'")


def test_the_board_is_started_by_its_socket(machine: Machine) -> None:
    """It runs when it is asked, as its own user, and is rated as the documents say."""
    machine.sh(f"{INSTALL} --board", seconds=INSTALL_SECONDS)
    machine.write("/etc/systemd/system/emulator.service", EMULATOR)
    machine.sh("systemctl daemon-reload; systemctl enable --now emulator")
    machine.sh(f"echo {SECRET} | {KEEP_SECRET}")
    machine.write(CONFIG, SETTINGS)
    machine.sh(f"usermod -aG driveprep {OPERATOR}")
    wait_for("the daemon works", lambda: "0 jobs" in shown(machine, "StatusText"))
    assert machine.sh_code("systemctl is-active driveprep-board.service")[0] != 0

    link = machine.sh("driveprep board --link", OPERATOR)

    assert re.search(rf"{BOARD}/\S*#\S+", link), link
    assert "driveprep" in asked(machine, "", "/")
    assert machine.sh("systemctl show --value -p User driveprep-board") == "driveprep-board"
    told = machine.sh("systemd-analyze security --no-pager driveprep-board")
    print(told.splitlines()[-1])
    exposure = re.search(r"Overall exposure level for driveprep-board.service: ([0-9.]+)", told)
    assert exposure
    assert float(exposure[1]) <= MAX_EXPOSURE


def test_it_shows_what_the_daemon_does(machine: Machine) -> None:
    """From a drop to a prepared drive; it has no word of a manifest and no way to a drive."""
    token = machine.sh("driveprep board --link --scrape", OPERATOR).split("#")[-1].strip()
    submit(machine, "HD001")
    node = plug(machine, "HD001")
    machine.at_the_screen(f"udisksctl mount -b {node}")
    job_id = prepared(machine, "HD001")

    status = json.loads(asked(machine, token, "/api/status"))
    assert [job["jobId"] for job in status["jobs"]] == [job_id]
    assert status["daemon"]["running"] is True
    assert 'driveprep_jobs{state="signed"} 1.0' in asked(machine, token, "/metrics")
    process = machine.sh("systemctl show --value -p MainPID driveprep-board")
    root = machine.sh(f"findmnt -no TARGET {node}")
    write = f"nsenter -t {process} -m -S $(id -u driveprep-board) touch {root}/x"
    assert machine.sh_code(write)[0] != 0
    assert machine.sh(f"ls -A {root}") == "SIGNATURE"


def test_it_survives_restarts_of_the_daemon_and_of_itself(machine: Machine) -> None:
    """The journal is made anew by SQLite each time, and is still readable for it."""
    token = machine.sh("driveprep board --link --scrape", OPERATOR).split("#")[-1].strip()
    machine.sh("systemctl restart driveprep; systemctl restart driveprep-board")
    wait_for("the daemon works", lambda: "0 jobs" in shown(machine, "StatusText"))

    status = json.loads(asked(machine, token, "/api/status"))

    assert status["daemon"]["running"] is True
    assert [job["deviceId"] for job in status["jobs"]] == ["HD001"]
    assert "driveprep-board" not in machine.sh("systemctl --failed --no-legend")
