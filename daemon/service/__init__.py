"""The daemon: waits for events, scans, chooses jobs, starts workers, reports."""

from daemon.service.run import run

__all__ = ["run"]
