"""Questions that a command leaves in pending/ for the daemon, and its answers in answers/.

Only the daemon writes to answers/; the group reads it. A question survives a restart, and is
answered at least once.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from daemon.errors import DriveprepError
from daemon.spool.dropping import QUESTION
from daemon.system import durable

ANSWERS = "answers"
LIMIT = 256 * 1024  # bytes; a manifest has at most a quarter of that
KEPT_SECONDS = 3600.0  # an answer that no one has waited for
_NUMBER = re.compile(r"[0-9a-f]{32}")


def leave(spool: Path, question: bytes, number: str = "") -> None:
    """Leave a question for the daemon, also for one that starts later. Raises OSError."""
    number = number or os.urandom(16).hex()
    with durable.folder(spool / "pending") as pending:
        partial = f".{number}.part"
        durable.replace(pending, f"{QUESTION}{number}", question, partial=partial, mode=0o660)


def ask(spool: Path, question: bytes, seconds: float, *, is_durable: bool = False) -> bytes:
    """Return the daemon's answer. Raises DriveprepError after `seconds`, and OSError.

    Then the question is withdrawn, unless it `is_durable`.
    """
    from daemon.system.watch import Watch  # noqa: PLC0415 - other commands should not load it

    number, came = os.urandom(16).hex(), threading.Event()
    watch = Watch()
    watch.add(spool / ANSWERS, lambda name, _: came.set() if name == number else None)
    watch.start()
    try:
        leave(spool, question, number)
        came.wait(seconds)
        with suppress(FileNotFoundError):
            return (spool / ANSWERS / number).read_bytes()
        if not is_durable:
            with durable.folder(spool / "pending") as pending:
                durable.discard(pending, f"{QUESTION}{number}")
    finally:
        watch.stop()
    raise DriveprepError(
        f"the daemon has not answered within {seconds:.0f} s",
        "`journalctl -u driveprep` may show why; `driveprep doctor` checks the service.",
    )


def is_question(name: str) -> bool:
    """Return whether a file in pending/ with this name is a question."""
    return name.startswith(QUESTION)


def asked(pending: int, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the questions among `names`, with their numbers. What is no question is removed."""
    for name in names:
        number = name.removeprefix(QUESTION)
        if number != name and _NUMBER.fullmatch(number):
            try:
                yield number, durable.read(pending, name, LIMIT)
            except OSError:
                with suppress(OSError):
                    os.unlink(name, dir_fd=pending)


def answer(pending: int, answers: int, number: str, data: bytes, now: float) -> None:
    """Answer a question, then remove it. Answers that are an hour old at `now` go, too."""
    durable.replace(answers, number, data, partial=f".{number}.part", mode=0o640)
    durable.discard(pending, f"{QUESTION}{number}")
    for name in os.listdir(answers):
        with suppress(OSError):
            if os.stat(name, dir_fd=answers, follow_symlinks=False).st_mtime < now - KEPT_SECONDS:
                os.unlink(name, dir_fd=answers)
