"""The commands: what they print, and their exit codes."""

from daemon.cli.main import main

__all__ = ["main"]
