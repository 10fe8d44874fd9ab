"""Every effect of the daemon on the world, heard just before it happens: the places to kill it.

- What Python's runtime audits (PEP 578: open, rename, unlink, mkdir, Popen, connect, ...) is heard
  whoever calls it, by whatever name: a new effect is covered the day it is written.
- Writes and syncs are not audited, so the functions of `os` are wrapped. A write has a middle.
- SQLite works below Python: a COMMIT, or a statement outside a transaction, is one effect.
- A request is two: before it leaves, and when the service has acted but nobody has read the answer.

Between two effects nothing changes outside, so "after one" is "before the next".
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

UNAUDITED = (
    *("write", "writev", "pwrite", "pwritev", "sendfile", "copy_file_range", "splice"),
    *("fsync", "fdatasync", "sync", "posix_fallocate", "mkfifo", "mknod"),
)
# Of the audited calls of `os`, those that leave no trace outside the process.
READING = frozenset({"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.listxattr"}) | {
    *("os.getxattr", "os.putenv", "os.unsetenv", "os.chdir", "os.fork", "os.forkpty"),
}
OUTSIDE = ("os.", "subprocess.Popen", "socket.connect", "socket.sendto", "socket.sendmsg")
READS = ("SELECT", "BEGIN", "ROLLBACK", "EXPLAIN")

Before = Callable[[str], None]


class Killed(BaseException):
    """The process is gone. Nothing may swallow it, and nothing happens after it."""


class Effects:
    """Calls `before` with the name of each effect of this thread; dead once that raised Killed.

    A dead process has no effects: each further one raises Killed again, so that no `finally` and
    no `except` can tidy up what a SIGKILL would have left behind.
    """

    def __init__(self, before: Before) -> None:
        self._before = before
        self._thread = threading.get_ident()
        self._is_deaf = False  # while `before` itself looks at the world
        self.is_dead = False
        self.synced: Callable[[int | None], None] = lambda descriptor: None
        self.connections: list[Connection] = []

    @property
    def is_listening(self) -> bool:
        """Whether what happens now is done by the daemon."""
        return not self._is_deaf and threading.get_ident() == self._thread

    def announce(self, what: str) -> None:
        """The effect `what` is about to happen."""
        if not self.is_listening:
            return
        if self.is_dead:
            raise Killed(what)
        self._is_deaf = True
        try:
            self._before(what)
        except Killed:
            self.is_dead = True
            raise
        finally:
            self._is_deaf = False

    def durable(self, descriptor: int | None) -> None:
        """A file or folder has been synced; None is the journal's commit."""
        if self.is_listening:
            self.synced(descriptor)

    def bury(self) -> None:
        """Let go of what a dead process would have lost. The caller keeps the journal's bytes:
        SQLite tidies up when it is closed, which a dead process does not.
        """
        for connection in self.connections:
            sqlite3.Connection.close(connection)


_listening: Effects | None = None  # an audit hook can never be taken away, so it is made once


@contextmanager
def listening(before: Before) -> Iterator[Effects]:
    """Hear the effects of this thread for the length of the block."""
    global _listening  # noqa: PLW0603 - see above
    assert _listening is None
    effects = Effects(before)
    with ExitStack() as stack:
        for name in UNAUDITED:
            stack.enter_context(patch.object(os, name, _wrapped(effects, getattr(os, name))))
        connect = sqlite3.connect
        stack.enter_context(
            patch.object(sqlite3, "connect", lambda *a, **k: _connected(effects, connect, a, k))
        )
        _listening = effects
        try:
            yield effects
        finally:
            _listening = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening is None or not _listening.is_listening:
        return
    if event == "open":
        path, mode, flags = arguments
        if isinstance(flags, int) and flags & (os.O_CREAT | os.O_TRUNC):
            # Of a buffered file nobody hears when it is written.
            assert mode is None or _listening.is_dead, f"{path} is written without `durable`"
            _listening.announce(f"open {path}")
    elif event.startswith(OUTSIDE) and event not in READING:
        _listening.announce(_named(event, arguments))


def _named(event: str, arguments: tuple[Any, ...]) -> str:
    match event, arguments:
        case "os.rename" | "os.link", (old, new, old_folder, new_folder):
            return f"{event} {_place(old, old_folder)} {_place(new, new_folder)}"
        case "os.remove" | "os.rmdir", (name, folder):
            return f"{event} {_place(name, folder)}"
        case "os.mkdir", (name, _, folder):
            return f"{event} {_place(name, folder)}"
    return f"{event} {arguments[0]}"


def _place(name: str | Path, folder: int) -> str:
    return f"{_open_at(folder)}/{name}" if folder >= 0 else str(name)


def _open_at(file: object = "") -> str:
    """The path of a descriptor; of anything else what it is."""
    return str(Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else file)


sys.addaudithook(_hook)


def _wrapped(effects: Effects, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        name = real.__name__
        effects.announce(f"os.{name} {_open_at(*arguments[:1])}")
        if name == "write" and len(arguments[1]) > 1:
            half = len(arguments[1]) // 2
            done: int = real(arguments[0], arguments[1][:half])
            effects.announce("os.write, the other half")
            return done + real(arguments[0], arguments[1][done:])
        result = real(*arguments, **named)
        if name in {"fsync", "fdatasync"}:
            effects.durable(arguments[0])
        return result

    return call


class Connection(sqlite3.Connection):
    """A connection whose commits are heard."""

    effects: Effects

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """Announce what is visible outside at once: COMMIT, or a change with no transaction."""
        is_change = not sql.lstrip().upper().startswith(READS)
        is_visible = sql == "COMMIT" or not self.in_transaction
        if is_change and is_visible:
            self.effects.announce(f"sqlite {sql}")
        cursor = super().execute(sql, *arguments)
        if is_change and is_visible:
            self.effects.durable(None)
        return cursor

    def executescript(self, sql: str) -> sqlite3.Cursor:
        """A script is one effect where it is one transaction."""
        assert sql.count("COMMIT;") == sql.startswith("BEGIN;") == 1, "more than one effect"
        self.effects.announce("sqlite script")
        cursor = super().executescript(sql)
        self.effects.durable(None)
        return cursor

    def cursor(self, *_: Any) -> sqlite3.Cursor:
        """Refused: a cursor's own statements would not be heard."""
        raise AssertionError("use Connection.execute")

    executemany = commit = __enter__ = cursor

    def close(self) -> None:
        """As ever; by a dead process nothing is closed, see `Effects.bury`."""
        if not self.effects.is_dead:
            super().close()


def announce(what: str) -> None:
    """An effect of another kind is about to happen."""
    if _listening:
        _listening.announce(what)


def heard(transport: Any) -> Any:
    """A way to the service whose requests are heard while anyone listens."""
    return _Heard(_listening, transport) if _listening else transport


def _connected(
    effects: Effects, connect: Callable[..., Any], arguments: Any, named: dict[str, Any]
) -> Connection:
    connection: Connection = connect(*arguments, **named, factory=Connection)
    connection.effects = effects
    effects.connections.append(connection)
    return connection


class _Heard:
    """A way to the service whose requests are heard."""

    def __init__(self, effects: Effects, inner: Any) -> None:
        self._effects = effects
        self._inner = inner
        self.close = inner.close
        self.open_ahead = inner.open_ahead

    def post(self, parameters: Any, auth: Any) -> Any:
        """Send one request; the service has acted when its answer is announced."""
        self._effects.announce(f"request {parameters['Action']}")
        answer = self._inner.post(parameters, auth)
        self._effects.announce(f"answer to {parameters['Action']}")
        return answer
