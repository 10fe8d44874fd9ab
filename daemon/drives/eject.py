"""Unmounts and powers off a prepared drive through udisks2, if the configuration asks for it."""

from __future__ import annotations

from daemon.errors import DriveError
from daemon.system import programs

EJECT_SECONDS = 60.0  # for each step; a slow stick may have a lot to write back


def eject(device_node: str, environment: programs.Environment) -> None:
    """Unmount the file system on `device_node` and power its drive off.

    udisksctl is found by the environment's PATH. Raises DriveError if udisks2 is not running or
    refuses; the drive then stays as it is.
    """
    for verb in ("unmount", "power-off"):
        command = ["udisksctl", verb, "--no-user-interaction", "--block-device", device_node]
        try:
            ended = programs.run(command, environment, EJECT_SECONDS)
        except OSError as error:
            raise _refused(device_node, verb, str(error)) from error
        if ended.code:
            # The lines above the last one complain that there is no terminal for a password.
            reason = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise _refused(device_node, verb, reason)


def _refused(device_node: str, verb: str, reason: str) -> DriveError:
    return DriveError(
        f"{device_node} is prepared, but udisks2 did not {verb} it: {reason}",
        f"Do it by hand: udisksctl {verb} -b {device_node}",
    )
