"""Runs external programs. No other module starts a process.

A program gets exactly the environment that its caller names, because ours can hold the AWS secret
key, and it is never run through a shell. There are three ways to run a program to its end:

- run(): with a time limit; it is killed after that, together with its children, and reaped.
- Abandonable.run(): a program that can hang in the kernel, where nothing can kill it. The caller
  goes on, and the process is remembered and counted.
- run_detached(): what it leaves running goes on running.

start() keeps a program running in the background until its caller stops it. restart() replaces this
very process.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, NoReturn

Environment = Mapping[str, str]

# For the system's own programs. A service manager or sudo may have set another PATH.
SYSTEM: Environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

KILL_SECONDS = 0.5  # a process that can be killed is gone long before
PIPE_BYTES = 64 * 1024  # what a pipe holds, pipe(7)
LAST_BYTES = 4 * 1024  # of the error output of a detached program


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program came to."""

    code: int  # its exit status; -9 if signal 9 ended it
    output: bytes
    errors: bytes


def environment(path: str | None) -> Environment:
    """The environment of a program that is found on this PATH; nothing else of ours is in it."""
    return {"PATH": path or os.defpath, "LC_ALL": "C"}


def find(name: str, environment: Environment) -> str | None:
    """The full path of a program on the environment's PATH; None if it is not installed."""
    return shutil.which(name, path=environment["PATH"])


def restart(options: Sequence[str]) -> NoReturn:
    """Start this program again in this process, with more options for Python. Keeps everything."""
    os.execve(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]], os.environ)  # noqa: S606


def run(
    command: Sequence[str],
    environment: Environment,
    limit_seconds: float,
    *,
    data: bytes = b"",
    descriptor: int | None = None,
) -> Ended:
    """Run a program to its end, with `data` as its input, and collect what it prints.

    It inherits `descriptor`, under the same number. Raises OSError if it cannot be started, and
    TimeoutError (which is an OSError) after `limit_seconds`; its process group is then killed.
    """
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE if data else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[] if descriptor is None else [descriptor],
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(data or None, limit_seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} did not end within {limit_seconds:g} s") from error
    finally:
        if child.returncode is None:
            _kill_group(child)
    return Ended(child.returncode, output, errors)


class Abandonable:
    """Runs programs that can hang in the kernel together with the device that they examine.

    Not even SIGKILL ends such a process. It is left behind, and until it ends, no second program
    is started for the same device. May be used from several threads.
    """

    def __init__(self) -> None:
        self._abandoned: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many abandoned processes there are now."""
        with self._lock:
            for device, child in list(self._abandoned.items()):
                if child.poll() is not None:
                    del self._abandoned[device]
            return len(self._abandoned)

    def run(
        self, device: str, command: Sequence[str], environment: Environment, limit_seconds: float
    ) -> bytes:
        """Run a program to its end; what it prints, which must be less than PIPE_BYTES.

        Raises OSError if it cannot be started, and TimeoutError (which is an OSError) after
        `limit_seconds`, or at once while an abandoned process still hangs with the device.
        """
        self._check_free(device)
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            close_fds=False,  # ours are close-on-exec, PEP 446; posix_spawn(3) is then enough
        )
        try:
            if not _ends(child, limit_seconds):
                raise TimeoutError(f"did not answer within {limit_seconds:g} s")
            return child.communicate()[0]
        finally:
            if child.returncode is None:
                self._kill(device, child)

    def _check_free(self, device: str) -> None:
        with self._lock:
            child = self._abandoned.get(device)
            if child and child.poll() is None:
                raise TimeoutError("still does not answer")
            self._abandoned.pop(device, None)

    def _kill(self, device: str, child: subprocess.Popen[bytes]) -> None:
        if child.stdout:
            child.stdout.close()
        child.kill()
        try:
            child.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:  # it is in the D state, uninterruptible sleep
            with self._lock:
                self._abandoned[device] = child
            _warn("process %d hangs in the kernel, like %d others", child.pid, len(self) - 1)


def run_detached(command: Sequence[str], environment: Environment, limit_seconds: float) -> Ended:
    """Run a program and wait for this one process only; what it leaves running is left alone.

    Its output is discarded; the last LAST_BYTES of its error output are kept. Raises OSError or
    ValueError if it cannot be started, and TimeoutError (which is an OSError) after
    `limit_seconds`; its process group is then killed.
    """
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stderr  # noqa: S101 - it is a pipe
    try:
        errors = _errors_until_end(child, child.stderr.fileno(), limit_seconds)
        child.wait()
    finally:
        if child.returncode is None:
            _kill_group(child)
    _discard_the_rest(child.stderr)
    return Ended(child.returncode, b"", errors)


class Background:
    """A program that runs until stop() is called or it ends by itself."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._child.poll() is not None

    def stop(self, limit_seconds: float) -> None:
        """End it by SIGTERM, or by SIGKILL where that takes longer than the limit. Idempotent."""
        self._child.terminate()
        try:
            self._child.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def start(command: Sequence[str], environment: Environment, output: IO[str]) -> Background:
    """Start a program that writes to `output`. Raises OSError if it cannot be started.

    It has a session of its own: Ctrl-C does not reach it, nor the end of this process.
    """
    return Background(
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    )


def _ends(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until the child ends; False if it does not end in time. Its output must fit a pipe.

    Popen.wait() with a limit would only check now and then, and so be late.
    """
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _errors_until_end(child: subprocess.Popen[bytes], pipe: int, seconds: float) -> bytes:
    """Read the pipe until the child itself ends, even if another process keeps it open."""
    deadline = time.monotonic() + seconds
    os.set_blocking(pipe, False)
    last = b""
    process = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(pipe, select.POLLIN)
        while events := dict(poll.poll(max(0, deadline - time.monotonic()) * 1000)):
            read = _read(pipe)
            last = (last + (read or b""))[-LAST_BYTES:]
            if process in events:
                return last
            if read == b"":  # the child has closed its end; poll would report that for ever
                poll.unregister(pipe)
    finally:
        os.close(process)
    raise TimeoutError(f"it did not end within {seconds:g} s")


def _read(pipe: int) -> bytes | None:
    """What the pipe holds; b"" at its end, None while it is empty."""
    try:
        return os.read(pipe, PIPE_BYTES)
    except BlockingIOError:
        return None


def _discard_the_rest(errors: IO[bytes]) -> None:
    """Keep reading while a process that was left running has the pipe open.

    If the pipe were closed, the next message that such a process writes would kill it (SIGPIPE).
    """
    if _read(errors.fileno()) == b"":
        errors.close()
        return
    os.set_blocking(errors.fileno(), True)
    threading.Thread(target=_read_to_end, args=(errors,), name="leftover", daemon=True).start()


def _read_to_end(errors: IO[bytes]) -> None:
    with errors:
        while os.read(errors.fileno(), PIPE_BYTES):
            pass


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    os.killpg(child.pid, signal.SIGKILL)  # it is not reaped yet, so the number is still its own
    for pipe in (child.stdin, child.stdout, child.stderr):
        with suppress(OSError):
            if pipe:
                pipe.close()
    try:
        child.wait(KILL_SECONDS)
    except subprocess.TimeoutExpired:
        _warn("process %d hangs in the kernel and cannot be killed", child.pid)


def _warn(text: str, *values: int) -> None:
    import logging  # noqa: PLC0415 - `status` asks blkid, but should not pay for loading it

    logging.getLogger("daemon.programs").warning(text, *values)
