"""What lies in pending/ becomes jobs, each once, whatever is done to the files meanwhile."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from daemon.errors import SpoolError
from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE
from daemon.jobs.job import Pending, Progress, Rejected, Signed, Submitted, Submitting
from daemon.jobs.journal import Journal
from daemon.preparation.arrivals import Arrivals
from daemon.preparation.intake import Intake
from daemon.preparation.texts import Texts
from daemon.preparation.under_way import UnderWay
from daemon.spool.filing import digest
from daemon.spool.spool import Spool

CLIENT = Client("http://127.0.0.1:9", EXAMPLE, 1.0)  # is never asked
GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()
NOW = 2_000_000_000.0  # far past the time of every file: what lies there at first is still


def text(device_id="HD001", remark=""):
    """The guide's manifest for a deviceId; each `remark` makes other bytes of it."""
    return GUIDE.replace(b"HD001", device_id.encode()) + remark.encode()


class Desk:
    """A spool, a journal and the intake between them."""

    def __init__(self, folder):
        self.now = NOW
        self.spool = Spool(folder / "spool", 1.0, lambda: self.now)
        self.journal = Journal(folder / "spool", lambda: self.now)

        def clock():
            return self.now

        self.arrivals = Arrivals(self.spool, self.journal.worklist, clock, clock)
        under_way = UnderWay(clock)
        texts = lambda: Texts(self.journal, self.spool, under_way, CLIENT)  # noqa: E731
        self.intake = Intake(self.arrivals, self.spool, self.journal, under_way, clock, texts)
        self.pending = self.spool.pending
        self.rejected = self.spool.path / "rejected"

    def put(self, name, data):
        """Put a whole file there, as a rename does, in the place of what has the name."""
        aside = self.spool.path / "aside"
        aside.write_bytes(data)
        os.utime(aside, ns=(1, 1))
        aside.rename(self.pending / name)

    def look(self):
        """Take in; name, state and deviceId of each job."""
        self.take_in()
        return self.jobs()

    def take_in(self):
        """Scan the whole folder; after how many seconds to do it again."""
        self.arrivals.scan(self.spool.names())
        return self.intake.take_in()

    def jobs(self):
        """Name, state and deviceId of each unfiled job, by name."""
        jobs = self.journal.unfiled()
        return sorted((job.name, type(job.state).__name__, job.device_id) for job in jobs)

    def job(self, name="a.yml"):
        """The one unfiled job of that name."""
        (job,) = [job for job in self.journal.unfiled() if job.name == name]
        return job

    def reason(self, name="a.yml"):
        """Why the one job of that name was rejected."""
        return self.job(name).state.reason

    def submit(self, name="a.yml", job_id="K7M3X"):
        """As a worker does: to `Submitting`, and to `Submitted` where there is a JobId."""
        sending = Submitting(NOW, "https://service", "AKIA", {})
        job = self.journal.record(self.job(name), sending, manifest=self.spool.read(name))
        if job_id:
            job = self.journal.record(job, Submitted(job_id, "text", "", "", NOW, {}))
        return job

    def sign_and_file(self, job):
        """As a worker does: the drive is signed, the papers are filed."""
        signed = Signed(job.state.job_id, "text", "", "", NOW, NOW, {})
        job = self.journal.record(job, signed)
        self.spool.file(f"{job.job_id}-x", job.name, job.sha256, {"manifest.yml": b"x"})
        return self.journal.mark_filed(job)

    def file_rejected(self):
        """As a worker does: all that is rejected goes to its last place."""
        for job in self.journal.unfiled():
            if isinstance(job.state, Rejected):
                reason = f"{job.state.reason} ({job.number})"
                self.spool.reject(job.name, job.sha256, self.journal.manifest(job), reason)
                self.journal.mark_filed(job)


@pytest.fixture
def desk(tmp_path):
    """A desk that was looked at once, with nothing on it."""
    desk = Desk(tmp_path)
    assert desk.look() == []
    yield desk
    desk.journal.close()


def test_dropped_file_becomes_a_pending_job(desk):
    """A good manifest becomes a job with its deviceId, file system, digest and stamp."""
    desk.put("a.yml", text())

    assert desk.look() == [("a.yml", "Pending", "HD001")]
    job = desk.job()
    assert (job.file_system, job.sha256, job.since) == ("NTFS", digest(text()), NOW)
    assert job.state.stamp == desk.spool.examine("a.yml").stamp


