"""When the drives are asked, and when they are left alone."""

from dataclasses import replace

import pytest

from daemon.drives.drive import Drive, Unmounted
from daemon.drives.identity import Identity
from daemon.drives.mounts import Mount
from daemon.drives.recognition import Recognition
from daemon.drives.sysfs import Device
from daemon.errors import DriveAbsentError
from daemon.jobs.job import Job, Pending, Rejected, Submitted, Submitting
from daemon.jobs.worklist import Worklist
from daemon.preparation.pairing import MANY
from daemon.service.bell import Ring
from daemon.service.survey import Survey

WAITING = Job(1, "HD001", "NTFS", "a.yml", "ab12", Pending("1"), 1.0)
SUBMITTED = Job(2, "HD001", "NTFS", "a.yml", "ab12", Submitted("K7M3X", "", "", "", 1.0, {}), 1.0)


class Asked:
    """Drives that only count what is asked of them."""

    def __init__(self):
        self.questions = []
        self.here = []
        self.unmounted = []

    def mounted(self, *, ask_again):
        """As Drives has it."""
        self.questions.append("mounted, again" if ask_again else "mounted")
        return tuple(self.here)

    def present(self, *, ask_again):
        """Like Drives."""
        self.questions.append("present, again" if ask_again else "present")
        return tuple(self.unmounted)


@pytest.fixture
def asked():
    """What a survey asks."""
    return Asked()


@pytest.fixture
def survey(asked):
    """A survey that has not looked yet."""
    return Survey(asked)


def test_an_idle_daemon_lets_drives_sleep(survey, asked):
    """Without a job, neither time nor the folder is a reason to ask; a new mount is, once."""
    for ring in (Ring.TIMER, Ring.SPOOL, Ring.NOTHING):
        survey.refresh(ring, Worklist())
    assert asked.questions == []

    survey.refresh(Ring.MOUNTS, Worklist())
    survey.refresh(Ring.NOTHING, Worklist())
    assert asked.questions == ["mounted"]


def test_the_first_job_after_a_quiet_time(survey, asked):
    """What time alone was no reason for is made up for, once."""
    survey.refresh(Ring.TIMER, Worklist())

    survey.refresh(Ring.NOTHING, Worklist([WAITING]))
    survey.refresh(Ring.NOTHING, Worklist([WAITING]))

    assert asked.questions == ["mounted, again", "present, again"]


def test_what_is_not_mounted_is_asked_with_each_scan_for_a_job_that_waits(survey, asked):
    """A twin need not be mounted to make a deviceId ambiguous; new devices are asked at once."""
    survey.refresh(Ring.TIMER, Worklist([SUBMITTED]))
    survey.refresh(Ring.MOUNTS, Worklist([WAITING]))

    assert asked.questions == ["mounted, again", "present, again", "mounted", "present"]


def test_a_job_that_comes_to_wait_is_told_what_is_not_mounted(survey, asked):
    """It was in doubt at the last scan; what is not mounted was of no interest then."""
    in_doubt = replace(SUBMITTED, state=Submitting(1.0, "https://service", "AKIA", {}))
    survey.refresh(Ring.TIMER, Worklist([in_doubt]))

    survey.refresh(Ring.WORK, Worklist([SUBMITTED]))
    survey.refresh(Ring.WORK, Worklist([SUBMITTED]))

    assert asked.questions == ["mounted, again", "present"]


def test_a_disk_that_comes_or_goes_is_a_reason_to_ask(survey, asked):
    """What is not final is asked again: udev may have described a drive."""
    survey.refresh(Ring.DISKS, Worklist())
    assert asked.questions == []

    survey.refresh(Ring.NOTHING, Worklist([WAITING]))

    assert asked.questions == ["mounted, again", "present"]


def test_nothing_is_asked_for_jobs_that_wait_for_no_drive(survey, asked):
    """A rejected manifest needs no drive."""
    survey.refresh(Ring.TIMER, Worklist([replace(WAITING, state=Rejected("x"))]))

    assert asked.questions == ["mounted, again"]


