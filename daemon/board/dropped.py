"""What was dropped on the page: only that can be withdrawn there."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path

from daemon.system import durable

NAME = "dropped.json"
MAX_KEPT = 2000  # the oldest is forgotten first, and can then be withdrawn in the shell only
MAX_BYTES = 1 << 20


class DroppedHere:
    """Names and SHA-256 of manifests, stored in `folder` (None: not stored). For any thread."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], None] = {}
        with suppress(OSError, ValueError, TypeError):
            if folder:
                with durable.folder(folder) as at:
                    stored = json.loads(durable.read(at, NAME, MAX_BYTES))
                self._kept = {(str(name), str(sha256)): None for name, sha256 in stored}

    def all(self) -> frozenset[tuple[str, str]]:
        """Return each as name and SHA-256."""
        with self._lock:
            return frozenset(self._kept)

    def add(self, name: str, sha256: str) -> None:
        """Remember a manifest."""
        with self._lock:
            self._kept[name, sha256] = None
            while len(self._kept) > MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._save()

    def remove(self, name: str, sha256: str) -> None:
        """Forget a manifest. Safe to repeat."""
        with self._lock:
            self._kept.pop((name, sha256), None)
            self._save()

    def _save(self) -> None:
        if self._folder:
            data = json.dumps(list(self._kept)).encode()
            with durable.folder(self._folder) as at:
                durable.replace(at, NAME, data, partial=f".{NAME}.part")
