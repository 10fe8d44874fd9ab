"""Who a block device is: its file system's label and UUID, its disk's serial and WWN.

udev is asked first. Where it does not run, or has not come to the device yet, `blkid -p` is. Both
speak udev's properties (ID_FS_TYPE, ID_SERIAL_SHORT, ...), so there is one way to read them.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.errors import DriveError
from daemon.system.printable import printable

if TYPE_CHECKING:
    import pyudev

UDEV_DATA = Path("/run/udev/data")  # udev's database, which libudev reads
UDEV_CONTROL = Path("/run/udev/control")  # there while udevd runs; libudev asks the same

# -o udev, because only its *_ENC values can be decoded without doubt: `export` writes an umlaut and
# the text M-C alike, and with -d a label that holds a newline could forge the line of a UUID.
BLKID = ["blkid", "-p", "-o", "udev"]
KILL_SECONDS = 0.5  # a child that can die is gone long before
BLKID_SECONDS = 5.0  # a sleeping disk needs some to spin up; a dead one never answers
BLKID_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

Properties = Mapping[str, str]
NOTHING: Properties = {}


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a drive from others; None where it has no such thing."""

    file_system: str | None = None  # the superblock's: ntfs, exfat, vfat, ext4, ...
    label: str | None = None
    uuid: str | None = None
    part_uuid: str | None = None
    serial: str | None = None  # of the whole disk, as are wwn and model; only udev knows them
    wwn: str | None = None
    model: str | None = None
    by_udev: bool = False  # udev has described it; else serial, wwn and model are not known
    trouble: str = ""  # why the file system is unknown; "" where it was asked and has answered


def read(properties: Properties, disk: Properties, trouble: str = "") -> Identity:
    """The identity in a device's properties and those of its whole disk. Never raises."""
    both = {**properties, **disk}
    return Identity(
        file_system=properties.get("ID_FS_TYPE") or None,
        label=_encoded(properties, "ID_FS_LABEL"),
        uuid=_encoded(properties, "ID_FS_UUID"),
        part_uuid=properties.get("ID_PART_ENTRY_UUID") or None,
        # virtio and MMC have no short form, there the long one is the bare serial.
        serial=both.get("ID_SERIAL_SHORT") or both.get("ID_SERIAL") or None,
        wwn=both.get("ID_WWN") or None,
        model=(_encoded(both, "ID_MODEL") or "").strip() or None,
        by_udev="SUBSYSTEM" in properties,  # udev gives one to every device, blkid to none
        trouble=trouble,
    )


def parse(text: bytes) -> dict[str, str]:
    """The properties in the output of `blkid -o udev`; lines of another form are left out."""
    lines = (line.partition(b"=") for line in text.split(b"\n"))
    return {
        os.fsdecode(key): os.fsdecode(value)
        for key, equals, value in lines
        if equals and key.startswith(b"ID_")
    }


def decode(text: str) -> str:
    r"""The text behind udev's `*_ENC` form, in which each unsafe byte is written as `\x20`."""
    pattern = rb"\\x([0-9a-fA-F]{2})"
    return os.fsdecode(re.sub(pattern, lambda match: bytes([int(match[1], 16)]), os.fsencode(text)))


def _encoded(properties: Properties, key: str) -> str | None:
    # The plain value has blanks turned into _; it counts only where there is no other.
    return decode(properties.get(f"{key}_ENC", "")) or properties.get(key) or None


@dataclass(slots=True)
class Identities:
    """Asks udev and blkid. May be used from several threads."""

    udev: Callable[[int], Properties] = field(default_factory=lambda: Udev().properties)
    blkid: Callable[[str], Properties] = field(default_factory=lambda: Blkid().properties)

    def is_final(self, identity: Identity) -> bool:
        """Whether asking again would tell no more: udev has spoken, or is not there to speak."""
        return not identity.trouble and (identity.by_udev or not UDEV_CONTROL.exists())

    def described(self, number: int, disk: int) -> Identity | None:
        """What udev's database says of the device; None where udev has not come to it."""
        properties = self.udev(number)
        return read(properties, self.udev(disk)) if properties else None

    def probed(self, number: int, disk: int, node: str) -> Identity:
        """What is on the device at this moment; udev's word only where blkid may not look.

        udev's database lags behind the medium by some milliseconds, and more on a busy machine.
        """
        described, whole = self.udev(number), self.udev(disk)
        try:
            found = self.blkid(node)
        except DriveError as error:
            return read(_without_file_system(described), whole, str(error))
        if "ID_FS_TYPE" in found:
            return read({**_without_file_system(described), **found}, whole)
        if "ID_FS_TYPE" in described:  # in a sandbox without device nodes
            return read(described, whole)
        return read(described, whole, f"neither udev nor blkid knows a file system on {node}")


def _without_file_system(properties: Properties) -> dict[str, str]:
    return {key: value for key, value in properties.items() if not key.startswith("ID_FS_")}


class Udev:
    """udev's database, by device number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # libudev's reference counts are not made for threads
        self._context: pyudev.Context | None = None

    def properties(self, number: int) -> Properties:
        """What udev has said of the device; nothing where it does not run or has not come to it."""
        if not UDEV_DATA.exists():
            return NOTHING
        # Loaded where udev has something to say: it takes as long as all else of `status`.
        import pyudev  # noqa: PLC0415

        with self._lock:
            try:
                self._context = self._context or pyudev.Context()
                device = pyudev.Devices.from_device_number(self._context, "block", number)
            except (ImportError, pyudev.DeviceNotFoundError):  # no libudev.so.1; pulled out by now
                return NOTHING
            return dict(device.properties) if device.is_initialized else NOTHING


class Blkid:
    """`blkid -p`, in a child: only a child can be left behind when a drive never answers."""

    def __init__(self) -> None:
        self._hung: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def properties(self, node: str) -> Properties:
        """What blkid finds on the device; nothing where it may not look or finds nothing.

        Raises DriveError after BLKID_SECONDS without an answer, and then at once for as long as
        that child hangs in the kernel: no second one is sent after it.
        """
        with self._lock:
            child = self._hung.get(node)
            if child and child.poll() is None:
                raise DriveError(f"{printable(node)} still does not answer")
            self._hung.pop(node, None)
        return parse(self._output(node))

    def _output(self, node: str) -> bytes:
        program = shutil.which(BLKID[0], path=BLKID_ENVIRONMENT["PATH"])
        if not program or not os.access(node, os.R_OK):  # in a sandbox without device nodes
            return b""
        try:
            child = subprocess.Popen(
                [program, *BLKID[1:], node],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=BLKID_ENVIRONMENT,
                close_fds=False,  # ours are close-on-exec, PEP 446; posix_spawn(3) is then enough
            )
        except OSError:  # it cannot be run
            return b""
        if not _ends(child, BLKID_SECONDS):
            self._leave(node, child)
            raise DriveError(f"{printable(node)} gave no answer in {BLKID_SECONDS:g} s")
        return child.communicate()[0]

    def _leave(self, node: str, child: subprocess.Popen[bytes]) -> None:
        if child.stdout:
            child.stdout.close()
        child.kill()
        try:
            child.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:  # in the kernel's D state not even SIGKILL ends it
            with self._lock:
                self._hung[node] = child


def _ends(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a child whose output a pipe can hold ends in time, the moment it does.

    Popen.wait() with a limit would only look now and then.
    """
    descriptor = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)
