"""Where in a manifest a complaint of the service most likely points: its key and line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from daemon.documents import reader
from daemon.documents.reader import Mapping, Node, Scalar, Sequence
from daemon.errors import DocumentError, Fault, ManifestRefusedError

# The service names a code, and sometimes a key in its words; the code alone leads here.
SUSPECTS = {
    "InvalidFileSystem": "fileSystem",
    "InvalidAddress": "returnAddress",
    "InvalidCustoms": "customs",
    "NoSuchBucket": "logBucket",
    "BucketPermission": "logBucket",
    "MultipleRegions": "exportBucket",
}


def blame(data: bytes, name: str, error: ManifestRefusedError) -> Fault:
    """The complaint as a fault of the manifest `data`; of its first line where nothing is named."""
    try:
        keys = list(_keys(reader.read(data, name, guide_spelling=True), ""))
    except DocumentError:  # it has changed its mind, or the service means another text
        keys = []
    words = set(re.findall(r"\w+", str(error).replace("_", "")))
    suspect = SUSPECTS.get(error.code.removesuffix("Exception"))
    named = [(path, key) for path, key in keys if key.text in words]
    likely = named or [(path, key) for path, key in keys if key.text == suspect]
    if not likely:
        return Fault(name, 1, 1, "", str(error), error.hint)
    path, key = likely[0]
    return Fault(name, key.line, key.column, path, str(error), error.hint, key.source)


def _keys(node: Node, path: str) -> Iterator[tuple[str, Scalar]]:
    """Every key below a node with its dotted path, in the order of the text."""
    match node:
        case Mapping(entries=entries):
            for key, value in entries:
                below = f"{path}.{key.text}" if path else key.text
                yield below, key
                yield from _keys(value, below)
        case Sequence(items=items):
            for number, item in enumerate(items):
                yield from _keys(item, f"{path}[{number}]")
        case Scalar():
            return
