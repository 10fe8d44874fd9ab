"""The pool as lines of JSON, without the secrets that manifests may hold."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.documents.redaction import secret_lines
from daemon.pool.recovery import export
from daemon.system import durable

if TYPE_CHECKING:
    from daemon.pool.connection import Connections

HIDDEN = "(not exported: it may be a secret)"


def lines(connections: Connections) -> Iterator[str]:
    """Yield each row of the pool as one line of JSON. Raises PoolError, PoolAwayError."""
    with closing(connections.open()) as connection:
        for row, text in export.rows(connection):
            if text is not None:
                row["text"] = _shown(text)
            yield json.dumps(row, ensure_ascii=False) + "\n"


def write(connections: Connections, target: Path) -> None:
    """Write these lines to the new file `target`, mode 0600, whole or not at all.

    Raises PoolError, PoolAwayError, FileExistsError when there is such a file, and OSError.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines(connections))
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        target.unlink()
        raise
    with durable.folder(target.parent) as parent:
        durable.sync(parent)


def _shown(text: bytes) -> str:
    found = text.decode("utf-8", "replace").splitlines()
    secret = secret_lines(found)
    return "\n".join(HIDDEN if number in secret else line for number, line in enumerate(found))