def test_looking_twice_changes_nothing(desk):
    """The same folder looked at again makes no other job and writes nothing down."""
    for name, data in {"a.yml": text(), "b.yml": b"bad", "c.yml": text("HD002")}.items():
        desk.put(name, data)
    desk.look()
    before = desk.journal.unfiled()
    desk.journal.add = desk.journal.withdraw = desk.journal.record = None  # any call would fail

    desk.look()

    assert desk.journal.unfiled() == before


def test_faulty_file_is_rejected_with_every_fault(desk):
    """All faults are told at once, each with its place; the journal has no deviceId for it."""
    desk.put("a.yml", text().replace(b"NTFS", b"FAT").replace(b"logBucket:", b"bucketlog:"))

    assert desk.look() == [("a.yml", "Rejected", "")]
    assert "a.yml:4:12: fileSystem:" in desk.reason()
    assert "logBucket" in desk.reason()


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\xff\xfe", b"deviceId", b"- a", b"x" * 70_000, text(remark="#" * 65536)]
)
def test_any_bytes_are_told_about(desk, data):
    """Empty, binary, foreign and overlong files are rejected with a reason."""
    desk.put("a.yml", data)
    desk.look()
    desk.now += 60  # an empty file is given time

    assert desk.look() == [("a.yml", "Rejected", "")]
    assert desk.reason().startswith("a.yml")


def test_half_written_file_is_left_alone(desk):
    """A file that is being written is no job yet; the next look is asked for when it may be one."""
    with (desk.pending / "a.yml").open("wb") as file:
        file.write(text()[:50])
        file.flush()
        assert desk.take_in() == 1
        desk.now += 0.75
        assert desk.take_in() == 0.25
        file.write(text()[50:])
        file.flush()
        assert desk.take_in() == 1
    assert desk.jobs() == []

    desk.now += 1
    assert desk.take_in() is None
    assert desk.jobs() == [("a.yml", "Pending", "HD001")]


# Edited, renamed, taken away


def test_deleted_file_is_withdrawn(desk):
    """A manifest that is taken away while it waits is forgotten."""
    desk.put("a.yml", text())
    desk.look()

    (desk.pending / "a.yml").unlink()

    assert desk.look() == []


def test_renamed_file_is_the_same_manifest(desk):
    """A file that is renamed while it waits waits under its new name, and is not its own double."""
    desk.put("a.yml", text())
    desk.look()

    (desk.pending / "a.yml").rename(desk.pending / "b.yml")
    assert desk.look() == [("b.yml", "Pending", "HD001")]

    (desk.pending / "b.yml").rename(desk.pending / "b.yml.off")
    assert desk.look() == []


def test_edited_file_is_checked_anew(desk):
    """Other bytes under the name are another manifest: nothing known of the old one holds."""
    desk.put("a.yml", text())
    desk.look()
    desk.journal.record(desk.job(), Pending(desk.job().state.stamp, validated=True))

    desk.put("a.yml", text("HD002"))
    assert desk.look() == [("a.yml", "Pending", "HD002")]
    assert not desk.job().state.validated

    desk.put("a.yml", b"bad")
    assert desk.look() == [("a.yml", "Rejected", "")]


def test_touched_file_stays_what_it_was(desk):
    """The same bytes, newly written, keep their job and what the service has said of them."""
    desk.put("a.yml", text())
    desk.look()
    before = desk.journal.record(desk.job(), Pending(desk.job().state.stamp, validated=True))

    desk.put("a.yml", text())
    desk.look()

    after = desk.job()
    assert after.number == before.number
    assert after.state == Pending(desk.spool.examine("a.yml").stamp, validated=True)
    assert after.state.stamp != before.state.stamp


def test_file_being_edited_in_place_keeps_its_job(desk):
    """While an editor writes, the job is neither withdrawn nor changed; then it is another one."""
    desk.put("a.yml", text())
    desk.look()
    with (desk.pending / "a.yml").open("wb") as file:
        file.write(text("HD002")[:60])
        file.flush()
        assert desk.look() == [("a.yml", "Pending", "HD001")]
        file.write(text("HD002")[60:])

    desk.now += 1
    desk.look()
    desk.now += 1
    assert desk.look() == [("a.yml", "Pending", "HD002")]


def test_two_files_that_change_places(desk):
    """Files that swap their names are both edited, and neither is the other's double."""
    desk.put("a.yml", text("HD001"))
    desk.put("b.yml", text("HD002"))
    desk.look()

    desk.put("a.yml", text("HD002"))
    desk.put("b.yml", text("HD001"))

    assert desk.look() == [("a.yml", "Pending", "HD002"), ("b.yml", "Pending", "HD001")]


