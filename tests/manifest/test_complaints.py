"""Where the service's complaint points in a manifest."""

from pathlib import Path

import pytest

from daemon.errors import ManifestRefusedError
from daemon.manifest.complaints import locate

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()


@pytest.mark.parametrize(
    ("code", "words", "place", "key"),
    [
        ("InvalidAddressException", "no such town", (8, 1), "returnAddress"),
        ("InvalidAddressException", "unknown postalCode", (15, 5), "returnAddress.postalCode"),
        ("NoSuchBucketException", "no bucket", (5, 1), "logBucket"),
        ("MultipleRegionsException", "two regions", (7, 5), "operations[0].exportBucket"),
        ("InvalidFileSystem", "NTFS is none", (4, 1), "fileSystem"),
        ("MissingManifestFieldException", "something is missing", (1, 1), ""),
    ],
)
def test_complaint_has_a_place(code, words, place, key):
    """A key in the service's words is blamed; else the code's usual one; else the whole text."""
    error = ManifestRefusedError(f"CreateJob refused: {code}: {words}", "Mend it.", code)

    fault = locate(GUIDE, "HD001.yml", error)

    assert (fault.line, fault.column) == place
    assert fault.key == key
    assert code in fault.problem
    assert fault.remedy == "Mend it."


def test_text_that_cannot_be_read_is_blamed_as_a_whole():
    """A complaint about a text that is no manifest any more is still told."""
    error = ManifestRefusedError("CreateJob refused: X", "Mend it.", "InvalidAddress")

    assert locate(b"\0", "x.yml", error).line == 1
