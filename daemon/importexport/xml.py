"""The elements of an untrusted XML document, with limits on their number.

Loaded with the first response only: an idle daemon stays small.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError, TreeBuilder

from defusedxml.ElementTree import XMLParser

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ELEMENT_LIMIT = 10_000  # a full page of ListJobs has 500; a MiB of tags would take 100 MB
ATTRIBUTE_LIMIT = 100  # of one element; the service writes none but namespaces

_AT_WORK = threading.Lock()  # one at a time: a refused document needs memory, too


def parse(body: bytes) -> Element | None:
    """Return the root of an XML document; None for anything else, or with a DTD or entities."""
    with _AT_WORK:
        parser = XMLParser(target=_Builder(), forbid_dtd=True)
        try:
            parser.feed(body)
            root: Element = parser.close()
        except (ParseError, ValueError, LookupError):  # defusedxml's own are ValueErrors
            return None
        return root


class _Builder(TreeBuilder):
    def __init__(self) -> None:
        super().__init__()
        self._left = ELEMENT_LIMIT

    def start(self, tag: Any, attrs: dict[Any, Any], /) -> Element:  # noqa: ANN401 - like the base class
        self._left -= 1
        if self._left < 0 or len(attrs) > ATTRIBUTE_LIMIT:
            raise ValueError("more than a response can have")
        return super().start(tag, attrs)
