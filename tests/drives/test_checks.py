"""What forbids the use of a drive: rules over values, with a stable code for each reason."""

from dataclasses import replace

import pytest
from pairs import drive

from daemon.drives.checks import check_usable, how_to_make
from daemon.errors import DriveError

GOOD = drive("HD001")


def refusal(one, file_system="NTFS"):
    """The error that forbids the use of this drive."""
    with pytest.raises(DriveError) as caught:
        check_usable(one, file_system)
    return caught.value


def test_a_good_drive_is_usable():
    """A writable NTFS drive that is not hidden has no obstacle."""
    check_usable(GOOD, "NTFS")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"identity": {"trouble": "hung"}}, "drive-unidentified", "are unknown: hung"),
        ({"identity": {"file_system": "exfat"}}, "wrong-file-system", "asks for NTFS, but"),
        ({"mount": {"mount_type": "ext4"}}, "wrong-file-system", "mounted as ext4"),
        ({"is_covered": True}, "covered", "is hidden"),
        ({"device": {"is_write_protected": True}}, "write-protected", "refuses all writes"),
        ({"mount": {"super_options": "ro"}}, "read-only", "mounted read-only"),
        ({"mount": {"options": "ro"}}, "read-only-mount", "at this mount alone"),
    ],
)
def test_each_reason_has_its_own_code(changes, code, words):
    """Programs compare the code; a person reads the sentence and what to do."""
    parts = {
        name: replace(getattr(GOOD, name), **change) if isinstance(change, dict) else change
        for name, change in changes.items()
    }

    error = refusal(replace(GOOD, **parts))

    assert error.code == code
    assert words in str(error)
    assert error.hint


def test_the_command_for_the_wrong_file_system():
    """It is complete, and safe to paste whatever the mount point is called."""
    one = replace(GOOD, mount=replace(GOOD.mount, mount_point="/media/my disk; reboot"))

    hints = [how_to_make(name, one, [one, GOOD], "HD001") for name in ("EXT4", "NTFS")]

    assert hints[0].endswith("umount '/media/my disk; reboot' && mkfs.ext4 -L HD001 /dev/sd1")
    assert hints[1].endswith(
        "umount '/media/my disk; reboot' && umount /media/1 && driveprep format /dev/sd1 HD001"
    )


def test_erasing_is_not_advised_where_nothing_is_known_about_the_rest_of_the_disk():
    """The check just before use sees one volume alone."""
    hint = refusal(GOOD, "EXT4").hint

    assert "mkfs" not in hint
    assert "format" not in hint
