"""Which drives this machine has, whether they can be used, and how SIGNATURE gets onto one."""

from daemon.drives import signature
from daemon.drives.checks import check_usable
from daemon.drives.drive import Drive, Unmounted
from daemon.drives.inventory import Drives, is_still

__all__ = ["Drive", "Drives", "Unmounted", "check_usable", "is_still", "signature"]
