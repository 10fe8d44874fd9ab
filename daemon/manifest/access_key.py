"""The one line that may be added to a manifest: a missing accessKeyId."""

from __future__ import annotations

import re

from daemon.documents import reader
from daemon.documents.nodes import Mapping, Plain
from daemon.documents.text import LINE_END
from daemon.errors import DocumentError

_GUIDE_LINE = re.compile(r"\s*\w+:\S")
_SAFE_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*")  # what every access key of AWS looks like


def added(data: bytes, root: Mapping, access_key_id: str) -> str | None:
    """Return the text with one more line above its second key; None if it would not read so.

    `root` is what `data` was read as.
    """
    keys = [key for key, _ in root.entries[:2]]
    if len(keys) < 2 or keys[0].line == keys[1].line:  # {manifestVersion: 2.0, ...}
        return None
    text = data.decode()
    line_end = list(LINE_END.finditer(text))[keys[1].line - 2]
    colon = ":" if _GUIDE_LINE.match(keys[0].source) else ": "
    quoted = access_key_id.replace("'", "''")
    value = access_key_id if _SAFE_PLAIN.fullmatch(access_key_id) else f"'{quoted}'"
    line = f"{' ' * (keys[1].column - 1)}accessKeyId{colon}{value}{line_end[0]}"
    text = text[: line_end.end()] + line + text[line_end.end() :]
    expected = root.plain() | {"accessKeyId": access_key_id}
    return text if _reads_as(text, expected) else None


def _reads_as(text: str, expected: dict[str, Plain]) -> bool:
    try:
        return reader.read(text.encode(), "", guide_spelling=True).plain() == expected
    except DocumentError:
        return False
