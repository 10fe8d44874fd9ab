"""One answer of the service: XML in, fields or errors out. Opens no connection.

Namespaces and the order of elements do not count (live answers and the guide differ in both).
What an answer proves, in this order:
- 4xx with a readable ErrorResponse: the service did not act -> a RefusedError with its `code`;
- 200 with everything the operation owes: its fields;
- anything else, whatever it is: InDoubtError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn, TypeVar

from daemon.errors import InDoubtError
from daemon.importexport.error_codes import one_line, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

T = TypeVar("T")

TEXT_LIMIT = 4096  # characters of a text that is shown or printed; the longest known has 300
_JOB_ID = re.compile(r"[A-Za-z0-9-]{1,64}")  # it becomes a folder's name later on


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over the wire, whole."""

    operation: str
    status: int
    content_type: str
    date: float | None  # the service's clock (Date header), seconds since the epoch
    body: bytes = field(repr=False)


class Result:
    """The fields of one answer. A field that cannot be used raises InDoubtError."""

    def __init__(self, answer: Answer, element: Element | None = None) -> None:
        self._answer = answer
        self._element = _result(answer) if element is None else element

    def raw(self, name: str) -> str | None:
        """The text to the letter; None where it is absent or blank."""
        child = _child(self._element, name)
        text = child.text if child is not None else None
        return text if text and text.strip() else None

    def text(self, name: str) -> str | None:
        """The text without outer white space, cut where no person reads on; None where it is
        absent or blank.
        """
        raw = self.raw(name)
        return raw.strip()[:TEXT_LIMIT] if raw else None

    def lines(self, name: str) -> str | None:
        """A text of several lines, without the indentation that pretty-printing adds."""
        text = self.text(name)
        return "\n".join(line.strip() for line in text.splitlines()) if text else None

    def members(self, name: str) -> tuple[Result, ...] | None:
        """The items of a list; None where there is no list."""
        child = _child(self._element, name)
        return None if child is None else tuple(Result(self._answer, each) for each in child)

    def boolean(self, name: str) -> bool | None:
        """`true` or `false`."""
        return self._converted(name, lambda text: {"true": True, "false": False}[text.lower()])

    def integer(self, name: str) -> int | None:
        """A whole number."""
        return self._converted(name, int)

    def time(self, name: str) -> float | None:
        """A time, as seconds since the epoch."""
        return self._converted(name, read_time)

    def _converted(self, name: str, convert: Callable[[str], T]) -> T | None:
        text = self.text(name)
        try:
            return convert(text) if text else None
        except (ValueError, KeyError):
            in_doubt(self._answer, f"the answer's {name} cannot be read")

    def required(self, value: T | None, name: str) -> T:
        """The value; without it the answer is of no use."""
        if value is None:
            in_doubt(self._answer, f"the answer holds no {name}")
        return value

    def job_id(self) -> str:
        """The JobId, in letters that may be part of a path."""
        job_id = self.required(self.text("JobId"), "JobId")
        if not _JOB_ID.fullmatch(job_id):
            in_doubt(self._answer, "the answer's JobId is none: want letters, digits, hyphens")
        return job_id

    def require_success(self) -> None:
        """Accept nothing but the word that it was done."""
        if not self.boolean("Success"):
            in_doubt(self._answer, "the answer does not say Success")


def read_time(text: str) -> float:
    """ISO 8601 as seconds since the epoch; without an offset it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def in_doubt(answer: Answer, problem: str) -> NoReturn:
    """Raise InDoubtError, naming what came back and never its text."""
    kind = one_line(answer.content_type) or "no content type"
    raise InDoubtError(
        f"{answer.operation}: {problem} (status {answer.status}, {kind})",
        "The service may or may not have acted: that is looked up before it is asked again. If this"
        " persists, see what stands between this machine and the endpoint.",
        code="in-doubt-response",
    )


def _result(answer: Answer) -> Element:
    """The element that carries the operation's result, or the error that the answer is."""
    # An idle daemon stays small: XML is loaded with the first answer.
    from daemon.importexport.xml import parse  # noqa: PLC0415 - see above

    root = parse(answer.body)
    if 400 <= answer.status < 500:
        _raise_refusal(answer, root)
    if answer.status != 200:
        in_doubt(answer, "the service gave no usable answer")
    if root is None:
        in_doubt(answer, "the answer is not XML that can be read")
    result = _child(root, f"{answer.operation}Result")
    if _name(root) != f"{answer.operation}Response" or result is None:
        in_doubt(answer, f"the answer is no {answer.operation}Response")
    return result


def _raise_refusal(answer: Answer, root: Element | None) -> NoReturn:
    """Raise what an ErrorResponse says; without one nobody knows who refused, and what."""
    if root is not None and _name(root) == "ErrorResponse":
        error = _child(root, "Error")
        result = None if error is None else Result(answer, error)
        if result is not None and (code := result.text("Code")):
            raise refusal(answer.operation, code, result.raw("Message") or "")
    in_doubt(answer, "refused, but not in the service's own words")


def _child(element: Element, name: str) -> Element | None:
    return next((child for child in element if _name(child) == name), None)


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]
