"""The fixtures of the tests with real drives."""

from loop_drives import plug, plug_disk, real_drives_work

__all__ = ["plug", "plug_disk", "real_drives_work"]
