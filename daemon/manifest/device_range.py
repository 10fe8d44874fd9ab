"""Ranges of deviceIds, such as HD001..HD040, as a table with one column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from daemon.documents.fields import Findings
from daemon.documents.nodes import Scalar
from daemon.documents.redaction import shown
from daemon.documents.table import Table

DEVICE_ID = "deviceId"
MAX_DEVICES = 10_000  # of one range: a slip of the finger must not fill the disk
_PART = re.compile(r"[^,\s][^,]*")
_END = re.compile(r"(?P<before>.*?)(?P<number>[0-9]{1,18})(?P<behind>[^0-9]*)")
# What people write for "to": ellipses and dashes.
_NEARLY = re.compile(r"(.*?[0-9]\S*?)\s*(?:\.{3,}|\u2026|-|\u2013|\u2014|:|~|\bto\b)\s*(.*[0-9].*)")


def read(ranges: Iterable[str], findings: Findings) -> Table:
    """Return the deviceIds of ranges and single names; what is wrong with one is recorded.

    Commas separate several. The line of a place is the number of the text, from 1.
    """
    rows: list[dict[str, Scalar]] = []
    for line, text in enumerate(ranges, 1):
        for part in _PART.finditer(text):
            place = Scalar(part[0].rstrip(), line, part.start() + 1, text)
            rows += [{DEVICE_ID: replace(place, text=one)} for one in _expanded(place, findings)]
    return Table({DEVICE_ID: Scalar(DEVICE_ID, 1, 1)}, tuple(rows))


def _expanded(place: Scalar, findings: Findings) -> Iterator[str]:
    """Yield the deviceIds of one range, or a single one; none if there is a fault."""
    first, dots, last = place.text.partition("..")
    ends = _ends(first.strip(), last.strip())
    if not dots or not ends:
        yield from _single(place, findings)
        return
    start, end = ends
    low, high, width = int(start["number"]), int(end["number"]), len(start["number"])
    widths = {width, len(end["number"])}
    if low > high:
        findings.fault(place, shown(place.text), "runs backwards", f"write {end[0]}..{start[0]}")
    elif len(widths) > 1 and "0" in {start["number"][0], end["number"][0]}:
        remedy = f"write {_padded(start, max(widths))}..{_padded(end, max(widths))}"
        findings.fault(place, shown(place.text), "has numbers of two widths", remedy)
    elif high - low >= MAX_DEVICES:
        problem = f"has {high - low + 1} deviceIds, more than {MAX_DEVICES}"
        findings.fault(place, shown(place.text), problem, "make several smaller ranges")
    else:
        for number in range(low, high + 1):
            yield f"{start['before']}{number:0{width}}{start['behind']}"


def _single(place: Scalar, findings: Findings) -> Iterator[str]:
    """Yield the text, unless it looks like a range that is written in another way."""
    nearly = _NEARLY.fullmatch(place.text)
    if nearly and (ends := _ends(*nearly.groups())) and ends[0]["before"]:
        remedy = f"did you mean {ends[0][0]}..{ends[1][0]}?"
        findings.fault(place, shown(place.text), "is not a range", remedy)
    elif ".." in place.text:
        remedy = "write both ends in full, such as HD001..HD040"
        findings.fault(place, shown(place.text), "has two ends of different names", remedy)
    else:
        yield place.text


def _ends(first: str, last: str) -> tuple[re.Match[str], re.Match[str]] | None:
    """Return both ends of a range if they differ in their last number only."""
    start, end = _END.fullmatch(first), _END.fullmatch(last)
    if not start or not end:
        return None
    is_alike = (start["before"], start["behind"]) == (end["before"], end["behind"])
    return (start, end) if is_alike else None


def _padded(end: re.Match[str], width: int) -> str:
    return f"{end['before']}{end['number'].zfill(width)}{end['behind']}"
