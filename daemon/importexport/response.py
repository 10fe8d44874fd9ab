"""One response of the service: XML in, fields or errors out. Opens no connection.

Namespaces and the order of elements do not count (real responses and the guide differ in both).
What a response proves, in this order:
- 4xx with a readable ErrorResponse: the service did not act -> a RefusedError with its `code`;
- 200 with everything that the operation must return: its fields;
- anything else: InDoubtError.
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
    """A complete response, as it was received."""

    operation: str
    status: int
    content_type: str
    date: float | None  # the service's clock (Date header), seconds since the epoch
    body: bytes = field(repr=False)


class Result:
    """The fields of one response. A field that cannot be used raises InDoubtError."""

    def __init__(self, answer: Answer, element: Element | None = None) -> None:
        self._answer = answer
        self._element = _result(answer) if element is None else element

    def raw(self, name: str) -> str | None:
        """Return the exact text; None if it is absent or only white space."""
        child = _child(self._element, name)
        text = child.text if child is not None else None
        return text if text and text.strip() else None

    def text(self, name: str) -> str | None:
        """Return the text without surrounding white space, at most TEXT_LIMIT characters of it.

        None if it is absent or only white space.
        """
        raw = self.raw(name)
        return raw.strip()[:TEXT_LIMIT] if raw else None

    def lines(self, name: str) -> str | None:
        """Return a text of several lines, without the indentation that pretty-printing adds."""
        text = self.text(name)
        return "\n".join(line.strip() for line in text.splitlines()) if text else None

    def members(self, name: str) -> tuple[Result, ...] | None:
        """Return the items of a list; None if there is no list."""
        child = _child(self._element, name)
        return None if child is None else tuple(Result(self._answer, each) for each in child)

    def boolean(self, name: str) -> bool | None:
        """Return `true` or `false`."""
        return self._converted(name, lambda text: {"true": True, "false": False}[text.lower()])

    def integer(self, name: str) -> int | None:
        """Return a whole number."""
        return self._converted(name, int)

    def time(self, name: str) -> float | None:
        """Return a time, in seconds since the epoch."""
        return self._converted(name, read_time)

    def _converted(self, name: str, convert: Callable[[str], T]) -> T | None:
        text = self.text(name)
        try:
            return convert(text) if text else None
        except (ValueError, KeyError):
            in_doubt(self._answer, f"{name} in the response cannot be read")

    def required(self, value: T | None, name: str) -> T:
        """Return the value; without it the response cannot be used."""
        if value is None:
            in_doubt(self._answer, f"the response has no {name}")
        return value

    def job_id(self) -> str:
        """Return the JobId, which has only characters that are safe in a path."""
        job_id = self.required(self.text("JobId"), "JobId")
        if not _JOB_ID.fullmatch(job_id):
            in_doubt(
                self._answer,
                "JobId in the response has characters other than letters, digits and hyphens",
            )
        return job_id

    def require_success(self) -> None:
        """Raise InDoubtError unless the response says that it was done."""
        if not self.boolean("Success"):
            in_doubt(self._answer, "the response does not say Success")


def read_time(text: str) -> float:
    """Return an ISO 8601 time in seconds since the epoch, UTC by default. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def in_doubt(answer: Answer, problem: str) -> NoReturn:
    """Raise InDoubtError; it names the kind of the response, never its text."""
    kind = one_line(answer.content_type) or "no content type"
    raise InDoubtError(
        f"{answer.operation}: {problem} (status {answer.status}, {kind})",
        "The service may or may not have acted: its list of jobs is checked before the request is"
        " repeated. If this persists, check what is between this machine and the endpoint.",
        code="in-doubt-response",
    )


def _result(answer: Answer) -> Element:
    """Return the element with the operation's result; raise the error that the response is."""
    # An idle daemon stays small: XML is loaded with the first response.
    from daemon.importexport.xml import parse  # noqa: PLC0415 - see above

    root = parse(answer.body)
    if 400 <= answer.status < 500:
        _raise_refusal(answer, root)
    if answer.status != 200:
        in_doubt(answer, "the service sent no usable response")
    if root is None:
        in_doubt(answer, "the response is not XML that can be read")
    result = _child(root, f"{answer.operation}Result")
    if _name(root) != f"{answer.operation}Response" or result is None:
        in_doubt(answer, f"the response is not a {answer.operation}Response")
    return result


def _raise_refusal(answer: Answer, root: Element | None) -> NoReturn:
    """Raise what an ErrorResponse says; without one, something else may have refused."""
    if root is not None and _name(root) == "ErrorResponse":
        error = _child(root, "Error")
        result = None if error is None else Result(answer, error)
        if result is not None and (code := result.text("Code")):
            raise refusal(answer.operation, code, result.raw("Message") or "")
    in_doubt(answer, "refused, but not with the service's own ErrorResponse")


def _child(element: Element, name: str) -> Element | None:
    return next((child for child in element if _name(child) == name), None)


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]
