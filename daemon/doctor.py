"""`driveprep doctor`: whether this machine can do the work, and what to do where it cannot.

Only looks: no job is made and no file written. What this user may not see is said to be unseen,
never taken for good.
"""

from __future__ import annotations

import enum
import grp
import os
import pwd
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import config, journal, ledger, mounts
from daemon.drive import check_usable
from daemon.drives import Drives
from daemon.errors import (
    ClockRefusedError,
    ConfigError,
    CredentialsRefusedError,
    DriveError,
    JournalError,
    ServiceError,
)
from daemon.identity import BLKID_ENVIRONMENT, UDEV_CONTROL
from daemon.importexport import messages
from daemon.importexport.authentication import SignatureVersion2
from daemon.printable import printable, timestamp

if TYPE_CHECKING:
    from daemon.config import Config
    from daemon.drive import Drive
    from daemon.importexport.answer import Answer
    from daemon.mounts import Mount

ACCOUNT = "driveprep"  # the service's user, and the group of those who may drop manifests
MOUNT_ROOTS = (Path("/media"), Path("/run/media"), Path("/mnt"))
PROC = Path("/proc")
PROGRAMS = BLKID_ENVIRONMENT["PATH"]
KERNEL_DRIVERS = frozenset({"ntfs3", "ntfs"})
SERVICE_CREDENTIALS = Path("/run/credentials/driveprep.service")  # of LoadCredential=, for root
SYSTEMD = Path("/run/systemd/system")  # there where systemd is process 1, sd_booted(3)
SKEW_SECONDS = 300  # the service refuses signatures from 15 minutes on; clocks drift further
SYSTEMCTL_SECONDS = 5.0


class Verdict(enum.Enum):
    """What came of a look."""

    OK = "ok"
    PROBLEM = "problem"
    UNSEEN = "unseen"  # this user may not look, or there is nothing to look at


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the screen."""

    verdict: Verdict
    subject: str
    fact: str
    remedy: str = ""


def examine(path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Every finding, each as soon as it is known; the slow ones, which ask the service, last."""
    yield from _drivers()
    yield from _identities()
    yield from _unit()
    yield from _group()
    settings, findings = _settings(path, environment)
    yield from findings
    if settings:
        yield from _spool(settings)
    daemon = _daemon(settings) if settings else None
    yield from _mount_roots(daemon)
    yield from _drives(daemon)
    if settings:
        yield from _service(settings)
    else:
        yield Finding(Verdict.UNSEEN, "service", "not asked: there is no usable configuration")


def _ok(subject: str, fact: str) -> Finding:
    return Finding(Verdict.OK, subject, fact)


def _problem(subject: str, fact: str, remedy: str) -> Finding:
    return Finding(Verdict.PROBLEM, subject, fact, remedy)


def _unseen(subject: str, fact: str) -> Finding:
    return Finding(Verdict.UNSEEN, subject, fact, "Ask again as root: sudo driveprep doctor")


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


# The machine


def _drivers() -> Iterator[Finding]:
    known = (PROC / "filesystems").read_text("ascii").split()
    found = [f"kernel {name}" for name in sorted(KERNEL_DRIVERS.intersection(known))]
    if shutil.which("mount.ntfs-3g", path=PROGRAMS):
        found.insert(0, "ntfs-3g")
    if found:
        yield _ok("NTFS", ", ".join(found))
    else:
        fact = "neither ntfs-3g nor a loaded driver of the kernel"
        yield _problem("NTFS", fact, "apt-get install ntfs-3g, or: modprobe ntfs3")


def _identities() -> Iterator[Finding]:
    blkid = shutil.which("blkid", path=PROGRAMS)
    if UDEV_CONTROL.exists():
        yield _ok("udev", "runs" + (", and blkid is there" if blkid else ""))
    elif SYSTEMD.exists():
        fact = "does not run; the service's sandbox has no device nodes, so blkid sees nothing"
        yield _problem("udev", fact, "apt-get install udev; systemctl start systemd-udevd")
    elif blkid:
        yield _ok("udev", "does not run; blkid knows labels and UUIDs, but no serials")
    else:
        fact = "does not run, and there is no blkid: no drive can be recognised"
        yield _problem("udev", fact, "apt-get install util-linux")


