"""What driveprep reads and keeps: configuration, spool, journal."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.cli.doctor.finding import ACCOUNT, Finding, ok, problem, unseen, whoami
from daemon.config import loading
from daemon.errors import ConfigError, JournalError
from daemon.jobs import backup, reader
from daemon.jobs.schema import NAME

if TYPE_CHECKING:
    from daemon.config.loading import Config

DAY_SECONDS = 24 * 3600
SERVICE_CREDENTIALS = Path("/run/credentials/driveprep.service")  # of LoadCredential=, for root


def settings(
    path: Path, environment: Mapping[str, str]
) -> tuple[Config | None, tuple[Finding, ...]]:
    """The configuration as the service would take it, if it would."""
    is_readable = os.access(SERVICE_CREDENTIALS, os.R_OK | os.X_OK, effective_ids=True)
    if "CREDENTIALS_DIRECTORY" not in environment and is_readable:
        environment = {**environment, "CREDENTIALS_DIRECTORY": str(SERVICE_CREDENTIALS)}
    is_sealed = SERVICE_CREDENTIALS.exists() and not is_readable
    try:
        settings = loading.load(path, environment)
    except ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            return None, (unseen("config", str(error)),)
        if _lacks_only_credentials(error, is_sealed=is_sealed):
            settings = loading.load(path, environment, with_credentials=False)
            findings = ok("config", str(path)), unseen("credentials", "only the service reads them")
            return settings, findings
        faults = [str(fault) for fault in error.faults] or [f"{error}; {error.hint}"]
        remedy = "Correct the file; the service takes it at once."
        return None, tuple(problem("config", fault, remedy) for fault in faults)
    warnings = tuple(problem("config", str(one), one.remedy) for one in settings.warnings)
    return settings, warnings or (ok("config", str(path)),)


def _lacks_only_credentials(error: ConfigError, *, is_sealed: bool) -> bool:
    """Return whether all is well but for what this user must not read."""
    if {fault.key for fault in error.faults} != {"credentials"}:
        return False
    return is_sealed or any(
        os.access(file, os.F_OK) and not os.access(file, os.R_OK, effective_ids=True)
        for file in error.files
    )


def spool(settings: Config) -> Iterator[Finding]:
    """Whether the spool is there for this user, and its journal sound."""
    spool, pending = settings.spool, settings.spool / "pending"
    if not os.access(spool, os.X_OK, effective_ids=True):
        if spool.exists():
            yield unseen("spool", f"{whoami()} may not look into {spool}")
        else:
            start = "systemctl start driveprep creates it"
            yield problem("spool", f"there is no folder {spool}", start)
        return
    if not pending.is_dir():
        yield problem("spool", f"there is no folder {pending}", "systemctl restart driveprep")
    elif not os.access(pending, os.W_OK | os.X_OK, effective_ids=True):
        remedy = f"sudo usermod -aG {ACCOUNT} {whoami()}, then log in again"
        yield problem("spool", f"{whoami()} may not drop manifests into {pending}", remedy)
    else:
        yield ok("spool", f"{pending}; {shutil.disk_usage(spool).free >> 20} MiB are free")
    yield _journal(spool / NAME)
    yield _backup(spool)


def _backup(spool: Path) -> Finding:
    age = backup.age(spool, time.time())
    if age is None:
        return ok("backup", "none was made yet (driveprep backup COPY)")
    return ok("backup", f"the last one was made {age / DAY_SECONDS:.1f} days ago")


def _journal(path: Path) -> Finding:
    if not path.exists():
        return ok("journal", "none yet: no manifest was ever dropped")
    if not os.access(path, os.R_OK, effective_ids=True):
        return unseen("journal", f"{whoami()} may not read {path}")
    try:
        damage = reader.damage(path.parent)
    except JournalError as error:
        return problem("journal", str(error), error.hint)
    if damage:
        remedy = "systemctl stop driveprep, then: driveprep restore COPY"
        return problem("journal", f"{path} is damaged: {damage}", remedy)
    return ok("journal", f"{path} is sound")
