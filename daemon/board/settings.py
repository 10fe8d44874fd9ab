"""The configuration, read again when its file changes; its credentials are never looked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from daemon.config import loading
from daemon.config.loading import Config
from daemon.errors import ConfigError
from daemon.system import stamps

log = logging.getLogger("daemon.board")


class Settings:
    """Call it for the current configuration. For any thread."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        """Read it. Raises ConfigError."""
        self.path, self._environment = path, environment
        self._lock = threading.Lock()
        self._stamp = stamps.of(path)
        self._config = self._load()

    def __call__(self) -> Config:
        """Return the configuration; a file that is faulty now leaves it as it was."""
        with self._lock:
            stamp = stamps.of(self.path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._read_again()
            return self._config

    def _read_again(self) -> None:
        try:
            config = self._load()
        except ConfigError as error:
            log.error("configuration unchanged: %s", error)  # noqa: TRY400 - it says it all
            return
        if config.board != self._config.board:
            log.warning("`board` has changed: systemctl restart driveprep-board")
        self._config = config

    def _load(self) -> Config:
        return loading.load(self.path, self._environment, with_credentials=False)
