"""Hooks: a command of the operator's, run when something changed. Never through a shell."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence

from daemon.job import Job, Rejected

log = logging.getLogger(__name__)

LIMIT_SECONDS = 30.0


def run(command: Sequence[str], event: str, job: Job) -> None:
    """Start `command` with the event and the job's fields in the environment; does not wait.

    The environment is PATH, DRIVEPREP_EVENT and the fields, nothing else: no secrets. A command
    that fails, or takes longer than LIMIT_SECONDS, is logged; it changes nothing else.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "DRIVEPREP_EVENT": event}
    # A NUL would end a value early, so execve(2) refuses it.
    environment |= {
        f"DRIVEPREP_{key}": text.replace("\0", "") for key, text in _fields(job).items()
    }
    threading.Thread(target=_run, args=(tuple(command), environment), daemon=True).start()


def _fields(job: Job) -> dict[str, str]:
    reason = job.state.reason if isinstance(job.state, Rejected) else ""
    return {
        "DEVICE_ID": job.device_id,
        "JOB_ID": job.job_id,
        "MANIFEST": job.name,
        "REASON": job.obstacle.reason if job.obstacle else reason,
        "HINT": job.obstacle.hint if job.obstacle else "",
        "PROGRESS": (job.progress.progress_code or "") if job.progress else "",
    }


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    try:
        subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=LIMIT_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode("utf-8", "replace").strip()[-500:]
        log.warning("hook %s ended with %s: %s", command[0], error.returncode, words)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("hook %s: %s", command[0], error)
