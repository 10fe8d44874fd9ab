"""The tests and the rest of the machine do not see each other's drives, and no drive is left over.

A child process plays the part of another run of the tests on the same machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from as_operator import new_device_id
from loop_drives import is_mounted, loops_of, wait_until

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(TESTS / "support"), str(TESTS.parent)]),
}

SECOND_RUN = """
import subprocess, sys
import private_mounts
from daemon.drives.inventory import Drives

assert private_mounts.enter() == ""
drives = Drives()
device, place = sys.argv[1:]
print(*(drive.device_node for drive in drives.mounted()), end=" ")
print(*(drive.device.node for drive in drives.present()))
subprocess.run(["mount", "-t", "ntfs-3g", device, place], check=True)
(drive,) = [drive for drive in drives.mounted() if drive.device_node == device]
print(drive.mount_point, flush=True)
sys.stdin.read()
subprocess.run(["umount", place], check=True)
"""

KILLED = """
import os, signal

def test_killed(plug):
    plug("{label}").mount()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_two_runs_see_only_their_own_drives(plug, tmp_path):
    """Neither sees what the other has mounted, nor the devices that it has attached."""
    mounted, attached = plug(new_device_id()).mount(), plug(new_device_id())
    attached.mount_point.mkdir()
    command = [sys.executable, "-c", SECOND_RUN, attached.device, attached.mount_point]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True) as other:
        seen = other.stdout.readline().split()
        is_there = other.stdout.readline().rstrip("\n") == str(attached.mount_point)
        is_here = is_mounted(attached.mount_point)
        other.communicate()

    assert other.returncode == 0
    assert {mounted.device, attached.device}.isdisjoint(seen)
    assert (is_there, is_here) == (True, False)


def test_killed_tests_leave_no_drive(tmp_path, real_drives_work):
    """What the fixtures can no longer do is done by a process that survives the tests."""
    (tmp_path / "test_killed.py").write_text(KILLED.format(label=new_device_id()))
    options = ["-p", "loop_drives", "-p", "no:cacheprovider", "--basetemp", tmp_path / "killed"]
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, *options, tmp_path]

    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False)

    assert done.returncode == -signal.SIGKILL, done.stdout
    (image,) = (tmp_path / "killed").rglob("*.img")
    wait_until("the drive is unmounted", lambda: not is_mounted(image.parent / "media" / "0"))
    wait_until("the image is detached", lambda: not loops_of(image))
