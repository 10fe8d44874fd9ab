"""Which drive the next step of a job needs: rules over values, nothing is opened."""

import pytest
from pairs import PENDING, REJECTED, SIGNED, SUBMITTED, SUBMITTING, device, drive, job, pairing

from daemon.drives.drive import Unmounted
from daemon.drives.identity import Identity
from daemon.drives.recognition import Recognition
from daemon.errors import DriveAbsentError, DriveError, ManifestError
from daemon.preparation.pairing import named


@pytest.mark.parametrize("state", [PENDING, SUBMITTED])
def test_drive_that_the_step_needs(state):
    """A job that is to be submitted or signed gets the drive with its deviceId."""
    one, drives = job(state), [drive("HD001", 1), drive("HD002", 2)]

    assert pairing([one], *drives).drive_for(one) is drives[0]


@pytest.mark.parametrize("state", [SUBMITTING, SIGNED, REJECTED])
@pytest.mark.parametrize("drives", [(), (drive("HD001"),), (drive("HD001"), drive("HD001", 2))])
def test_step_that_needs_no_drive(state, drives):
    """Doubt is settled and papers are filed without any drive, whatever is plugged in."""
    one = job(state)

    assert pairing([one], *drives).drive_for(one) is None


@pytest.mark.parametrize("state", [PENDING, SUBMITTED])
def test_drive_that_is_not_here(state):
    """A job whose drive is not here waits; one that is plugged in but not mounted is named."""
    one = job(state)

    with pytest.raises(DriveAbsentError, match="no mounted drive matches HD001"):
        pairing([one], drive("HD002")).drive_for(one)

    unmounted = Unmounted(device(3), Identity(file_system="ntfs", label="HD001"))
    with pytest.raises(DriveError, match="present but not mounted: /dev/sd3"):
        pairing([one], present=[unmounted]).drive_for(one)


def test_several_manifests_for_a_device():
    """None of several pending manifests for a deviceId is preferred; all are told of all."""
    jobs = [job(PENDING, name="a.yml"), job(PENDING, name="b.yml")]

    for one in jobs:
        with pytest.raises(ManifestError, match=r"several manifests name HD001: a\.yml, b\.yml"):
            pairing(jobs, drive("HD001")).drive_for(one)


def test_next_manifest_while_the_first_is_on_its_way():
    """A manifest that waits is no hindrance to the job that was submitted before it."""
    jobs = [job(SUBMITTED), job(PENDING, name="b.yml"), job(SIGNED), job(REJECTED, name="c.yml")]
    here = drive("HD001")

    assert [pairing(jobs, here).drive_for(one) for one in jobs] == [here, here, None, None]


def test_two_drives_for_a_device():
    """Both are named and neither is used."""
    one = job(PENDING)

    with pytest.raises(DriveError, match=r"/dev/sd1 .*/dev/sd2 "):
        pairing([one], drive("HD001", 1), drive("HD001", 2)).drive_for(one)


@pytest.mark.parametrize("state", [PENDING, SUBMITTED])
def test_one_drive_for_two_devices(state):
    """A drive that two waiting jobs could mean is given to neither."""
    jobs, devices = [job(PENDING), job(state, "HD002", "b.yml")], {"HD002": {"label": "HD001"}}
    look = pairing(jobs, drive("HD001"), recognition=Recognition(devices))

    for one in jobs:
        with pytest.raises(DriveError, match=r"HD001 and HD002|HD002 and HD001"):
            look.drive_for(one)


@pytest.mark.parametrize("state", [SUBMITTING, SIGNED, REJECTED])
def test_job_that_waits_for_no_drive_claims_none(state):
    """A deviceId whose job needs no drive now takes none away from another."""
    jobs, devices = [job(PENDING), job(state, "HD002", "b.yml")], {"HD002": {"label": "HD001"}}
    here = drive("HD001")

    assert pairing(jobs, here, recognition=Recognition(devices)).drive_for(jobs[0]) is here


def test_mapping_is_required():
    """Where a mapping is required, a label alone gives no drive."""
    one, here = job(PENDING), drive("HD001")
    devices = {"HD001": {"label": "HD001"}}

    with pytest.raises(DriveError, match="HD001"):
        pairing([one], here, recognition=Recognition(require_mapping=True)).drive_for(one)
    assert (
        pairing([one], here, recognition=Recognition(devices, require_mapping=True)).drive_for(one)
        is here
    )


def test_file_system_is_the_manifests():
    """A drive with another file system than the manifest asks for is refused."""
    one = job(PENDING, file_system="EXT4")

    with pytest.raises(DriveError, match="asks for EXT4"):
        pairing([one], drive("HD001")).drive_for(one)


def test_names():
    """Every deviceId that a job waits for is known, with the pending manifests that name it."""
    jobs = [
        job(PENDING, "HD001", "a.yml"),
        job(PENDING, "HD001", "b.yml"),
        job(SUBMITTED, "HD001", "c.yml"),
        job(SUBMITTED, "HD002", "d.yml"),
        job(SUBMITTING, "HD003", "e.yml"),
        job(SIGNED, "HD004", "f.yml"),
        job(REJECTED, "", "g.yml"),
    ]

    assert named(jobs) == {"HD001": ["a.yml", "b.yml"], "HD002": []}
    assert named([]) == {}


def test_here_is_what_a_drive_matches():
    """A job is more than just absent when a drive matches its deviceId."""
    here = pairing([job(PENDING), job(PENDING, "HD003")], drive("HD003")).here()

    assert "HD003" in here
    assert "HD001" not in here
