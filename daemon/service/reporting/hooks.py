"""Hooks: commands of the administrator's that run when something changes. Never through a shell."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from daemon.jobs.job import Job, Rejected, drive_of
from daemon.system import programs
from daemon.system.programs import Environment

log = logging.getLogger("daemon.hooks")

HOOK_SECONDS = 30.0
HOOKS_AT_ONCE = 8  # so that a thousand faulty manifests do not start a thousand processes
VALUE_BYTES = 64 * 1024  # execve(2) allows 128 KiB, MAX_ARG_STRLEN, for a name with its value
DRIVE_KEYS = ("label", "serial", "uuid", "model")  # of a drive, as `status` shows it
SHOWN_CHARACTERS = 500  # of the error output of a hook that failed


class HookQueue:
    """Runs commands in the order of the calls. May be used from several threads.

    Hooks get `path` as their PATH. A thread lives only as long as it has a command to run.
    """

    def __init__(self, path: str, limit_seconds: float = HOOK_SECONDS) -> None:
        self.path = path
        self._limit_seconds = limit_seconds
        self._lock = threading.Lock()
        self._waiting: deque[tuple[tuple[str, ...], Environment]] = deque()
        self._threads = 0

    def run(
        self,
        command: Sequence[str],
        event: str,
        job: Job,
        papers: str = "",
        station: str = "",
    ) -> None:
        """Have `command` run with the event and the job's fields in its environment; do not wait.

        `papers` is the folder with the job's papers, `station` the name of this station.

        The environment is PATH, DRIVEPREP_EVENT and the fields, and nothing else: no secrets. If
        the command fails, that is logged. If it takes too long, that is logged and it is killed
        with its children. Processes that it leaves running are not killed. Nothing else changes.
        """
        self._add(command, event, _fields(job) | {"PAPERS": papers, "STATION": station})

    def run_for(
        self, command: Sequence[str], event: str, change: str, reason: str, station: str
    ) -> None:
        """Have `command` run, as `run` does, because service or pool is away or back."""
        self._add(command, event, {event.upper(): change, "REASON": reason, "STATION": station})

    def _add(self, command: Sequence[str], event: str, fields: dict[str, str]) -> None:
        environment = {"PATH": self.path, "DRIVEPREP_EVENT": event}
        environment |= {f"DRIVEPREP_{key}": _value(text) for key, text in fields.items()}
        with self._lock:
            self._waiting.append((tuple(command), environment))
            if self._threads == HOOKS_AT_ONCE:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="hook", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                command, environment = self._waiting.popleft()
            _run(command, environment, self._limit_seconds)


def _fields(job: Job) -> dict[str, str]:
    reason = job.state.reason if isinstance(job.state, Rejected) else ""
    drive = drive_of(job)
    return {
        "DEVICE_ID": job.device_id,
        "JOB_ID": job.job_id,
        "MANIFEST": job.name,
        "REASON": job.obstacle.reason if job.obstacle else reason,
        "HINT": job.obstacle.hint if job.obstacle else "",
        "PROGRESS": (job.progress.progress_code or "") if job.progress else "",
        "CONTENTS": str(drive.get("contents") or ""),
        "BAY": str(drive.get("bay") or ""),
        "NODE": str(drive.get("deviceNode") or ""),
        "DRIVE": ", ".join(f"{key} {drive[key]}" for key in DRIVE_KEYS if drive.get(key)),
    }


def _value(text: str) -> str:
    """`text` in a form that execve(2) accepts: without NUL, which would end it, and cut if long."""
    data = text.replace("\0", "").encode("utf-8", "backslashreplace")
    return data[:VALUE_BYTES].decode("utf-8", "ignore")


def _run(command: tuple[str, ...], environment: Environment, limit_seconds: float) -> None:
    try:
        ended = programs.run_detached(command, environment, limit_seconds)
    except TimeoutError:
        log.warning("hook %s took longer than %g s, killed", command[0], limit_seconds)
    except (OSError, ValueError) as error:
        log.warning("hook %s: %s", command[0], error)
    else:
        if ended.code:
            reason = ended.errors.decode("utf-8", "replace").strip()[-SHOWN_CHARACTERS:]
            log.warning("hook %s ended with %s: %s", command[0], ended.code, reason)
