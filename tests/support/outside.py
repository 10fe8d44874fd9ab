"""What is outside of the daemon, made for one process: time, drives, and the way to the service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from daemon.drives.checks import check_usable
from daemon.drives.drive import Drive
from daemon.errors import DriveError, InDoubtError, UnreachableError
from daemon.importexport.emulator import EXAMPLE, xml
from daemon.importexport.emulator.authentication import Call
from daemon.importexport.emulator.manifest import ManifestRules
from daemon.importexport.emulator.operations import Service
from daemon.importexport.emulator.store import Job as Made
from daemon.importexport.emulator.store import Ledger
from daemon.importexport.emulator.xml import Refusal
from daemon.importexport.response import Answer
from daemon.service.bell import Ring

ENDPOINT = "http://127.0.0.1:9"
TIMEOUT = 5.0  # seconds of the world's own clock
LATE_SECONDS = 1.9 * TIMEOUT  # how late a request of a daemon that is gone may still arrive


class Clock:
    """The world's time: it passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 2_000_000_000.0  # far past the ctime of every file: each counts as complete

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


Event = Callable[[], Ring]  # something that happens outside, and what it rings


class PatientBell:
    """A bell for one thread. Where nothing rings, `wait` lets the next of `events` happen; after
    the last of them it moves the clock on.
    """

    def __init__(
        self, clock: Clock, events: list[Event], patience: float, is_at_rest: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._events = events
        self._until = clock() + patience
        self._is_at_rest = is_at_rest
        self._rung = Ring.NOTHING

    def ring(self, what: Ring) -> None:
        """As Bell has it."""
        self._rung |= what

    def is_rung(self) -> bool:
        """As Bell has it."""
        return bool(self._rung)

    def wait(self, seconds: float) -> Ring:
        """Like Bell; STOP when there is nothing left to wait for."""
        is_waiting = seconds > 0
        if is_waiting and not self._rung and self._events:
            self._rung = self._events.pop(0)()
        if is_waiting and not self._rung:
            if self._clock.now >= self._until or self._is_at_rest():
                return Ring.STOP
            self._clock.now += seconds
        heard, self._rung = self._rung, Ring.NOTHING
        return heard


class Worker:
    """A thread that has ended when `start` returns."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...], **_: object) -> None:
        self.start = lambda: target(*args)

    def join(self, _seconds: float) -> None:
        """It has ended."""


@dataclass
class Shelf:
    """The drives that are mounted now: `Drives`, as far as the daemon calls it."""

    drives: list[Drive] = field(default_factory=list)

    def mounted(self, *, ask_again: bool = True) -> tuple[Drive, ...]:
        """As Drives has it."""
        return tuple(self.drives)

    def present(self, *, ask_again: bool = True) -> tuple[()]:
        """As Drives has it: nothing that is not mounted is in reach."""
        return ()

    def has(self, drive: Drive) -> bool:
        """Return whether the drive is mounted."""
        return drive in self.drives

    is_still = has

    def contents(self, root):
        """As Drives has it; in use is nothing, since other tests write to the same disk."""
        return replace(root.contents(), used=0)

    def seconds_here(self, drive: Drive) -> float:
        """As Drives has it: it came just now."""
        return 0.0

    def verify(self, drive: Drive, file_system: str) -> Drive:
        """As Drives has it."""
        if not self.has(drive):
            raise DriveError(f"{drive.describe()} has changed", "Plug it in again.")
        check_usable(drive, file_system)
        return drive


class Numbered(Ledger):
    """The emulated service's jobs; the same history gives the same JobIds."""

    def new_id(self) -> str:
        """As Ledger has it."""
        return f"J{len(self.all()) + 1:04}"


class Wire:
    """The way to the emulated service without a network: really signed, really verified.

    A request takes the first of `faults` that is for its operation, or for any (""). There are
    "unreachable", "lost" (before the service has acted), "unanswered" (after), "late" (it acts
    when the caller has long given up), "500", "500 done", "portal", and the service's error codes.
    """

    def __init__(self, clock: Clock) -> None:
        self.faults: list[tuple[str, str]] = []
        self._clock = clock
        self._in_flight: list[tuple[float, Call]] = []  # late requests, and when they arrive
        self.hold(())

    def hold(self, made: tuple[Made, ...]) -> None:
        """Let the service have these jobs, and nothing be under way to it."""
        self._in_flight.clear()
        ledger = Numbered(None)
        for job in made:
            ledger.put(job)
        self.service = Service([EXAMPLE], ledger, ManifestRules(), 10**6, self._clock)

    def close(self) -> None:
        """Nothing is open."""

    def open_ahead(self) -> None:
        """As Transport has it; there is nothing to open."""

    def post(self, parameters: Mapping[str, str], auth: Any) -> Answer:
        """As Transport has it."""
        self.land()
        operation = parameters["Action"]
        match self._fault(
            operation if parameters.get("ValidateOnly") != "true" else "ValidateOnly"
        ):
            case "unreachable":
                raise UnreachableError(f"{operation}: told to be unreachable")
            case "late":
                self._in_flight.append((self._clock() + LATE_SECONDS, _call(parameters, auth)))
                raise InDoubtError(f"{operation}: no answer came")
            case "lost":
                raise InDoubtError(f"{operation}: lost before the service saw it")
            case "500":
                return Answer(operation, 500, "text/xml", None, b"")
            case "portal":
                return Answer(operation, 200, "text/html", None, b"<html>log in</html>")
            case "unanswered":
                self._answer(operation, _call(parameters, auth))
                raise InDoubtError(f"{operation}: the answer was lost")
            case "500 done":
                answer = self._answer(operation, _call(parameters, auth))
                return replace(answer, status=500, body=b"")
            case "":
                return self._answer(operation, _call(parameters, auth))
            case code:
                return _refused(operation, Refusal(code, "told to refuse"))

    def _fault(self, operation: str) -> str:
        for meant, fault in self.faults:
            if meant in {operation, ""}:
                self.faults.remove((meant, fault))
                return fault
        return ""

    def _answer(self, operation: str, call: Call) -> Answer:
        try:
            body = self.service.perform(call).body
        except Refusal as refusal:
            return replace(_refused(operation, refusal), date=self._clock())
        return Answer(operation, 200, "text/xml", self._clock(), body)

    def land(self) -> None:
        """Let the service act on what has arrived by now."""
        arrived = [one for one in self._in_flight if one[0] <= self._clock()]
        for one in arrived:
            self._in_flight.remove(one)
            self._answer("late", one[1])


def _call(parameters: Mapping[str, str], auth: Any) -> Call:
    request = requests.Request("POST", ENDPOINT, data=dict(parameters), auth=auth).prepare()
    form = dict(parse_qsl(str(request.body), keep_blank_values=True))
    return Call("POST", urlsplit(ENDPOINT).netloc, "/", {}, form)


def _refused(operation: str, refusal: Refusal) -> Answer:
    body = xml.error(refusal)
    return Answer(operation, refusal.status, "text/xml", None, body)
