"""The real daemon is killed at its system calls: still one job, and SIGNATURE on the drive.

strace attaches to the daemon when the manifest waits, and sends SIGKILL as some thread enters its
n-th call of a kind; then the drive is mounted. For each kind n goes up until the daemon gets
through alive. Without DRIVEPREP_ALL_KILLS=1 some kinds take larger steps.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import daemon_process
import pytest
from as_operator import is_filed, new_device_id, prepared_once, wait_until
from daemon_process import DaemonProcess

service, start = daemon_process.service, daemon_process.start

# For each kind of effect: its system calls on any machine, the step of n, and the number of kills
# that there must be at least.
KINDS = {
    "sync": ("fsync,fdatasync", 1, 10),
    "rename": ("?rename,renameat", 1, 2),
    "rename to a free name": ("renameat2", 1, 1),  # of SIGNATURE; ntfs-3g cannot do it, so then:
    "link": ("?link,linkat", 1, 1),
    "unlink": ("?unlink,unlinkat", 1, 3),
    "send": ("sendto,sendmsg", 1, 1),
    "receive": ("recvfrom,recvmsg", 1, 1),
    "folder": ("?mkdir,mkdirat", 1, 1),
    "write": ("write,pwrite64", 6, 3),
    "open": ("?open,openat", 30, 2),
}


@pytest.fixture(scope="module", autouse=True)
def _tracer() -> None:
    """Stop here if strace is not installed or may not trace."""
    works = shutil.which("strace") and _traces()
    if not works and os.environ.get("CI") == "true":
        pytest.fail("strace cannot trace here")
    if not works:
        pytest.skip("strace cannot trace here")


def _traces() -> bool:
    return subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode == 0


@pytest.mark.timeout(600)  # for all kills
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_call(plug, service, start, kind):
    """Wherever it dies between mount and papers, there is one job in the end."""
    calls, step, at_least = KINDS[kind]
    step = 1 if os.environ.get("DRIVEPREP_ALL_KILLS") == "1" else step
    daemon = start(validate_on_drop=False, timeout=1, is_notified=False)

    kills, number = 0, 1
    while killed_at(calls, number, plug, service, daemon):
        kills, number = kills + 1, number + step

    print(f"{kills} kills at {calls}, the last at call {number - step}")
    assert kills >= at_least


def killed_at(calls: str, number: int, plug, service, daemon: DaemonProcess) -> bool:
    """Prepare a new drive with a kill at that call, then without; return if it was killed."""
    drive = plug(new_device_id())
    daemon.drop(drive.label)
    told = re.compile(f"{drive.label}: .*(no mounted drive|present but not mounted)")
    daemon.until("the manifest waits", lambda: told.search(daemon.log))

    with killer(daemon, calls, number):
        drive.mount()
        daemon.until(
            "it is killed or gets through",
            lambda: not daemon.is_running or is_filed(daemon, drive.label),
        )
    is_killed = daemon.stop() == -signal.SIGKILL
    daemon.start(is_notified=False)  # notifications would be calls of sendto, too

    prepared_once(service, daemon, drive.mount_point, drive.label)
    nothing_is_left_over(daemon)
    drive.pull()
    return is_killed


@contextmanager
def killer(daemon: DaemonProcess, calls: str, number: int) -> Iterator[None]:
    """Kill the daemon when any of its threads, new ones included, makes its n-th such call."""
    inject = f"inject={calls}:signal=SIGKILL:when={number}"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]
    tracer = subprocess.Popen([*command, "-p", str(daemon.pid)])
    try:
        wait_until("strace has attached", lambda: _is_traced(daemon.pid))
        yield
    finally:
        tracer.kill()  # the kernel detaches what it traced; SIGTERM can wait for dying threads
        tracer.wait()


def _is_traced(pid: int) -> bool:
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return all("TracerPid:\t0\n" not in (one / "status").read_text() for one in threads)


def nothing_is_left_over(daemon: DaemonProcess) -> None:
    """Check that the spool contains no unfinished file or folder."""
    for folder in ("pending", "prepared", "rejected"):
        assert not [one for one in os.listdir(daemon.spool / folder) if one.startswith(".")]
