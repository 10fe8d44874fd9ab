"""The file systems that a manifest can ask for, and how the kernel and libblkid name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system under the names that show it on a drive."""

    superblock: str  # the type that libblkid finds on the medium
    mount_types: frozenset[str]  # the types that its mounts can have


NTFS_MOUNT_TYPES = frozenset(
    # fuseblk is any FUSE driver on a block device: ntfs-3g, but also exFAT's.
    {"fuseblk", "ntfs3", "ntfs", "ntfs-3g", "fuse.ntfs-3g", "fuseblk.ntfs-3g", "ufsd"}
)

# By the manifest's word. The export reference allows these two; other pages of the guide list more.
FILE_SYSTEMS: Mapping[str, FileSystem] = {
    "NTFS": FileSystem("ntfs", NTFS_MOUNT_TYPES),
    "EXT4": FileSystem("ext4", frozenset({"ext4"})),
}
