"""Hooks: a command of the operator's, run when something changed. Never through a shell."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence

from daemon.jobs.job import Job, Rejected

log = logging.getLogger("daemon.hooks")

LIMIT_SECONDS = 30.0
ABREAST = 8  # commands at a time: a thousand faulty manifests are not a thousand processes
VALUE_BYTES = 64 * 1024  # execve(2) takes 128 KiB, MAX_ARG_STRLEN, for a name with its value


def run(command: Sequence[str], event: str, job: Job) -> None:
    """Have `command` run with the event and the job's fields in the environment; does not wait.

    The environment is PATH, DRIVEPREP_EVENT and the fields, nothing else: no secrets. A command
    that fails is logged, and so is one that takes longer than LIMIT_SECONDS, which is then killed
    with its children; it changes nothing else.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "DRIVEPREP_EVENT": event}
    environment |= {f"DRIVEPREP_{key}": _value(text) for key, text in _fields(job).items()}
    _QUEUE.put(tuple(command), environment)


class _Queue:
    """Commands in the order in which they were put; a thread lives as long as it has one to run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[tuple[str, ...], Mapping[str, str]]] = deque()
        self._threads = 0

    def put(self, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        with self._lock:
            self._waiting.append((command, environment))
            if self._threads == ABREAST:
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
            _run(command, environment)


_QUEUE = _Queue()


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


def _value(text: str) -> str:
    """`text` as execve(2) takes it: no NUL, which would end it early, and not too long."""
    data = text.replace("\0", "").encode("utf-8", "backslashreplace")
    return data[:VALUE_BYTES].decode("utf-8", "ignore")


def _run(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        log.warning("hook %s: %s", command[0], error)
        return
    with process:
        try:
            _, said = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            log.warning("hook %s took longer than %g s, killed", command[0], LIMIT_SECONDS)
            return
    if process.returncode:
        words = said.decode("utf-8", "replace").strip()[-500:]
        log.warning("hook %s ended with %s: %s", command[0], process.returncode, words)
