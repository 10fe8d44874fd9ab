"""`driveprep`: the group of all commands, and how their errors become exit codes.

A new command is a function in one of the `*_commands` modules, and a name in COMMANDS.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from daemon.cli import (
    board,
    drive_commands,
    job_commands,
    manifest_commands,
    pool_commands,
    service_commands,
)
from daemon.cli.exit_codes import EX_TEMPFAIL, EX_USAGE, complain, exit_code
from daemon.errors import DriveprepError

COMMANDS: tuple[click.Command, ...] = (
    service_commands.run,
    service_commands.status,
    service_commands.doctor,
    service_commands.backup,
    service_commands.restore,
    service_commands.emulator,
    board.board,
    service_commands.demo,
    manifest_commands.new,
    manifest_commands.check,
    manifest_commands.submit,
    manifest_commands.dismiss,
    manifest_commands.retry,
    drive_commands.drives,
    drive_commands.format_,
    job_commands.jobs,
    job_commands.show,
    job_commands.cancel,
    job_commands.update,
    job_commands.label,
    job_commands.slip,
    job_commands.print_,
    job_commands.shipped,
    pool_commands.pool,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="driveprep")
def driveprep() -> None:
    """Prepare NTFS drives for AWS Import/Export (Disk) export jobs.

    Drop a manifest into the spool's pending/ folder and plug the drive in.
    """


for command in COMMANDS:
    driveprep.add_command(command)


def main() -> NoReturn:
    """Run a command; an error is printed as one sentence and a hint, and sets the exit code."""
    _speak_utf8()
    try:
        driveprep.main(prog_name="driveprep", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(EX_USAGE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)  # like a shell after SIGINT
    except DriveprepError as error:
        complain(error)
        sys.exit(exit_code(error))
    except BrokenPipeError:
        os._exit(0)  # the program that reads our output has seen enough
    except OSError as error:
        complain(DriveprepError(str(error)))
        sys.exit(EX_TEMPFAIL)
    sys.exit(0)


def _speak_utf8() -> None:
    """Start again in Python's UTF-8 mode (PEP 540) if the locale asks for another encoding.

    Labels, file names and manifests are UTF-8, whatever the locale of the user is.
    """
    if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
        from daemon.system import programs  # noqa: PLC0415 - hardly ever needed

        programs.restart(["-X", "utf8"])
