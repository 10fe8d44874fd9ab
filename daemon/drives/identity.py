"""The identity of a drive: its file system's label and UUID, its disk's serial and WWN.

udev and `blkid -o udev` use the same property names (ID_FS_TYPE, ID_SERIAL_SHORT, ...), so one
function reads both. Who is asked for them, and when, is in `probes`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

Properties = Mapping[str, str]

# libblkid's types that are not file systems -> what such a device is. A mount needs what is inside.
CONTAINERS: Mapping[str, str] = {
    "BitLocker": "locked by BitLocker",
    "crypto_LUKS": "locked by LUKS encryption",
    "cs_fvault2": "locked by FileVault encryption",
    "linux_raid_member": "a part of a RAID",
    "LVM2_member": "a part of LVM",
    "zfs_member": "a part of ZFS",
    "mpath_member": "one path of a multipath device",
    "bcache": "a part of bcache",
    "ceph_bluestore": "a part of Ceph",
    "drbd": "a part of DRBD",
    "stratis": "a part of Stratis",
    "DM_integrity": "a part of dm-integrity",
    "DM_verity_hash": "a part of dm-verity",
    "swap": "swap space",
    "swsuspend": "a hibernated system",
}
LOCKED = frozenset({"BitLocker", "crypto_LUKS", "cs_fvault2"})
# Partitions that never have a file system (ID_PART_ENTRY_TYPE): Microsoft reserved, BIOS boot,
# extended.
RESERVED = frozenset(
    {
        "e3c9e316-0b5c-4db8-817d-f92df00215ae",
        "21686148-6449-6e6f-744e-656564454649",
        "0x5",
        "0xf",
        "0x85",
    }
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What distinguishes a drive from others; None for what it does not have."""

    file_system: str | None = None  # the superblock's: ntfs, exfat, vfat, ext4, ...
    label: str | None = None
    uuid: str | None = None
    part_uuid: str | None = None
    serial: str | None = None  # of the whole disk, like wwn and model; only udev knows them
    wwn: str | None = None
    model: str | None = None
    path: str | None = None  # of the port, udev's ID_PATH
    by_udev: bool = False  # udev has described it; otherwise serial, wwn and model are unknown
    signatures: tuple[str, ...] = ()  # what is on it where that is not one clear file system
    is_reserved: bool = False  # a partition of a type that never has a file system
    is_empty: bool = False  # the medium itself was read, and nothing was found
    trouble: str = ""  # why the file system is unknown; "" if the drive was asked and has answered

    @property
    def container(self) -> str:
        """What it is a part of, or what locks it; "" if it is neither."""
        name = self.file_system or ""
        return CONTAINERS.get(name) or (name.endswith("_member") and f"a part of {name}") or ""

    @property
    def is_clear(self) -> bool:
        """Whether it has one file system, as far as was asked."""
        return bool(self.file_system) and not self.container

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known to be on it."""
        return not self.file_system and not self.signatures


def read(properties: Properties, disk: Properties, trouble: str = "") -> Identity:
    """The identity in a device's properties and those of its whole disk. Never raises."""
    both = {**properties, **disk}
    return Identity(
        file_system=properties.get("ID_FS_TYPE") or None,
        label=_encoded(properties, "ID_FS_LABEL"),
        uuid=_encoded(properties, "ID_FS_UUID"),
        part_uuid=properties.get("ID_PART_ENTRY_UUID") or None,
        # virtio and MMC disks have no short form; their long one is the serial alone.
        serial=both.get("ID_SERIAL_SHORT") or both.get("ID_SERIAL") or None,
        wwn=both.get("ID_WWN") or None,
        model=(_encoded(both, "ID_MODEL") or "").strip() or None,
        path=both.get("ID_PATH") or None,
        by_udev="SUBSYSTEM" in properties,  # udev sets it for every device, blkid for none
        is_reserved=properties.get("ID_PART_ENTRY_TYPE", "").lower() in RESERVED,
        trouble=trouble,
    )


def parse(text: bytes) -> dict[str, str]:
    """The properties in the output of `blkid -o udev`; lines of another form are skipped."""
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
    # In the plain value, spaces have become underscores; it counts only if there is no other.
    return decode(properties.get(f"{key}_ENC", "")) or properties.get(key) or None