def test_what_was_mounted_meanwhile_is_not_called_unmounted(survey, asked):
    """Also where who it is could not be learned: then that is what keeps the job waiting."""
    device = Device(2049, "/dev/sda1", 2048, 1, 10**9, is_write_protected=False)
    mount = Mount(5, 1, 2049, "/", "/media/a", "rw", "fuseblk", "/dev/sda1", "rw")
    asked.unmounted = [Unmounted(device, Identity(file_system="ntfs", label="HD001"))]
    survey.refresh(Ring.TIMER, Worklist([WAITING]))
    assert survey.pairing(Worklist([WAITING]), Recognition()).present

    asked.here = [Drive(device, Identity(trouble="no answer"), mount)]
    asked.unmounted = []
    survey.refresh(Ring.MOUNTS, Worklist([WAITING]))

    assert not survey.pairing(Worklist([WAITING]), Recognition()).present


DEVICE = Device(2049, "/dev/sda1", 2048, 1, 10**9, is_write_protected=False)
MOUNT = Mount(5, 1, 2049, "/", "/media/a", "rw", "fuseblk", "/dev/sda1", "rw")


@pytest.mark.parametrize(
    "identity",
    [
        Identity(trouble="no answer"),
        Identity(label="hd001", by_udev=True),  # nearly fits
        Identity(label="X", by_udev=False),  # may have the serial that `devices` asks for
    ],
)
def test_a_drive_that_an_obstacle_would_name_is_news_once(survey, asked, identity):
    """Jobs that it concerns are judged again; with the same drives there is nothing new."""
    rules = Recognition({"HD001": {"serial": "77"}})
    survey.refresh(Ring.TIMER, Worklist([WAITING]))
    assert "HD001" not in survey.here(survey.pairing(Worklist([WAITING]), rules))
    assert "HD001" in survey.here(survey.pairing(Worklist([WAITING]), rules), {"HD001"})

    asked.here = [Drive(DEVICE, identity, MOUNT)]
    survey.refresh(Ring.MOUNTS, Worklist([WAITING]))

    assert "HD001" in survey.here(survey.pairing(Worklist([WAITING]), rules))
    assert "HD001" not in survey.here(survey.pairing(Worklist([WAITING]), rules))


def test_a_troubled_drive_that_has_gone_is_news(survey, asked):
    """An obstacle that names it is out of date."""
    asked.here = [Drive(DEVICE, Identity(trouble="no answer"), MOUNT)]
    survey.refresh(Ring.TIMER, Worklist([WAITING]))
    survey.here(survey.pairing(Worklist([WAITING]), Recognition()), {"HD001"})

    asked.here = []
    survey.refresh(Ring.MOUNTS, Worklist([WAITING]))

    assert "HD001" in survey.here(survey.pairing(Worklist([WAITING]), Recognition()))


def test_beside_many_jobs_no_obstacle_names_what_may_be_meant(survey, asked):
    """A drive that cannot be read would change them all; only the first of many is told again."""
    jobs = [replace(WAITING, number=n, device_id=f"HD{n}") for n in range(MANY + 1)]
    work = Worklist(jobs)
    survey.refresh(Ring.TIMER, work)
    survey.here(survey.pairing(work, Recognition()))
    asked.here = [Drive(DEVICE, Identity(trouble="no answer"), MOUNT)]
    survey.refresh(Ring.MOUNTS, work)
    pairing = survey.pairing(work, Recognition())

    assert survey.here(pairing) == set()
    with pytest.raises(DriveAbsentError, match=r"no mounted drive matches HD1$"):
        pairing.drive_for(jobs[1])

    work.remove(jobs[0])
    pairing = survey.pairing(work, Recognition())
    assert survey.here(pairing) == set(work.names)
    with pytest.raises(DriveAbsentError, match="no answer"):
        pairing.drive_for(jobs[1])
