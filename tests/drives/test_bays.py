"""Named ports: rules over values."""

from dataclasses import replace

import pytest
from pairs import drive

from daemon.drives.recognition import Recognition
from daemon.drives.recognition.bays import Bays
from daemon.errors import DriveError

BAYS = {"usb-1": "bay 1", "usb-2": "bay 2", "usb-2b": "bay 2"}


def at(path, name="HD001", by_udev=True):
    """A mounted drive on that port."""
    one = drive(name)
    return replace(one, identity=replace(one.identity, path=path, by_udev=by_udev))


def test_a_port_has_a_name():
    """A bay can have several paths; without any path there is no bay."""
    bays = Bays(BAYS)

    assert [bays.of(at(path)) for path in ("usb-1", "usb-2", "usb-2b", "usb-3", None)] == [
        "bay 1", "bay 2", "bay 2", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "by_udev", "code"),
    [("usb-3", True, "not-in-bay"), (None, True, "not-in-bay"), (None, False, "bay-unknown")],
)
def test_only_named_bays(path, by_udev, code):
    """A drive elsewhere is picked only if `only_bays` is off."""
    one = at(path, by_udev=by_udev)

    assert Recognition(bays=Bays(BAYS)).pick("HD001", "NTFS", [one]) is one
    with pytest.raises(DriveError) as caught:
        Recognition(bays=Bays(BAYS, only=True)).pick("HD001", "NTFS", [one])
    assert caught.value.code == code


@pytest.mark.parametrize("only", [True, False])
def test_what_is_outside_of_the_bays(only):
    """Where only bays are used, a drive elsewhere is never written to."""
    bays = Bays(BAYS, only=only)

    assert bays.is_outside(at("usb-3")) is only
    assert bays.is_outside(at(None)) is only
    assert not bays.is_outside(at("usb-1"))


def test_partitions_of_one_disk_share_its_bay():
    """Only another disk on the same path is a contradiction."""
    one = at("usb-1")
    sibling = replace(one, device=replace(one.device, number=one.device.number + 1))
    other = replace(one, device=replace(one.device, disk=one.device.disk + 1))

    Bays(BAYS).check(one, [one, sibling])
    with pytest.raises(DriveError, match="two disks have the path of bay 1"):
        Bays(BAYS).check(one, [one, sibling, other])
