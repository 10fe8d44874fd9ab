"""What lies in pending/ and is no manifest."""

from daemon import spool


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
