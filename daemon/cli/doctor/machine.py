"""What the machine brings: drivers, udev, systemd's unit, the group of operators."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterator
from pathlib import Path

from daemon.cli.doctor.finding import ACCOUNT, Finding, Verdict, ok, problem, unseen, whoami
from daemon.drives.probes import UDEV_CONTROL
from daemon.system import programs

PROC = Path("/proc")
KERNEL_DRIVERS = frozenset({"ntfs3", "ntfs"})
SYSTEMD = Path("/run/systemd/system")  # there where systemd is process 1, sd_booted(3)
SYSTEMCTL_SECONDS = 5.0


def drivers() -> Iterator[Finding]:
    """Whether anything here can mount NTFS."""
    known = (PROC / "filesystems").read_text("ascii").split()
    found = [f"kernel {name}" for name in sorted(KERNEL_DRIVERS.intersection(known))]
    if programs.find("mount.ntfs-3g", programs.SYSTEM):
        found.insert(0, "ntfs-3g")
    if found:
        yield ok("NTFS", ", ".join(found))
    else:
        fact = "neither ntfs-3g nor a loaded driver of the kernel"
        yield problem("NTFS", fact, "apt-get install ntfs-3g, or: modprobe ntfs3")


def identities() -> Iterator[Finding]:
    """Check whether anything on this machine can identify a drive."""
    blkid = programs.find("blkid", programs.SYSTEM)
    if UDEV_CONTROL.exists():
        yield ok("udev", "runs" + (", and blkid is there" if blkid else ""))
    elif SYSTEMD.exists():
        fact = "does not run; the service's sandbox has no device nodes, so blkid sees nothing"
        yield problem("udev", fact, "apt-get install udev; systemctl start systemd-udevd")
    elif blkid:
        yield ok("udev", "does not run; blkid knows labels and UUIDs, but no serials")
    else:
        fact = "does not run, and there is no blkid: no drive can be recognised"
        yield problem("udev", fact, "apt-get install util-linux")


def unit() -> Iterator[Finding]:
    """Whether systemd starts the service, and has."""
    if not SYSTEMD.exists():
        yield Finding(Verdict.UNSEEN, "unit", "systemd does not run here")
        return
    enabled, active = (_systemctl(question) for question in ("is-enabled", "is-active"))
    fact = f"{enabled}, {active}"
    if not enabled:
        yield unseen("unit", f"systemd does not answer {whoami()}")
    elif enabled != "enabled":
        yield problem("unit", fact, "systemctl enable --now driveprep")
    elif active != "active":
        yield problem("unit", fact, "systemctl restart driveprep; why: journalctl -u driveprep")
    else:
        yield ok("unit", fact)


def _systemctl(question: str) -> str:
    command = ["systemctl", question, "driveprep.service"]
    environment = programs.environment(os.environ.get("PATH"))
    try:
        done = programs.run(command, environment, SYSTEMCTL_SECONDS)
    except OSError as error:
        return f"unknown ({error})"
    # Nothing on standard output: no such unit, or this user has no access to systemd.
    return "not installed" if b"unit file" in done.errors else os.fsdecode(done.output).strip()


def group() -> Iterator[Finding]:
    """Whether this user may drop manifests."""
    me = whoami()
    try:
        group = grp.getgrnam(ACCOUNT)
    except KeyError:
        yield problem("group", f"there is no group {ACCOUNT}", "sudo scripts/install creates it")
        return
    if os.geteuid() == 0 or group.gr_gid in {os.getegid(), *os.getgroups()}:
        yield ok("group", f"{me} may drop manifests")
    elif me in group.gr_mem:
        fact = f"{me} was added to {ACCOUNT}, but this login is older"
        yield problem("group", fact, "Log out and in again.")
    else:
        fact = f"{me} is not in the group {ACCOUNT}, and may not drop manifests"
        yield problem("group", fact, f"sudo usermod -aG {ACCOUNT} {me}, then log in again")
