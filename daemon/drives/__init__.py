"""Which drives this machine has, whether they can be used, and how SIGNATURE gets onto one.

The module `signature` belongs to this interface, too; it is loaded only where it is imported.
"""

from daemon.drives.checks import check_usable
from daemon.drives.drive import Drive, Unmounted
from daemon.drives.inventory import Drives, is_still
from daemon.drives.recognition import Recognition

__all__ = ["Drive", "Drives", "Recognition", "Unmounted", "check_usable", "is_still"]