def _unit() -> Iterator[Finding]:
    if not SYSTEMD.exists():
        yield Finding(Verdict.UNSEEN, "unit", "systemd does not run here")
        return
    enabled, active = (_systemctl(question) for question in ("is-enabled", "is-active"))
    fact = f"{enabled}, {active}"
    if not enabled:
        yield _unseen("unit", f"systemd does not answer {_me()}")
    elif enabled != "enabled":
        yield _problem("unit", fact, "systemctl enable --now driveprep")
    elif active != "active":
        yield _problem("unit", fact, "systemctl restart driveprep; why: journalctl -u driveprep")
    else:
        yield _ok("unit", fact)


def _systemctl(question: str) -> str:
    try:
        command = ["systemctl", question, "driveprep.service"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SYSTEMCTL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not known ({error})"
    # Without a word on standard output: no such unit, or no way to systemd for this user.
    return "not installed" if "unit file" in done.stderr else done.stdout.strip()


def _group() -> Iterator[Finding]:
    me = _me()
    try:
        group = grp.getgrnam(ACCOUNT)
    except KeyError:
        yield _problem("group", f"there is no group {ACCOUNT}", "sudo scripts/install makes it")
        return
    if os.geteuid() == 0 or group.gr_gid in {os.getegid(), *os.getgroups()}:
        yield _ok("group", f"{me} may drop manifests")
    elif me in group.gr_mem:
        fact = f"{me} was added to {ACCOUNT}, but this login is older"
        yield _problem("group", fact, "Log out and in again.")
    else:
        fact = f"{me} is not in the group {ACCOUNT}, and may not drop manifests"
        yield _problem("group", fact, f"sudo usermod -aG {ACCOUNT} {me}, then log in again")


# What driveprep was told, and what it keeps


def _settings(
    path: Path, environment: Mapping[str, str]
) -> tuple[Config | None, tuple[Finding, ...]]:
    is_readable = os.access(SERVICE_CREDENTIALS, os.R_OK | os.X_OK, effective_ids=True)
    if "CREDENTIALS_DIRECTORY" not in environment and is_readable:
        environment = {**environment, "CREDENTIALS_DIRECTORY": str(SERVICE_CREDENTIALS)}
    is_sealed = SERVICE_CREDENTIALS.exists() and not is_readable
    try:
        settings = config.load(path, environment)
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            return None, (_unseen("config", str(error)),)
        if is_sealed and {fault.key for fault in error.faults} == {"credentials"}:
            return None, (_unseen("config", "good but for the credentials, which systemd keeps"),)
        faults = [str(fault) for fault in error.faults] or [f"{error}; {error.hint}"]
        remedy = "Correct the file; the service takes it at once."
        return None, tuple(_problem("config", fault, remedy) for fault in faults)
    return settings, (_ok("config", str(path)),)


def _spool(settings: Config) -> Iterator[Finding]:
    spool, pending = settings.spool, settings.spool / "pending"
    if not os.access(spool, os.X_OK, effective_ids=True):
        if spool.exists():
            yield _unseen("spool", f"{_me()} may not look into {spool}")
        else:
            start = "systemctl start driveprep makes it"
            yield _problem("spool", f"there is no folder {spool}", start)
        return
    if not pending.is_dir():
        yield _problem("spool", f"there is no folder {pending}", "systemctl restart driveprep")
    elif not os.access(pending, os.W_OK | os.X_OK, effective_ids=True):
        remedy = f"sudo usermod -aG {ACCOUNT} {_me()}, then log in again"
        yield _problem("spool", f"{_me()} may not drop manifests into {pending}", remedy)
    else:
        yield _ok("spool", f"{pending}; {shutil.disk_usage(spool).free >> 20} MiB are free")
    yield _journal(spool / journal.NAME)


def _journal(path: Path) -> Finding:
    if not path.exists():
        return _ok("journal", "none yet: no manifest was ever dropped")
    if not os.access(path, os.R_OK, effective_ids=True):
        return _unseen("journal", f"{_me()} may not read {path}")
    # SQLite would make a log where there is none, as our user's; without a log nobody writes.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    address = f"{path.as_uri()}?{how}"
    try:
        with ledger.translated(path), closing(sqlite3.connect(address, uri=True)) as database:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except JournalError as error:
        return _problem("journal", str(error), error.hint)
    if verdict != "ok":
        remedy = f"Stop the service, and restore {path} from a backup."
        return _problem("journal", f"{path} is damaged: {verdict}", remedy)
    return _ok("journal", f"{path} is sound")


# Mounts, as this process sees them and as the service does


def _daemon(settings: Config) -> tuple[Mount, ...] | None:
    """The service's own mount table, if it runs and this user may see it."""
    try:
        told = journal.told(settings.spool) or {}
        return mounts.parse((PROC / str(told.get("pid")) / "mountinfo").read_bytes())
    except (OSError, JournalError, DriveError):
        return None


def _mount_roots(service: tuple[Mount, ...] | None) -> Iterator[Finding]:
    table = mounts.read() if service is None else service
    whose = "here" if service is None else "in the service's sandbox"
    for root in MOUNT_ROOTS:
        if not root.is_dir():
            continue
        if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
            yield _unseen("mounts", f"{_me()} may not look into {root}")
        elif (mount := _covering(root, table)) is None:
            yield _unseen("mounts", f"no mount that is seen from here holds {root} (a chroot?)")
        elif mount.is_read_only:
            yield _problem("mounts", f"{root} is read-only {whose}", _drop_in(root))
        else:
            yield _ok("mounts", f"{root} is writable {whose}")


def _covering(folder: Path, table: Sequence[Mount]) -> Mount | None:
    above = (mount for mount in table if folder.is_relative_to(mount.mount_point))
    return max(above, key=lambda mount: len(mount.mount_point), default=None)


def _drives(service: tuple[Mount, ...] | None) -> Iterator[Finding]:
    found = [one for one in Drives().mounted() if one.identity.file_system == "ntfs"]
    for drive in found:
        yield _drive(drive, service)
    if not found:
        yield _ok("drives", "no NTFS drive is mounted now")


def _drive(drive: Drive, service: tuple[Mount, ...] | None) -> Finding:
    try:
        check_usable(drive, "NTFS")
    except DriveError as error:
        return _problem("drives", str(error), error.hint)
    name = drive.describe()
    if service is None:
        return _ok("drives", f"{name} is writable here; the service's view is not seen")
    theirs = [mount for mount in service if mount.device_number == drive.device_number]
    if not theirs:
        remedy = "See that its unit has no PrivateMounts=, then: systemctl restart driveprep"
        return _problem("drives", f"{name} is not in the service's sandbox", remedy)
    if all(mount.is_read_only for mount in theirs):
        fact = f"{name} is read-only in the service's sandbox alone"
        return _problem("drives", fact, _drop_in(Path(drive.mount_point).parent))
    return _ok("drives", f"{name} is writable, for the service too")


def _drop_in(folder: Path) -> str:
    place = printable(str(folder))
    return f"systemctl edit driveprep, [Service], ReadWritePaths=-{place}, then restart it"


# The service at the other end


def _service(settings: Config) -> Iterator[Finding]:
    is_tls = settings.endpoint.startswith("https:")
    try:
        answer = _ask(settings)
    except ServiceError as error:
        yield _problem("service", f"{settings.endpoint}: {error}", error.hint)
        return
    how = "its certificate is good" if is_tls else "without TLS, on this machine"
    yield _ok("service", f"{settings.endpoint} answers; {how}")
    yield _clock(answer)
    who = printable(settings.credentials.access_key_id)
    try:
        messages.job_page(answer)
        yield _ok("credentials", f"{who} may list its jobs")
    except CredentialsRefusedError as error:
        yield _problem("credentials", f"{who}: {error}", error.hint)
    except ClockRefusedError as error:
        yield _problem("credentials", f"not looked at: {error}", error.hint)
    except ServiceError as error:
        yield _problem("service", str(error), error.hint)


def _ask(settings: Config) -> Answer:
    """One page of ListJobs, not read yet."""
    # `requests` is heavy, and the other findings need not wait for it.
    from daemon.importexport.transport import Transport  # noqa: PLC0415

    transport = Transport(settings.endpoint, settings.timeout)
    try:
        question = {"Action": "ListJobs", "Version": "2010-06-01", "MaxJobs": "1"}
        return transport.post(question, SignatureVersion2(settings.credentials, time.time))
    finally:
        transport.close()


def _clock(answer: Answer) -> Finding:
    if answer.date is None:
        return Finding(Verdict.UNSEEN, "clock", "the service does not tell its time")
    skew = time.time() - answer.date
    fact = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's"
    if abs(skew) > SKEW_SECONDS:
        remedy = f"Set it (the service says {timestamp(answer.date)}): timedatectl set-ntp true"
        return _problem("clock", fact, remedy)
    return _ok("clock", fact)
