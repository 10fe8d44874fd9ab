"""Asks udev and blkid for the identity of a device.

udev comes first. If it is not running, or has not processed the device yet, `blkid -p` is asked.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.drives.identity import Identity, Properties, parse, read
from daemon.errors import DriveError
from daemon.system import programs
from daemon.system.printable import printable

if TYPE_CHECKING:
    import pyudev

UDEV_DATA = Path("/run/udev/data")  # udev's database, which libudev reads
UDEV_CONTROL = Path("/run/udev/control")  # exists while udevd is running; libudev checks the same

# -o udev, because only its *_ENC values can be decoded without ambiguity: `export` writes an umlaut
# and the text M-C alike, and with -d a label that holds a newline could forge the line of a UUID.
BLKID = ["blkid", "-p", "-o", "udev"]
NTFS_ALONE = ("-n", "ntfs")  # as if there were no other signature
BLKID_SECONDS = 5.0  # a sleeping disk needs some to spin up; a dead one never answers

NOTHING: Properties = {}


@dataclass(slots=True)
class Identities:
    """Asks udev and blkid. May be used from several threads."""

    udev: Callable[[int], Properties] = field(default_factory=lambda: Udev().properties)
    blkid: Callable[..., Properties | None] = field(default_factory=lambda: Blkid().properties)

    def is_final(self, identity: Identity) -> bool:
        """Whether asking again would add nothing: udev has answered, or is not running."""
        return not identity.trouble and (identity.by_udev or not UDEV_CONTROL.exists())

    def described(self, number: int, disk: int) -> Identity | None:
        """What udev's database says of the device; None if udev has not processed it yet."""
        properties, whole = self._known_to_udev(number, disk)
        return read(properties, whole) if properties else None

    def probed(self, number: int, disk: int, node: str) -> Identity:
        """What is on the device at this moment; udev's answer only if blkid cannot read it.

        udev's database lags behind the medium by some milliseconds, and more on a busy machine.
        """
        described, whole = self._known_to_udev(number, disk)
        bare = _without_file_system(described)
        try:
            found = self.blkid(node)
            if found is None:  # in a sandbox without device nodes
                return _as_described(described, whole, node)
            if names := _signatures(found):
                return self._unclear(names, bare, whole, node)
        except DriveError as error:
            return read(bare, whole, str(error))
        if "ID_FS_TYPE" in found:
            return read({**bare, **found}, whole)
        if "ID_FS_TYPE" in described:  # blkid ended without an answer
            return read(described, whole)
        trouble = f"no file system is found on {node}"
        return replace(read({**bare, **found}, whole, trouble), is_empty=True)

    def _known_to_udev(self, number: int, disk: int) -> tuple[Properties, Properties]:
        """Return udev's properties of a device and of its whole disk, which can be the same."""
        properties = self.udev(number)
        return properties, properties if disk == number else self.udev(disk)

    def _unclear(
        self, names: Sequence[str], bare: Properties, disk: Properties, node: str
    ) -> Identity:
        """What is on a device with several signatures, or with one that hides all others.

        Raises DriveError if it does not answer.
        """
        ntfs = self.blkid(node, NTFS_ALONE) or {}
        if "ID_FS_TYPE" in ntfs:  # its label and UUID, but it does not count as NTFS
            names = list(dict.fromkeys([*names, ntfs["ID_FS_TYPE"]]))
        elif len(names) == 1:
            return read({**bare, "ID_FS_TYPE": names[0]}, disk)
        known = read({**bare, **ntfs}, disk)
        return replace(known, file_system=None, signatures=tuple(names))


def _as_described(described: Properties, disk: Properties, node: str) -> Identity:
    if "ID_FS_TYPE" in described:
        return read(described, disk)
    who = "udev knows no" if described else "neither udev nor blkid knows a"
    return read(described, disk, f"{who} file system on {node}")


def _signatures(found: Properties) -> list[str]:
    """The signatures that blkid names, unless they are one file system.

    With a RAID's or LUKS's signature it looks for no other: the signature may be a left-over.
    """
    if ambivalent := found.get("ID_FS_AMBIVALENT"):  # "filesystem:ntfs filesystem:btrfs:1.0"
        return [one.split(":")[1] for one in ambivalent.split() if ":" in one]
    return [found["ID_FS_TYPE"]] if found.get("ID_FS_USAGE") in {"raid", "crypto"} else []


def _without_file_system(properties: Properties) -> dict[str, str]:
    return {key: value for key, value in properties.items() if not key.startswith("ID_FS_")}


class Udev:
    """udev's database, by device number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # libudev's reference counts are not safe with threads
        self._context: pyudev.Context | None = None

    def properties(self, number: int) -> Properties:
        """What udev knows about the device; nothing if it does not run or has not seen it yet."""
        if not UDEV_DATA.exists():
            return NOTHING
        # Loaded only if udev has something to say: it takes as long as the rest of `status`.
        import pyudev  # noqa: PLC0415

        with self._lock:
            try:
                self._context = self._context or pyudev.Context()
                device = pyudev.Devices.from_device_number(self._context, "block", number)
            except (ImportError, pyudev.DeviceNotFoundError):  # no libudev.so.1; device is gone
                return NOTHING
            return dict(device.properties) if device.is_initialized else NOTHING


class Blkid:
    """`blkid -p`, in a child process: only that can be abandoned when a drive never answers."""

    def __init__(self) -> None:
        self._children = programs.Abandonable()

    def properties(self, node: str, options: Sequence[str] = ()) -> Properties | None:
        """What blkid finds on the device; None if it cannot be run or may not read the device.

        Raises DriveError after BLKID_SECONDS without an answer, and then at once for as long as
        that child hangs in the kernel.
        """
        program = programs.find(BLKID[0], programs.SYSTEM)
        if not program or not os.access(node, os.R_OK):  # in a sandbox without device nodes
            return None
        command = [program, *BLKID[1:], *options, node]
        try:
            return parse(self._children.run(node, command, programs.SYSTEM, BLKID_SECONDS))
        except TimeoutError as error:
            raise DriveError(f"{printable(node)} {error}", code="drive-hung") from error
        except OSError:  # it cannot be run
            return None
