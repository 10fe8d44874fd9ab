"""Where in a manifest a complaint of the service most likely points: the key and its line."""

from __future__ import annotations

import re

from daemon.documents import reader
from daemon.documents.nodes import Scalar, walk
from daemon.errors import DocumentError, Fault, ManifestRefusedError

# The service sends a code, and sometimes names a key; without a name, the code leads here.
SUSPECTS = {
    "InvalidFileSystem": "fileSystem",
    "InvalidAddress": "returnAddress",
    "InvalidCustoms": "customs",
    "NoSuchBucket": "logBucket",
    "BucketPermission": "logBucket",
    "MultipleRegions": "exportBucket",
}


def locate(data: bytes, name: str, error: ManifestRefusedError) -> Fault:
    """Return the complaint as a fault of the manifest `data`; of its first line by default."""
    words = set(re.findall(r"\w+", str(error).replace("_", "")))
    suspect = SUSPECTS.get(error.code.removesuffix("Exception"))
    keys = _keys(data, name)
    named = [(path, key) for path, key in keys if key.text in words]
    likely = named or [(path, key) for path, key in keys if key.text == suspect]
    if not likely:
        return Fault(name, 1, 1, "", str(error), error.hint)
    path, key = likely[0]
    return Fault(name, key.line, key.column, path, str(error), error.hint, key.source)


def _keys(data: bytes, name: str) -> list[tuple[str, Scalar]]:
    """Return every key with its dotted path, in the order of the text."""
    try:
        root = reader.read(data, name, guide_spelling=True)
    except DocumentError:  # the file has changed, or the service refers to another text
        return []
    return [(entry.path, entry.key) for entry in walk(root) if entry.key]
