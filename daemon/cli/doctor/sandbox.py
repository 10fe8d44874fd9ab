"""Mounts and drives, as this process sees them and as the service does in its sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.cli.doctor.finding import Finding, ok, problem, unseen, whoami
from daemon.drives import holders, mounts
from daemon.drives.checks import check_usable
from daemon.drives.inventory import Drives, capacity
from daemon.errors import DriveError, JournalError
from daemon.jobs import reader
from daemon.system.printable import printable

if TYPE_CHECKING:
    from daemon.config.loading import Config
    from daemon.drives.drive import Drive
    from daemon.drives.mounts import Mount

MOUNT_ROOTS = (Path("/media"), Path("/run/media"), Path("/mnt"))
PROC = Path("/proc")


def table(settings: Config) -> tuple[Mount, ...] | None:
    """The service's own mount table, if it runs and this user may see it."""
    try:
        info = reader.daemon_info(settings.spool) or {}
        return mounts.parse((PROC / str(info.get("pid")) / "mountinfo").read_bytes())
    except (OSError, JournalError, DriveError):
        return None


def environment(settings: Config) -> Mapping[str, str] | None:
    """The service's own environment, if it runs and this user may see it."""
    try:
        info = reader.daemon_info(settings.spool) or {}
        text = os.fsdecode((PROC / str(info.get("pid")) / "environ").read_bytes())
    except (OSError, JournalError):
        return None
    return dict(one.partition("=")[::2] for one in text.split("\0") if "=" in one)


def mount_roots(service: tuple[Mount, ...] | None) -> Iterator[Finding]:
    """Whether the folders where drives are mounted can be written to."""
    table = mounts.read() if service is None else service
    whose = "here" if service is None else "in the service's sandbox"
    for root in MOUNT_ROOTS:
        if not root.is_dir():
            continue
        if not os.access(root, os.R_OK | os.X_OK, effective_ids=True):
            yield unseen("mounts", f"{whoami()} may not look into {root}")
        elif (mount := _covering(root, table)) is None:
            yield unseen("mounts", f"no mount that is seen from here holds {root} (a chroot?)")
        elif mount.is_read_only:
            yield problem("mounts", f"{root} is read-only {whose}", _drop_in(root))
        else:
            yield ok("mounts", f"{root} is writable {whose}")


def _covering(folder: Path, table: Sequence[Mount]) -> Mount | None:
    above = (mount for mount in table if folder.is_relative_to(mount.mount_point))
    return max(above, key=lambda mount: len(mount.mount_point), default=None)


def drives(service: tuple[Mount, ...] | None) -> Iterator[Finding]:
    """Whether the NTFS drives that are mounted now can be used."""
    found = [one for one in Drives().mounted() if one.identity.file_system == "ntfs"]
    held = holders.find([drive.mount_point for drive in found])
    for drive in found:
        finding, users = _drive(drive, service), held.get(drive.mount_point)
        fact = f"{finding.fact}; {holders.describe(users)}" if users else finding.fact
        yield replace(finding, fact=fact)
    if not found:
        yield ok("drives", "no NTFS drive is mounted now")


def _drive(drive: Drive, service: tuple[Mount, ...] | None) -> Finding:
    try:
        check_usable(drive, "NTFS")
        capacity(drive)
    except DriveError as error:
        return problem("drives", str(error), error.hint)
    name = drive.describe()
    if service is None:
        return ok("drives", f"{name} is writable here; the service's view is not seen")
    theirs = [mount for mount in service if mount.device_number == drive.device_number]
    if not theirs:
        remedy = "See that its unit has no PrivateMounts=, then: systemctl restart driveprep"
        return problem("drives", f"{name} is not in the service's sandbox", remedy)
    if all(mount.is_read_only for mount in theirs):
        fact = f"{name} is read-only in the service's sandbox alone"
        return problem("drives", fact, _drop_in(Path(drive.mount_point).parent))
    return ok("drives", f"{name} is writable, for the service too")


def _drop_in(folder: Path) -> str:
    place = printable(str(folder))
    return f"systemctl edit driveprep, [Service], ReadWritePaths=-{place}, then restart it"
