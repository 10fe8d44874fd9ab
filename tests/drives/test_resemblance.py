"""The same drive behind another bridge, and names that are nearly a deviceId. Rules over texts."""

import pytest

from daemon.drives.drive import Unmounted
from daemon.drives.identity import Identity
from daemon.drives.recognition import Recognition
from daemon.drives.recognition.resemblance import compare, nearly
from daemon.drives.sysfs import Device

DEVICE = Device(2049, "/dev/sdb1", 2048, 1, 10**9, is_write_protected=False)


def volume(**known):
    """A device that is present."""
    return Unmounted(DEVICE, Identity(**{"file_system": "ntfs", **known}))


def test_what_agrees_and_what_differs():
    """Only what both scans know is compared."""
    then = {"serial": "A", "wwn": None, "uuid": "U", "partuuid": "P"}

    assert compare(then, {"serial": "B", "wwn": "W", "uuid": "U"}) == (["uuid"], ["serial"])


@pytest.mark.parametrize(
    ("device_id", "known"),
    [
        ("WD-WX41E49NK123", {"serial": "WX41E49NK123"}),  # as on the sticker
        ("WX41E49NK123", {"serial": "575834314534394E4B313233"}),  # hex of its ASCII
        ("WD-WX41E49NK123", {"serial": "57442D575834314534394e4b313233"}),
        ("hd001", {"label": "HD001"}),
        ("HD001", {"label": " HD001 "}),
        ("\u201cHD001\u201d", {"label": "HD001"}),
        ("HD\u200b001", {"label": "HD001"}),
        ("Zu\u0308rich", {"label": "Z\u00fcrich"}),  # NFD and NFC
        ("HD\u2013001", {"label": "HD-001"}),  # an en dash
    ],
)
def test_a_name_that_nearly_fits_is_shown_and_never_matches(device_id, known):
    """The obstacle names the drive and the line for config.yml."""
    one = volume(**known)
    assert not Recognition().matches(one, device_id)

    reason = Recognition().explain_absent(device_id, [], [one])

    assert "it nearly fits /dev/sdb1" in str(reason)
    assert "devices:" in reason.hint
    ((key, value),) = known.items()
    assert f"{{{key}: " in reason.hint
    assert [found for found, _ in nearly(device_id, [one])] == [one]
    assert value.strip()[:2] in reason.hint


@pytest.mark.parametrize("label", ["HD002", "HD0011", "XHD001", ""])
def test_another_name_does_not_nearly_fit(label):
    """A guess is made only where the difference is one of spelling."""
    assert nearly("HD001", [volume(label=label)]) == []
