"""What block devices are built on others: encryption, LVM, RAID, bcache, multipath.

The kernel links each device with those below it in `slaves/` and with those above it in `holders/`.
Everything here takes a device's folder in sysfs, and reads nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.system.printable import printable

MULTIPATH = "multipath"  # several paths to one drive
PARTITION = "a partition"  # mapped by kpartx, not by the kernel
# What is below such a layer is the same, byte by byte.
TRANSPARENT = frozenset({MULTIPATH, PARTITION})
LUKS, BITLOCKER, CIPHER = "LUKS encryption", "BitLocker", "encryption"
ENCRYPTED = frozenset({LUKS, BITLOCKER, CIPHER})
# How libdevmapper's users name their devices (dm/uuid), the first match counts.
_BY_UUID = (
    ("mpath-", MULTIPATH),
    (r"part\d+-", PARTITION),
    ("LVM-", "LVM"),
    ("CRYPT-LUKS", LUKS),
    ("CRYPT-BITLK", BITLOCKER),
    ("CRYPT-VERITY", "dm-verity"),
    ("CRYPT-INTEGRITY", "dm-integrity"),
    ("CRYPT-", CIPHER),
    ("DMRAID-", "RAID"),
    ("stratis-", "Stratis"),
    ("VDO-", "VDO"),
)
# Devices without `slaves/` that are not disks of their own either, by the start of their name.
_BY_NAME = (("zd", "a ZFS volume"), ("rbd", "a Ceph volume"), ("drbd", "DRBD"))
# The files in which dislocker and VeraCrypt show what they have decrypted; a loop device does the
# rest.
_BY_FILE = ((r"/dislocker-file$", BITLOCKER), (r"/\.veracrypt_aux_mnt\d+/volume$", CIPHER))


@dataclass(frozen=True, slots=True)
class Layer:
    """A device that is built on others."""

    node: str  # such as /dev/md0 or /dev/mapper/vg-data
    kind: str
    on: tuple[str, ...]  # the nodes of the devices directly below it, as far as they are known


def layers(whole: Path, name: str) -> tuple[Layer, ...]:
    """Return the layers of a whole device, from itself down; none if it is a disk of its own."""
    if _links(whole, "slaves"):
        return tuple(dict.fromkeys(_layers(whole)))
    if name.startswith("loop"):
        return _decrypted(whole, name)
    kinds = [kind for start, kind in _BY_NAME if name.startswith(start)]
    return tuple(Layer(f"/dev/{name}", kind, ()) for kind in kinds)


def _decrypted(whole: Path, name: str) -> tuple[Layer, ...]:
    file = _text(whole / "loop" / "backing_file") or ""
    kinds = [kind for pattern, kind in _BY_FILE if re.search(pattern, file)]
    return tuple(Layer(f"/dev/{name}", kind, (file,)) for kind in kinds)


def is_plain(stack: Iterable[Layer]) -> bool:
    """Return whether the medium below these layers has the same bytes."""
    return all(layer.kind in TRANSPARENT for layer in stack)


def describe(stack: Iterable[Layer]) -> str:
    """Such as "LVM (/dev/mapper/vg-x) on LUKS encryption (/dev/mapper/x) on /dev/sda3"."""
    stack = tuple(stack)
    nodes = {layer.node for layer in stack}
    lowest = [one for layer in stack for one in layer.on if one not in nodes]
    parts = [f"{layer.kind} ({layer.node})" for layer in stack]
    parts += [" and ".join(dict.fromkeys(lowest))] if lowest else []
    return printable(" on ".join(parts))


def seen_below(stack: Iterable[Layer]) -> str:
    """What is seen on the devices below these layers, instead of what is in them."""
    kinds = [layer.kind for layer in stack if layer.kind not in TRANSPARENT]
    if not ENCRYPTED.isdisjoint(kinds):
        return "ciphertext"
    if any(kind.startswith("RAID") for kind in kinds):
        return "a member of the RAID"
    return f"a part of {kinds[0].removeprefix('a ')}" if kinds else "the same"


def bottom(whole: Path) -> list[Path]:
    """Return the folders of the disks of their own that a whole device is built on, or itself.

    The paths of a multipath device are one drive, and the first of them stands for it.
    """
    below = _slaves(whole)
    if below and kind(whole) == MULTIPATH:
        below = below[:1]
    disks = [disk for one in below for disk in bottom(_whole(one))]
    return list(dict.fromkeys(disks)) or [whole]


def holders(folder: Path) -> list[Path]:
    """Return the folders of the devices that are built directly on this disk or partition."""
    return _links(folder, "holders")


def is_path(folder: Path) -> bool:
    """Return whether a disk, or the disk of a partition, is one path of a multipath device."""
    return any(kind(one) == MULTIPATH for one in holders(_whole(folder)))


def kind(whole: Path) -> str:
    """Return what a device that is built on others is."""
    if (level := _text(whole / "md" / "level")) is not None:
        return f"RAID ({level})"
    if (uuid := _text(whole / "dm" / "uuid")) is not None:
        return next(
            (name for prefix, name in _BY_UUID if re.match(prefix, uuid)), "the device mapper"
        )
    return "bcache" if (whole / "bcache").exists() else "another device"


def node(folder: Path) -> str:
    """Return a device's node as people know it: /dev/mapper/NAME rather than /dev/dm-0."""
    name = _text(folder / "dm" / "name")
    return f"/dev/mapper/{name}" if name else f"/dev/{folder.resolve().name.replace('!', '/')}"


def _layers(whole: Path) -> Iterator[Layer]:
    below = _slaves(whole)
    if below:
        yield Layer(node(whole), kind(whole), tuple(node(one) for one in below))
    for one in below:
        yield from _layers(_whole(one))


def _slaves(whole: Path) -> list[Path]:
    return _links(whole, "slaves")


def _links(folder: Path, kind: str) -> list[Path]:
    try:
        names = os.listdir(f"{folder}/{kind}")  # no Path: every scan asks this of all drives
    except OSError:  # a partition has no slaves; or it was unplugged in the meantime
        return []
    return [(folder / kind / name).resolve() for name in sorted(names)]


def _whole(folder: Path) -> Path:
    return folder.resolve().parent if (folder / "partition").exists() else folder


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None
