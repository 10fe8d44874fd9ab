"""A machine of disks and what is built on them, as sysfs, udev and the mount table show it.

The layout is that of Linux 6: real folders below `devices/`, links in `class/block` and
`dev/block`, `slaves/` and `holders/` between devices, `dm/`, `md/` and `bcache/` in those that have
one. For kernels that have no device mapper and no md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from daemon.drives import mounts, sysfs
from daemon.drives.inventory import Drives
from daemon.drives.probes import Identities

SECTORS = 1 << 21  # 1 GiB
UDEV = {"SUBSYSTEM": "block"}


class FakeMachine:
    """Disks, partitions and layers, each with what udev and blkid know about it."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self._sys = folder / "sys"
        self._table = folder / "mountinfo"
        self._swaps = folder / "swaps"
        self._places: dict[str, Path] = {}
        self._numbers: dict[str, str] = {}
        self.udev: dict[str, Mapping[str, str]] = {}
        self.blkid: dict[str, Mapping[str, str] | None] = {}  # None: it may not be read
        self.opened: list[str] = []
        (folder / "partitions").write_text("major minor  #blocks  name\n\n")
        self._partitions = folder / "partitions"
        for place in ("class/block", "dev/block", "devices/virtual/block"):
            (self._sys / place).mkdir(parents=True)
        self._table.write_text("27 1 0:30 / / rw - overlay none rw\n")
        self._swaps.write_text("Filename Type Size Used Priority\n")
        monkeypatch.setattr(sysfs, "SYS_DEV_BLOCK", self._sys / "dev/block")
        monkeypatch.setattr(sysfs, "SYS_CLASS_BLOCK", self._sys / "class/block")
        monkeypatch.setattr(sysfs, "PROC_PARTITIONS", folder / "partitions")
        monkeypatch.setattr(sysfs, "PROC_SWAPS", self._swaps)
        monkeypatch.setattr(mounts, "PROC_MOUNTINFO", self._table)
        self.drives = Drives(Identities(udev=self._ask_udev, blkid=self._ask_blkid))

    def disk(self, name: str, *, serial: str = "", fs: str = "", sectors=SECTORS, **known) -> None:
        """A disk of its own, with a serial if udev knows one."""
        self._add(name, self._sys / "devices/pci0000:00/block" / name, "disk", sectors)
        (self._places[name] / "slaves").mkdir()
        self._know(name, fs, **known)
        self.udev[name] = {**self.udev[name], **({"ID_SERIAL_SHORT": serial} if serial else {})}

    def partition(self, name: str, disk: str, *, fs: str = "", sectors=SECTORS, **known) -> None:
        """A partition of a disk, also of one that is built on others."""
        self._add(name, self._places[disk] / name, "partition", sectors)
        (self._places[name] / "partition").write_text("1\n")
        self._know(name, fs, **known)

    def layer(
        self, name: str, on: list[str], *, fs: str = "", files: Mapping[str, str], **known
    ) -> None:
        """A device that is built on others, with these files such as dm/uuid."""
        self._add(name, self._sys / "devices/virtual/block" / name, "disk", SECTORS)
        (self._places[name] / "slaves").mkdir()
        for below in on:
            (self._places[name] / "slaves" / below).symlink_to(self._places[below])
            (self._places[below] / "holders" / name).symlink_to(self._places[name])
        for file, text in files.items():
            (self._places[name] / file).parent.mkdir(exist_ok=True)
            (self._places[name] / file).write_text(f"{text}\n")
        self._know(name, fs, **known)

    def mapped(self, name: str, on: list[str], uuid: str, **known) -> None:
        """A device of the device mapper; its name in /dev/mapper is the end of its uuid."""
        files = {"dm/uuid": uuid, "dm/name": uuid.rpartition("-")[2]}
        self.layer(name, on, files=files, **known)

    def mount(
        self, name: str, place: str, *, root: str = "/", kind: str = "fuseblk", source: str = ""
    ) -> None:
        """One more line of the mount table; with a source, the device number is not the disk's."""
        number = "0:45" if source else self._numbers[name]
        identifier = 100 + len(self._table.read_text().splitlines())
        line = f"{identifier} 27 {number} {root} {place} rw - {kind} {source or name} rw\n"
        self._table.write_text(self._table.read_text() + line)

    def swap_to(self, node: str) -> None:
        """The kernel swaps to this device."""
        self._swaps.write_text(f"{self._swaps.read_text()}{node} partition 9 0 -2\n")

    def _add(self, name: str, place: Path, kind: str, sectors: int) -> None:
        number = f"8:{len(self._places)}"
        self._places[name], self._numbers[name] = place, number
        (place / "holders").mkdir(parents=True)
        major, minor = number.split(":")
        uevent = f"MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nDEVTYPE={kind}\n"
        uevent += "DISKSEQ=7\n" if kind == "disk" else ""
        for file, text in {"size": sectors, "ro": 0, "dev": number, "uevent": uevent}.items():
            (place / file).write_text(f"{text}\n")
        (self._sys / "class/block" / name).symlink_to(place)
        if sectors:  # the kernel lists no empty device here
            line = f" {major} {minor} {sectors // 2} {name}\n"
            self._partitions.write_text(self._partitions.read_text() + line)
        (self._sys / "dev/block" / number).symlink_to(place)

    def _know(self, name: str, fs: str, *, label: str = "", more: Mapping[str, str] = {}) -> None:
        known = {"ID_FS_TYPE": fs} if fs else {}
        known |= {"ID_FS_LABEL": label} if label else {}
        if fs.endswith("_member") or fs == "crypto_LUKS":
            known["ID_FS_USAGE"] = "crypto" if fs == "crypto_LUKS" else "raid"
        self.udev[name] = {**UDEV, **known, **more}
        self.blkid[name] = known

    def _ask_udev(self, number: int) -> Mapping[str, str]:
        text = f"{os.major(number)}:{os.minor(number)}"
        return next((self.udev[one] for one, other in self._numbers.items() if other == text), {})

    def _ask_blkid(self, node: str, options: tuple[str, ...] = ()) -> Mapping[str, str] | None:
        name = node.removeprefix("/dev/")
        self.opened.append(name)
        return {} if options else self.blkid[name]
