"""What counts as an empty drive: rules over values, and real folders."""

import os

import pytest

from daemon.drives.medium import contents
from daemon.drives.medium.contents import LISTED, MIB, Contents


def read(folder):
    """What is in a folder, as if it were a drive's root."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return contents.read(descriptor)
    finally:
        os.close(descriptor)


def test_what_windows_and_driveprep_make_does_not_count(tmp_path):
    """In any case of letters; a file of another name does."""
    for name in (*contents.OURS, "$MFT"):
        (tmp_path / name).touch()
    for name in ("System Volume Information", "$Recycle.Bin", "RECYCLER", "lost+found"):
        (tmp_path / name).mkdir()
    assert read(tmp_path).names == ()

    (tmp_path / ".hidden").touch()
    assert read(tmp_path).names == (".hidden",)


def test_a_file_with_the_name_of_a_system_folder_counts(tmp_path):
    """Windows makes folders of these names; a file or a link is somebody's own."""
    (tmp_path / "RECYCLER").write_text("thesis")
    (tmp_path / "lost+found").symlink_to(tmp_path)

    assert sorted(read(tmp_path).names) == ["RECYCLER", "lost+found"]


def test_the_many_spellings_of_a_system_folder_end_the_reading_too(tmp_path):
    """NTFS can hold thousands of them; what is behind them is not known, so it is not empty."""
    letters = "recycler"
    for number in range(LISTED + 1):
        case = (one.upper() if number >> bit & 1 else one for bit, one in enumerate(letters))
        (tmp_path / "".join(case)).mkdir()

    found = read(tmp_path)

    assert found.names == ()
    assert not found.is_empty
    assert found.describe().startswith("many system folders, ")


def test_a_root_with_very_many_files_is_not_read_to_its_end(tmp_path):
    """A few names are shown, and that there are more."""
    for number in range(LISTED + 1):
        (tmp_path / f"{number:03}").touch()

    found = read(tmp_path)

    assert len(found.names) == LISTED
    assert not found.is_complete
    assert found.describe().count(",") == 5
    assert "and more" in found.describe()


@pytest.mark.parametrize(
    ("used", "names", "said"),
    [
        (3 * MIB, (), ""),
        (3 * MIB, ("a\x1b[2J.txt",), r"a\x1b[2J.txt, 3.1 MB in use"),
        (200 * MIB, (), "no file is listed, 209.7 MB in use"),
    ],
)
def test_what_is_said_of_a_drive(used, names, said):
    """Nothing of an empty one; files that no listing shows are noticed by what they use."""
    found = Contents(used, 1 << 30, 4096, names)

    assert found.describe() == said
    assert found.is_empty == (not said)
    assert found.facts() == {"usedBytes": used, "contents": said}