def test_names_that_are_gone_are_forgotten(desk):
    """What was compared with the job of a file is kept as long as the file."""
    desk.put("a.yml", text())
    desk.look()
    desk.submit()
    desk.look()
    assert desk.arrivals._compared.keys() == {"a.yml"}

    (desk.pending / "a.yml").unlink()
    desk.look()

    assert desk.arrivals._compared == {}


def test_edited_after_submission_is_another_manifest(desk):
    """What was submitted goes on as it was; the file that took its name is a job of its own."""
    desk.put("a.yml", text())
    desk.look()
    desk.submit()

    desk.put("a.yml", text("HD002"))

    assert desk.look() == [("a.yml", "Pending", "HD002"), ("a.yml", "Submitted", "HD001")]


def test_deleted_after_submission_changes_nothing(desk):
    """Once submitted, a job does not depend on its file."""
    desk.put("a.yml", text())
    desk.look()
    job = desk.submit()
    (desk.pending / "a.yml").unlink()

    assert desk.look() == [("a.yml", "Submitted", "HD001")]
    desk.sign_and_file(job)
    assert desk.look() == []


# The same bytes again


def test_same_bytes_while_one_waits(desk):
    """Of files with the same bytes one waits; each other is told of that one."""
    for name in ("b.yml", "a.yml", "c.yml"):
        desk.put(name, text())

    desk.look()

    assert isinstance(desk.job("a.yml").state, Pending)
    for name in ("b.yml", "c.yml"):
        assert desk.reason(name) == "the same manifest already waits as a.yml"


def test_same_bytes_while_one_waits_since_before(desk):
    """A file that comes later is told of the one that waits, as long as that has the bytes."""
    desk.put("z.yml", text())
    desk.look()
    desk.put("b.yml", text())
    desk.look()
    assert desk.reason("b.yml") == "the same manifest already waits as z.yml"
    desk.file_rejected()

    desk.put("z.yml", text("HD002"))
    desk.put("b.yml", text())

    assert desk.look() == [("b.yml", "Pending", "HD001"), ("z.yml", "Pending", "HD002")]


def test_same_bytes_as_a_file_had_before_it_was_edited(desk):
    """A file that has other bytes by now, but was not read again yet, is not the one that waits."""
    desk.put("z.yml", text())
    desk.look()
    desk.put("z.yml", text("HD002"))
    desk.put("b.yml", text())

    desk.intake.take_in(["b.yml"])

    assert ("b.yml", "Pending", "HD001") in desk.jobs()


@pytest.mark.parametrize(
    ("job_id", "reason"),
    [
        ("K7M3X", "already prepared as K7M3X; no new job was made"),
        ("", "the same manifest is being submitted as a.yml"),
    ],
)
def test_same_bytes_while_the_job_is_open(desk, job_id, reason):
    """The same bytes under another name make no new job as long as theirs is open."""
    desk.put("a.yml", text())
    desk.look()
    desk.submit(job_id=job_id)
    desk.put("b.yml", text())

    desk.look()

    assert desk.reason("b.yml") == reason


def test_same_bytes_after_the_job_was_filed(desk):
    """The same file dropped again after all was done is told the JobId, again and again."""
    desk.put("a.yml", text())
    desk.look()
    desk.sign_and_file(desk.submit())
    assert os.listdir(desk.pending) == []

    for _ in range(2):
        desk.put("a.yml", text())
        desk.look()
        assert desk.reason() == "already prepared as K7M3X; no new job was made"
        desk.file_rejected()

    assert os.listdir(desk.pending) == []
    assert len(os.listdir(desk.rejected)) == 4


def test_same_bytes_when_the_service_is_done(desk):
    """When the service is done with the job, the same bytes are a new one."""
    desk.put("a.yml", text())
    desk.look()
    job = desk.sign_and_file(desk.submit())
    desk.journal.record_progress(job, Progress(NOW, "Complete", None, is_terminal=True))
    desk.put("a.yml", text())

    assert desk.look() == [("a.yml", "Pending", "HD001")]


def test_same_bad_file_again(desk):
    """A bad file is rejected each time it is dropped, under a number of its own."""
    for _ in range(3):
        desk.put("a.yml", b"bad")
        assert desk.look() == [("a.yml", "Rejected", "")]
        desk.file_rejected()

    assert sorted(os.listdir(desk.rejected)) == sorted(
        f"a{number}.yml{ending}" for number in ("", "-2", "-3") for ending in ("", ".reason.txt")
    )


