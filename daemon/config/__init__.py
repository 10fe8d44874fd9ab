"""The configuration file as typed values."""

from daemon.config.loading import Config, load

__all__ = ["Config", "load"]
