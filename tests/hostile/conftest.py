"""The daemon as a child process and real drives, as the tests in ntfs/ have them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NTFS = Path(__file__).parents[1] / "ntfs"
for folder in (NTFS, NTFS.parent):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

# By another name: this folder's conftest is `conftest`, too.
_spec = importlib.util.spec_from_file_location("real_drives", NTFS / "conftest.py")
assert _spec
assert _spec.loader
real_drives = sys.modules["real_drives"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(real_drives)

plug, real_drives_work = real_drives.plug, real_drives.real_drives_work
