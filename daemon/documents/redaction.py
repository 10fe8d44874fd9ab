"""What of a text is never shown: the values of keys that may be secrets, and their lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_SECRET = re.compile(r"pass|pwd|\bpin|secret|session_?token|://.*@", re.IGNORECASE)
_PARTS = ("pass", "pwd", "pin", "secret", "token", "@")  # each match of _SECRET has one of them
_QUOTATION = re.compile(r"""[^"']*:\s*(?P<mark>["'])""")
_KEY = re.compile(r"(?P<indent> *)(?:- +)*[\w.-]+ *:")


@lru_cache(maxsize=512)  # manifests have the same few keys, and a station thousands of manifests
def is_secret(key: str) -> bool:
    """Return whether the value of a key with this name is kept out of every message."""
    return _SECRET.search(key) is not None


@lru_cache(maxsize=512)
def dotted(path: str, key: str) -> str:
    """Return the name of a key below `path`; below a secret key, only the secret key's own name."""
    if is_secret(path):
        return path
    return f"{path}.{shown(key)}" if path else shown(key)


def shown(value: str) -> str:
    """Return a value of any length and content, made fit for one line of a message."""
    return value if len(value) <= 60 and value.isprintable() else f"{value[:57]!a}..."


def secret_lines(lines: Sequence[str]) -> frozenset[int]:
    """Return the lines that name a secret, each with what follows up to the next key."""
    text = "\n".join(lines).lower()
    if not any(part in text for part in _PARTS):
        return frozenset()
    secret: set[int] = set()
    depth: int | None = None  # of the key whose secret continues
    mark = ""  # the quotation mark that the secret still lacks
    for number, line in enumerate(lines):
        key = _KEY.match(line)
        if _SECRET.search(line):
            depth = len(key["indent"]) if key else len(line)
        elif depth is not None and key and len(key["indent"]) <= depth and not mark:
            depth = None
        if depth is not None:
            secret.add(number)
            mark = _open_mark(line, mark)
    return frozenset(secret)


def _open_mark(line: str, mark: str) -> str:
    """Return the quotation mark that is open at the end of a line, if any."""
    if not mark:
        found = _QUOTATION.match(line)
        if not found:
            return ""
        mark, line = found["mark"], line[found.end() :]
    inner = re.sub(r"\\.", "", line) if mark == '"' else line
    return "" if inner.count(mark) % 2 else mark
