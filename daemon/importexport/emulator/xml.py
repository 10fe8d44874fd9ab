"""What the emulated service says: results and refusals, as XML in the live service's shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias
from uuid import uuid4
from xml.sax.saxutils import escape

NAMESPACE = "http://importexport.amazonaws.com/doc/2010-06-01/"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Fields: TypeAlias = "Sequence[tuple[str, Content]]"
Content: TypeAlias = "str | int | Fields | None"  # None: the element is left out


class Refusal(Exception):  # noqa: N818 - it is the service's word, not an error of ours
    """The service's no: its code, its message, and the HTTP status it comes with."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def result(operation: str, fields: Fields) -> bytes:
    """The answer to an operation that was done."""
    metadata = [("RequestId", str(uuid4()))]
    content = [(f"{operation}Result", fields), ("ResponseMetadata", metadata)]
    return _document(f"{operation}Response", content)


def error(refusal: Refusal) -> bytes:
    """The answer to an operation that was not done."""
    kind = "Sender" if refusal.status < 500 else "Receiver"
    said = [("Type", kind), ("Code", refusal.code), ("Message", refusal.message)]
    return _document("ErrorResponse", [("Error", said), ("RequestId", str(uuid4()))])


def _document(root: str, content: Fields) -> bytes:
    return f'<{root} xmlns="{NAMESPACE}">{_elements(content)}</{root}>'.encode()


def _elements(fields: Fields) -> str:
    return "".join(f"<{name}>{_text(each)}</{name}>" for name, each in fields if each is not None)


def _text(content: Content) -> str:
    match content:
        case bool():
            return "true" if content else "false"
        case str():
            # A carriage return must be a reference: XML readers make a line feed of a bare one.
            return escape(_NOT_XML.sub("\ufffd", content), {"\r": "&#13;"})
        case int() | None:
            return str(content)
        case _:
            return _elements(content)
