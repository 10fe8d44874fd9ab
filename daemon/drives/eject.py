"""Unmounts and powers off a prepared drive through udisks2, where the configuration asks for it."""

from __future__ import annotations

import os
import subprocess

from daemon.errors import DriveError

LIMIT_SECONDS = 60.0  # a slow stick may have much to write back


def eject(device_node: str) -> None:
    """Unmount the file system on `device_node` and power its drive off.

    Raises DriveError where udisks2 does not run or refuses; the drive then stays as it is.
    """
    for verb in ("unmount", "power-off"):
        command = ["udisksctl", verb, "--no-user-interaction", "--block-device", device_node]
        try:
            subprocess.run(
                command,
                env={"PATH": os.environ.get("PATH", os.defpath)},  # ours may hold AWS's secret key
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LIMIT_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            # Above its last line it complains that it has no terminal to ask for a password.
            said = error.stderr.strip().rpartition("\n")[2]
            raise _refused(device_node, verb, said) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _refused(device_node, verb, str(error)) from error


def _refused(device_node: str, verb: str, words: str) -> DriveError:
    return DriveError(
        f"{device_node} is prepared, but udisks2 did not {verb} it: {words}",
        f"Do it by hand: udisksctl {verb} -b {device_node}",
    )
