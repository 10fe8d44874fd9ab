"""The configuration without what only the daemon may know."""

from __future__ import annotations

import json
from pathlib import Path

from daemon.config import loading, printing
from daemon.documents import reader
from daemon.system import durable

SECRET = frozenset({"credentials", "hooks", "print"})  # commands can have a password


def write(path: Path, copy: Path) -> None:
    """Write the configuration at `path` without them to `copy`, whole or not at all.

    The group that may read the folder's new files may read it. Raises ConfigError, and then `copy`
    stays as it was.
    """
    config = loading.load(path, {}, with_credentials=False)
    plain = reader.read(path.read_bytes(), str(path)).plain()
    shown: dict[str, object] = {key: text for key, text in plain.items() if key not in SECRET}
    if config.print:
        shown["print"] = printing.without_commands(config.print)
    with durable.folder(copy.parent) as folder:
        text = json.dumps(shown, indent=1).encode()  # JSON is YAML
        durable.replace(folder, copy.name, text, partial=f".{copy.name}.part", mode=0o640)
