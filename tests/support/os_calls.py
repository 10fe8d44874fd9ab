"""The calls of a program to the kernel: recorded, made to fail, or the last ones of its life."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from unittest import mock

from daemon.system import durable

CALLS = ("open", "write", "fsync", "rename", "unlink", "mkdir", "link")
KILLED, FAILED = 77, 78  # exit codes

Before = Callable[[int, str, tuple[object, ...]], None]  # number from 1, name, arguments


@contextmanager
def watched(before: Before) -> Iterator[None]:
    """Have `before` called ahead of each call that could change a file system."""
    numbers = count(1)

    def replacement(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            before(next(numbers), name, arguments)
            return real(*arguments, **named)

        return call

    replaced = {name: replacement(name, getattr(os, name)) for name in CALLS}
    rename = replacement("rename", durable._rename_to_free)  # below Python, as ctypes calls it
    with mock.patch.multiple(os, **replaced), mock.patch.object(durable, "_rename_to_free", rename):
        yield


def recorded(act: Callable[[], object]) -> list[str]:
    """The names of the calls that `act` makes, in their order, without opens for reading."""
    names: list[str] = []

    def note(_number: int, name: str, arguments: tuple[object, ...]) -> None:
        is_reading = name == "open" and not int(str(arguments[1])) & os.O_CREAT
        if not is_reading:
            names.append(name)

    with watched(note):
        act()
    return names


@contextmanager
def failing(number: int, code: int = errno.EIO) -> Iterator[None]:
    """Let the call with that number, and only that one, fail; a write fails half done."""
    real_write = os.write

    def fail(at: int, name: str, arguments: tuple[object, ...]) -> None:
        if at != number:
            return
        if name == "write":
            _write_half(real_write, *arguments)
        raise OSError(code, os.strerror(code))

    with watched(fail):
        yield


def killed(act: Callable[[], object], number: int) -> bool:
    """Do `act` in a process that dies just before that call; whether it came so far.

    It dies as of SIGKILL, nothing is tidied up; a write dies half done.
    """
    child = os.fork()
    if child == 0:
        _die_at(act, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}, f"the child ended with {code}; see its traceback"
    return code == KILLED


def _die_at(act: Callable[[], object], number: int) -> None:
    real_write = os.write

    def die(at: int, name: str, arguments: tuple[object, ...]) -> None:
        if at == number:
            if name == "write":
                _write_half(real_write, *arguments)
            os._exit(KILLED)

    try:
        with watched(die):
            act()
        os._exit(0)
    finally:  # of an exception
        real_write(2, traceback.format_exc().encode())
        os._exit(FAILED)


def _write_half(write: Callable[..., int], descriptor: object, data: object) -> None:
    whole = bytes(data)  # type: ignore[call-overload]  # what os.write was given
    write(descriptor, whole[: len(whole) // 2])
