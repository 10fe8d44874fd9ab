"""The fixtures of the tests with real drives."""

from loop_drives import plug, real_drives_work

__all__ = ["plug", "real_drives_work"]
