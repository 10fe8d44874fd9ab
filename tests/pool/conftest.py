"""The fixtures of the tests with several stations."""

from loop_drives import plug, real_drives_work
from stations import clock, cluster, database, join, service, station

__all__ = [
    "clock",
    "cluster",
    "database",
    "join",
    "plug",
    "real_drives_work",
    "service",
    "station",
]
