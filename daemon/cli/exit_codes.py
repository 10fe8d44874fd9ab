"""How an error is printed for a person, and its exit code for a program (sysexits(3))."""

from __future__ import annotations

import click

from daemon.desk import complaints
from daemon.errors import (
    ConfigError,
    DriveprepError,
    JournalError,
    ManifestError,
    ServiceError,
)

EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL, EX_CONFIG = 64, 65, 69, 75, 78
EXIT_CODES: tuple[tuple[type[DriveprepError], int], ...] = (
    (ConfigError, EX_CONFIG),
    (ManifestError, EX_DATAERR),
    (ServiceError, EX_UNAVAILABLE),
    (JournalError, EX_TEMPFAIL),
    (DriveprepError, EX_TEMPFAIL),
)
EXIT_STATUS = {
    0: "Done.",
    EX_USAGE: "The command was used wrongly.",
    EX_DATAERR: "A manifest has a fault.",
    EX_UNAVAILABLE: "The service cannot be reached, or refuses.",
    EX_TEMPFAIL: "Not now: a drive, a disk or another daemon is in the way.",
    EX_CONFIG: "The configuration cannot be used.",
}


def complain(error: DriveprepError) -> None:
    """Print an error on standard error: each fault with its line, or the sentence, and the hint."""
    for line in complaints.lines(error):
        click.echo(line, err=True)


def exit_code(error: DriveprepError) -> int:
    """Return the exit code of an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
