"""What lies in pending/ and is no manifest, and who may read what is dropped there."""

import errno
import os

import pytest

from daemon import spool
from daemon.system import durable


def test_what_is_ignored_has_its_reason(tmp_path):
    """Folders, copies, hidden and unfinished files; no manifest, no request of a command."""
    for name in ("a.yml", "b.yml~", ".c.yml", "d.yml.part", "e.pdf", "f.reason.txt"):
        (tmp_path / name).touch()
    (tmp_path / "g.yml").mkdir()
    spool.ask_to_retry(tmp_path, "HD001")

    assert dict(spool.ignored(tmp_path, 20)) == {
        "b.yml~": "it is an editor's copy",
        ".c.yml": "its name begins with a dot",
        "d.yml.part": "it is not complete yet, by its name",
        "e.pdf": "manifests end with .yml, .yaml, .manifest, .txt",
        "f.reason.txt": "it is the reason of a rejection",
        "g.yml": "it is a folder",
    }


def test_a_full_folder_is_not_listed_completely(tmp_path):
    """There is a limit, whatever is there."""
    for number in range(30):
        (tmp_path / str(number)).mkdir()

    assert len(list(spool.ignored(tmp_path, 20))) == 20


@pytest.mark.parametrize("has_links", [True, False])
def test_the_group_may_read_and_correct_what_is_dropped(tmp_path, monkeypatch, has_links):
    """As far as the umask lets it, and no one else, whatever the file system can do."""

    def cannot(*_):
        raise OSError(errno.EPERM, "no links here")

    if not has_links:
        monkeypatch.setattr(durable, "rename_to_free", cannot)
    before = os.umask(0)
    try:
        place = spool.drop(tmp_path, "a.yml", b"deviceId: HD001\n")
    finally:
        os.umask(before)

    assert place.read_bytes() == b"deviceId: HD001\n"
    assert place.stat().st_mode & 0o7777 == 0o660
    assert os.listdir(tmp_path) == ["a.yml"]
