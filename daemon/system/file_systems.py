"""The file systems that a manifest can ask for, and how libblkid and the kernel name them."""

from __future__ import annotations

from collections.abc import Mapping

# These drivers mount nothing but NTFS.
NTFS_DRIVERS = frozenset({"ntfs3", "ntfs", "ntfs-3g", "fuse.ntfs-3g", "fuseblk.ntfs-3g"})
# fuseblk is any FUSE driver on a block device: ntfs-3g, but also exFAT's. ufsd mounts HFS+, too.
NTFS_MOUNT_TYPES = NTFS_DRIVERS | {"fuseblk", "ufsd"}

# The manifest's word -> the type in the superblock, and the types that a mount of it can have. The
# export reference allows these two file systems; other pages of the guide list more.
FILE_SYSTEMS: Mapping[str, tuple[str, frozenset[str]]] = {
    "NTFS": ("ntfs", NTFS_MOUNT_TYPES),
    "EXT4": ("ext4", frozenset({"ext4"})),
}
