"""Manifest texts beside the journal: it has more readers than may see a pinCode.

A text is a file `.texts/NUMBER.SHA-256` that its owner alone can read. It is durable before the
journal refers to it, and removed after the journal has ceased to. Safe to use from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from daemon.system import durable

FOLDER = ".texts"


class Texts:
    """The texts of the jobs of one journal. Errors are OSError, and ValueError for a wrong text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER

    def keep(self, number: int, text: bytes) -> str:
        """Make a text durable; return its SHA-256, by which it is read. Safe to repeat."""
        digest = sha256(text).hexdigest()
        with suppress(FileExistsError):
            self._make_folder()
            with durable.folder(self._folder) as folder:
                durable.create(folder, _name(number, digest), text)
                durable.sync(folder)
        return digest

    def read(self, number: int, digest: str) -> bytes:
        """Return a text. Raises FileNotFoundError, or ValueError if it is not what was kept."""
        text = (self._folder / _name(number, digest)).read_bytes()
        if sha256(text).hexdigest() != digest:
            raise ValueError(f"{self._folder / _name(number, digest)} is damaged")
        return text

    def remove(self, number: int, digest: str) -> None:
        """Remove a text that the journal does not refer to any more. Safe to repeat."""
        with suppress(FileNotFoundError):
            (self._folder / _name(number, digest)).unlink()

    def remove_all_but(self, kept: Collection[tuple[int, str]]) -> None:
        """Remove what a crash has left: texts, or parts of them, to which nothing refers."""
        with suppress(FileNotFoundError):
            for name in set(os.listdir(self._folder)) - {_name(*one) for one in kept}:
                (self._folder / name).unlink()

    def _make_folder(self) -> None:
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700)
            with durable.folder(self._folder.parent) as parent:
                durable.sync(parent)


def _name(number: int, digest: str) -> str:
    return f"{number}.{digest}"
