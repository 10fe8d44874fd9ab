"""Ranges of deviceIds."""

import pytest

from daemon.documents.fields import Findings
from daemon.manifest import device_range


def read(*ranges):
    """Return the deviceIds and the faults."""
    findings = Findings("--device")
    rows = device_range.read(ranges, findings).rows
    return [row["deviceId"].text for row in rows], [str(fault) for fault in findings.faults]


@pytest.mark.parametrize(
    ("text", "device_ids"),
    [
        ("HD001..HD003", ["HD001", "HD002", "HD003"]),
        ("HD8..HD11", ["HD8", "HD9", "HD10", "HD11"]),
        ("2024-HD9b..2024-HD10b", ["2024-HD9b", "2024-HD10b"]),
        ("HD001 .. HD002", ["HD001", "HD002"]),
        ("007..009", ["007", "008", "009"]),
        ("HD001..HD002, HD7,HD9..HD9", ["HD001", "HD002", "HD7", "HD9"]),
        ("WD-0001", ["WD-0001"]),
        ("2024-0001", ["2024-0001"]),
    ],
)
def test_a_range_counts_and_keeps_its_width(text, device_ids):
    """The last number counts, as wide as it is written; names without a range stay."""
    assert read(text) == (device_ids, [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HD040..HD001", "runs backwards; write HD001..HD040"),
        ("HD001..HD40", "has numbers of two widths; write HD001..HD040"),
        ("HD1..HD040", "has numbers of two widths; write HD001..HD040"),
        ("HD001-HD040", "is not a range; did you mean HD001..HD040?"),
        ("HD001...HD040", "is not a range; did you mean HD001..HD040?"),
        ("HD001 \N{EN DASH} HD040", "did you mean HD001..HD040?"),
        ("HD001 to HD040", "did you mean HD001..HD040?"),
        ("HD001..040", "write both ends in full"),
        ("HD001..XX003", "write both ends in full"),
        ("HD001..", "write both ends in full"),
        ("HD1..HD99999", "has 99999 deviceIds, more than 10000"),
    ],
)
def test_what_is_no_range_is_a_fault(text, words):
    """With its place, and what to write; the other ranges are read all the same."""
    device_ids, (fault,) = read("A1", f"A2, {text}")

    assert device_ids == ["A1", "A2"]
    assert fault.startswith("--device:2:5: ")
    assert words in fault