def test_corrected_before_the_old_one_was_filed(desk):
    """A good file that takes a bad one's name before that was filed stays, and is a job."""
    desk.put("a.yml", b"bad")
    desk.look()
    desk.put("a.yml", text())

    assert desk.look() == [("a.yml", "Pending", "HD001"), ("a.yml", "Rejected", "")]
    desk.file_rejected()
    assert desk.look() == [("a.yml", "Pending", "HD001")]
    assert os.listdir(desk.rejected) == ["a.yml.reason.txt"]


# What cannot be read


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("b.yml"),
        lambda path: path.mkdir(),
        os.mkfifo,
    ],
)
def test_what_is_no_plain_file_is_rejected(desk, make):
    """A link, folder or FIFO is moved out of the way, and what it leads to is not read."""
    make(desk.pending / "a.yml")
    desk.look()
    desk.now += 1

    assert desk.look() == [("a.yml", "Rejected", "")]
    assert desk.reason() == "a.yml is not a readable regular file"
    desk.file_rejected()
    assert desk.look() == []
    assert sorted(os.listdir(desk.rejected)) == ["a.yml", "a.yml.reason.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root's rights")
def test_unreadable_file_stays(caplog):
    """A file that the daemon may not read is reported once; a changed mode mends it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        os.seteuid(65534)
        try:
            desk = Desk(Path(folder))
            file = desk.pending / "a.yml"
            file.write_bytes(text())
            file.chmod(0)

            assert desk.look() == desk.look() == []
            assert desk.intake.unreadable() == "a.yml"
            assert caplog.text.count("Permission denied; it stays there") == 1

            file.chmod(0o600)
            assert desk.look() == [("a.yml", "Pending", "HD001")]
            assert desk.intake.unreadable() == ""

            file.chmod(0)  # what is known of it is kept
            assert desk.look() == [("a.yml", "Pending", "HD001")]
            assert desk.intake.unreadable() == "a.yml"
            desk.journal.close()
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_file_server_that_fails_is_no_fault_of_a_file(desk, monkeypatch, number):
    """The file is read when the server answers again."""
    desk.put("a.yml", text())
    read = desk.spool.read

    def fail(name):
        raise SpoolError("cannot read it", errno=number)

    monkeypatch.setattr(desk.spool, "read", fail)
    assert desk.look() == []
    monkeypatch.setattr(desk.spool, "read", read)
    assert desk.look() == [("a.yml", "Pending", "HD001")]


def test_want_of_descriptors_is_no_fault_of_a_file(desk, monkeypatch):
    """Where the machine lacks what reading takes, no manifest is blamed for it."""
    desk.put("a.yml", text())

    def starve(name):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(desk.spool, "read", starve)
    with pytest.raises(OSError, match="Too many open files"):
        desk.look()
    monkeypatch.undo()

    assert desk.look() == [("a.yml", "Pending", "HD001")]


def test_file_that_goes_while_it_is_looked_at(desk, monkeypatch):
    """A file that is taken away between listing and reading was never there."""
    desk.put("a.yml", text())
    desk.look()
    desk.put("a.yml", text("HD002"))
    desk.put("b.yml", text("HD003"))
    read = desk.spool.read

    def take_away(name):
        (desk.pending / name).unlink()
        return read(name)

    monkeypatch.setattr(desk.spool, "read", take_away)
    desk.look()
    monkeypatch.undo()

    assert desk.look() == []


@pytest.mark.parametrize("data", [text(), b"bad"])
def test_name_that_is_no_utf8(desk, data, caplog):
    """A name that cannot be told is rejected at once with its reason, each time it is dropped."""
    for _ in range(2):
        desk.put("\udcff.yml", data)
        assert desk.look() == []

    names = os.listdir(desk.rejected)
    assert sorted(names) == sorted(
        f"\\xff{number}.yml{ending}" for number in ("", "-2") for ending in ("", ".reason.txt")
    )
    assert "not UTF-8" in (desk.rejected / "\\xff.yml.reason.txt").read_text()
    assert [record.message for record in caplog.records] == [
        f"manifest rejected, see rejected/\\xff{number}.yml.reason.txt" for number in ("", "-2")
    ]
    assert os.listdir(desk.pending) == []


def test_name_that_is_no_utf8_and_cannot_be_moved(desk, caplog):
    """Where even that cannot be done, the others are taken in all the same, and it is told."""
    desk.rejected.rmdir()
    desk.put("\udcff.yml", text())
    desk.put("a.yml", text())

    assert desk.look() == [("a.yml", "Pending", "HD001")]
    assert "cannot be rejected" in caplog.text


# Logs


def test_log_tells_each_change_once(desk, caplog):
    """What happens to a manifest is told once, by its name, and nothing of its text."""
    caplog.set_level("INFO")
    secret = "trueCryptPassword: tell-no-one\n"

    desk.put("a.yml", text(remark=f"\n{secret}"))
    desk.look()
    desk.look()
    desk.put("a.yml", text("HD002", remark=f"\n{secret}"))
    desk.look()
    (desk.pending / "a.yml").unlink()
    desk.look()

    told = [record.message for record in caplog.records if record.levelname == "INFO"]
    assert told == [
        "manifest a.yml accepted",
        "manifest a.yml changed, checking it again",
        "manifest a.yml accepted",
        "manifest a.yml withdrawn",
    ]
    assert "tell-no-one" not in caplog.text


# Everything at once


NAMES = st.sampled_from(["a.yml", "b.yml", "c.txt"])
TEXTS = st.sampled_from([text("HD001"), text("HD002"), text("HD001", "# again\n"), b"bad"])


class Folder(RuleBasedStateMachine):
    """People and workers do anything in any order; after each look all is as the folder says."""

    @initialize()
    def begin(self):
        """An empty desk."""
        self.folder = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self.folder.name))
        self.numbers = iter(range(10_000, 99_999))
        self.submitted = set()  # digests of what went to the service and is open there

    @rule(name=NAMES, data=TEXTS)
    def drop(self, name, data):
        """Somebody drops a file, or another in its place."""
        self.desk.put(name, data)

    @rule(name=NAMES)
    def delete(self, name):
        """Somebody takes a file away."""
        (self.desk.pending / name).unlink(missing_ok=True)

    @rule(old=NAMES, new=NAMES)
    def rename(self, old, new):
        """Somebody renames a file, perhaps over another."""
        if (self.desk.pending / old).exists():
            (self.desk.pending / old).rename(self.desk.pending / new)

    @rule()
    def look(self):
        """The daemon looks: each file has one job, no job waits without one, none is double."""
        self.desk.look()
        jobs = self.desk.journal.unfiled()
        files = {path.name: digest(path.read_bytes()) for path in self.desk.pending.iterdir()}
        pending = {job.name: job.sha256 for job in jobs if isinstance(job.state, Pending)}
        assert pending.items() <= files.items()
        assert len(set(pending.values())) == len(pending)
        assert files.items() <= {(job.name, job.sha256) for job in jobs}
        assert self.submitted.isdisjoint(pending.values())

        self.desk.look()
        assert self.desk.journal.unfiled() == jobs

    @rule()
    def reject(self):
        """Workers file what is rejected."""
        self.desk.file_rejected()

    @precondition(lambda self: any(map(self.can_be_submitted, self.desk.journal.unfiled())))
    @rule(data=st.data())
    def submit(self, data):
        """A worker submits a manifest that is still as it was."""
        jobs = [job for job in self.desk.journal.unfiled() if self.can_be_submitted(job)]
        job = data.draw(st.sampled_from(jobs))
        sending = Submitting(NOW, "https://service", "AKIA", {})
        job = self.desk.journal.record(job, sending, manifest=b"x")
        job_id = f"J{next(self.numbers)}"
        job = self.desk.journal.record(job, Submitted(job_id, "text", "", "", NOW, {}))
        assert job.sha256 not in self.submitted
        self.submitted.add(job.sha256)

    @rule()
    def sign(self):
        """Workers sign and file whatever is submitted."""
        for job in self.desk.journal.unfiled():
            if isinstance(job.state, Submitted):
                self.desk.sign_and_file(job)

    def can_be_submitted(self, job):
        """As preparation checks: the file says what was checked, and no job of its is open."""
        try:
            is_same = digest(self.desk.spool.read(job.name)) == job.sha256
        except FileNotFoundError:
            return False
        is_free = self.desk.journal.open_job(job.device_id) is None
        return isinstance(job.state, Pending) and is_same and is_free

    def teardown(self):
        """Nothing is left."""
        if hasattr(self, "desk"):
            self.desk.journal.close()
            self.folder.cleanup()


TestFolder = Folder.TestCase
TestFolder.settings = settings(
    max_examples=50,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
