"""Jobs after submission, asked about at a real service: the emulator, over HTTP."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.drives import signature
from daemon.errors import CredentialsRefusedError, InDoubtError, StaleJobError, UnreachableError
from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE, Emulator
from daemon.jobs.job import Job, NewJob, Pending, Progress, Rejected, Signed, Submitted, Submitting
from daemon.jobs.journal import Journal
from daemon.preparation.polling import POLL_SECONDS, StatusPoller

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text()
NOW = 2_000_000_000.0


class Desk:
    """A service, a journal, and whoever asks the one for the other."""

    def __init__(self, folder, emulator, client):
        self.now = NOW
        self.emulator = emulator
        self.client = client
        self.journal = Journal(folder, lambda: self.now)
        self.poller = StatusPoller(self.journal, client, lambda: self.now, lambda _: self.papers)
        self.papers = None  # the manifest in the papers, as it was sent

    def close(self):
        """Let go of the journal."""
        self.journal.close()

    def submitted(self, device_id="HD001"):
        """A job that the service really has, as preparation writes it down."""
        text = GUIDE.replace("HD001", device_id)
        created = self.client.create_job(text)
        contents = signature.text(created.signature_file_contents, created.job_id)
        address = created.aws_shipping_address
        state = Submitted(created.job_id, contents, address, "", self.now, {"serial": "WX11"})
        return self.walk(device_id, state, text)

    def walk(self, device_id, state, text="text"):
        """A journaled job in state `Submitted`."""
        job = NewJob(
            device_id=device_id,
            file_system="NTFS",
            name="a.yml",
            sha256=f"{device_id}-",
            state=Pending("1"),
            since=self.now,
        )
        (job,) = self.journal.add([job])
        sending = Submitting(self.now, "https://service", "AKIA", {})
        return self.journal.record(self.journal.record(job, sending, text.encode()), state)

    def filed(self, device_id="HD001"):
        """A job that is signed and filed."""
        return self.file(self.submitted(device_id))

    def file(self, job):
        """As preparation does with a job whose SIGNATURE is on the drive."""
        state = job.state
        signed = Signed(
            *(state.job_id, state.signature, state.shipping_address, state.warning),
            *(state.submitted_at, self.now, state.drive),
        )
        return self.journal.mark_filed(self.journal.record(job, signed))


@pytest.fixture
def desk(tmp_path):
    """A desk with a running service."""
    with (
        Emulator() as emulator,
        closing(Client(emulator.endpoint, EXAMPLE, 5.0)) as client,
        closing(Desk(tmp_path, emulator, client)) as desk,
    ):
        yield desk


# What the service says


def test_progress_is_written_down(desk):
    """Every word of the service about a job's way is kept, with the time at which it was heard."""
    job = desk.filed()
    desk.emulator.move(
        job.job_id,
        location_code="Returned",
        progress_code="InProgress",
        carrier="UPS",
        tracking_number="1Z2",
        error_count=3,
    )

    after = desk.poller.ask(job)

    assert after == replace(job, progress=after.progress)
    assert after.progress == Progress(
        checked_at=NOW,
        progress_code="InProgress",
        progress_message="The specified job is in progress.",
        is_terminal=False,
        location_code="Returned",
        location_message="Your device was returned by UPS, tracking number 1Z2.",
        carrier="UPS",
        tracking_number="1Z2",
        error_count=3,
        changes={"Returned/InProgress": NOW},
    )
    assert desk.journal.followed() == [after]


@pytest.mark.parametrize("code", ["Complete", "SuccessWithErrors", "DeviceError", "Expired"])
def test_terminal_word_frees_the_device(desk, code):
    """When the service is done with a job, it is asked no more and its deviceId is free."""
    job = desk.filed()
    desk.emulator.move(job.job_id, progress_code=code)

    after = desk.poller.ask(job)

    assert after.is_closed
    assert after.progress.progress_code == code
    assert desk.journal.followed() == []
    assert desk.journal.open_job("HD001") is None
    desk.submitted()  # another job of that deviceId


def test_log_of_a_loaded_job(desk):
    """Where the log of a loaded drive lies is written down for the customer."""
    job = desk.filed()
    desk.emulator.move(job.job_id, progress_code="Complete")

    progress = desk.poller.ask(job).progress

    assert progress.log_bucket
    assert progress.log_key.endswith(f"export-log-{job.job_id}")


def test_canceled_job_is_over(desk):
    """A job that somebody cancelled at the service is done with."""
    job = desk.filed()
    desk.client.cancel_job(job.job_id)

    assert desk.poller.ask(job).progress.progress_code == "Canceled"
    assert desk.journal.open_job("HD001") is None


def test_job_that_is_gone_is_over(desk):
    """A job whose 30 days passed is refused by the service, which says as much as a status."""
    job = desk.filed()
    desk.emulator.move(job.job_id, creation_date=0.0)

    after = desk.poller.ask(job)

    assert after.is_closed
    assert after.progress.progress_code == "Expired"
    assert "has expired" in after.progress.progress_message
    assert desk.journal.open_job("HD001") is None


def test_canceled_as_a_refusal_is_over(desk):
    """A service that refuses to speak of a cancelled job says as much as a status."""
    job = desk.filed()
    desk.emulator.faults.add("error", "GetStatus", code="CanceledJobIdException", message="gone")

    after = desk.poller.ask(job)

    assert after.is_closed
    assert after.progress.progress_code == "Canceled"


def test_unknown_job_is_for_a_person(desk):
    """A JobId that the service does not know is noted, and frees no deviceId: it may be ours."""
    state = Submitted("ZZZZZ", "text", "address", "", NOW, {})
    job = desk.file(desk.walk("HD001", state))

    after = desk.poller.ask(job)

    assert not after.is_closed
    assert after.progress.progress_code == "Invalid"
    assert "No such job ZZZZZ" in after.progress.progress_message
    assert desk.journal.followed() == [after]
    assert desk.journal.open_job("HD001") == after


def test_job_that_waits_for_its_drive(desk):
    """A job that is not signed yet is asked about as well, and goes on waiting."""
    job = desk.submitted()

    after = desk.poller.ask(job)

    assert desk.journal.unfiled() == [after]
    assert after == replace(job, progress=after.progress)
    assert after.progress.progress_code == "Pending"


def test_each_word_is_told_once(desk, caplog):
    """The log has a line when the service says something new, with deviceId and JobId."""
    caplog.set_level("INFO", "daemon.following")
    job = desk.filed()
    for code in (None, None, "InProgress", "Complete"):
        if code:
            desk.emulator.move(job.job_id, progress_code=code)
        job = desk.poller.ask(job)

    told = [record.message for record in caplog.records]
    assert told == ["job is Pending", "job is InProgress", "job is Complete"]
    assert {(record.device_id, record.job_id) for record in caplog.records} == {
        ("HD001", job.job_id)
    }


def test_a_drive_that_has_not_arrived_is_warned_of_once(desk, caplog):
    """In the last seven days of its job, while the service has not received it."""
    job = desk.filed()
    for days in (22, 2, 1):
        desk.now += days * 24 * 3600
        job = desk.poller.ask(job)

    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.message for record in told] == [
        "drive has not arrived, and the job soon expires"
    ]


# No answer


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "500-before"}, InDoubtError),
        ({"kind": "html"}, InDoubtError),
        ({"kind": "truncate"}, InDoubtError),
        ({"kind": "error", "code": "AccessDenied", "status": 403}, CredentialsRefusedError),
    ],
)
def test_no_answer_changes_nothing(desk, fault, error):
    """Where the service does not say, nothing is written down, and the next time is no later."""
    job = desk.filed()
    desk.emulator.faults.add(**fault)

    with pytest.raises(error):
        desk.poller.ask(job)

    assert desk.journal.followed() == [job]


def test_no_service(desk):
    """A service that is away changes nothing."""
    job = desk.filed()
    desk.emulator.stop()

    with pytest.raises((UnreachableError, InDoubtError)):
        desk.poller.ask(job)

    assert desk.journal.followed() == [job]


# Another SIGNATURE


def test_changed_signature_is_signed_anew(desk, caplog):
    """A job that got another SIGNATURE by UpdateJob is open for signing, with its new manifest."""
    job = desk.filed()
    text = GUIDE.replace("NTFS", "NTFS  # corrected")
    desk.client.update_job(job.job_id, text)
    desk.now += 60

    after = desk.poller.ask(job)

    (made,) = desk.emulator.jobs
    assert desk.journal.unfiled() == [after]
    assert after.state.signature != job.state.signature
    assert f"\nsignature:{made.signature}\n" in after.state.signature
    assert after.state == Submitted(
        *(job.job_id, after.state.signature, job.state.shipping_address),
        *("", job.state.submitted_at, job.state.drive),
    )
    assert desk.journal.manifest(after) == text.encode()
    assert desk.journal.open_job("HD001") == after
    assert "SIGNATURE changed at the service: plug" in caplog.text
    assert made.signature not in caplog.text

    again = desk.file(after)
    assert desk.poller.ask(again).filed  # the new one is on the drive by now


def test_same_signature_changes_nothing(desk):
    """The SIGNATURE that is on the drive, with whatever line ends it is told, opens nothing."""
    job = desk.filed()
    desk.client.update_job(job.job_id, GUIDE)

    assert desk.poller.ask(job).state == job.state
    assert desk.journal.unfiled() == []


def keep_signature(desk, job, text):
    """An update after which the service still has the SIGNATURE that is on the drive."""
    (made,) = desk.emulator.jobs
    desk.client.update_job(job.job_id, text)
    desk.emulator.move(job.job_id, signature=made.signature)


def test_papers_follow_the_manifest(desk, caplog):
    """Another manifest with the same SIGNATURE: the papers are filed again, the drive is not."""
    job = desk.filed()
    desk.papers = GUIDE.encode()
    text = GUIDE.replace("logBucket:mybucket", "logBucket:another-bucket")
    keep_signature(desk, job, text)

    after = desk.poller.ask(job)

    assert after.state == job.state
    assert not after.filed
    assert desk.journal.unfiled() == [after]
    assert desk.journal.manifest(after) == text.encode()
    assert "papers are filed again" in caplog.text

    desk.papers = text.encode()
    assert desk.poller.ask(desk.journal.mark_filed(after)).filed


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GUIDE.replace("\n", "\r\n"), id="line ends"),
        pytest.param(GUIDE + "# a remark\n", id="comment"),
        pytest.param(GUIDE, id="key added when sent"),
    ],
)
def test_papers_that_say_the_same(desk, text):
    """Only keys and values count; the accessKeyId that was added when it was sent does not."""
    job = desk.filed()
    desk.papers = text.encode()
    if text == GUIDE:
        desk.papers = GUIDE.replace("accessKeyId", "# accessKeyId").encode()
    keep_signature(desk, job, text)

    assert desk.poller.ask(job).filed


def test_papers_without_a_manifest_at_the_service(desk, caplog):
    """A manifest that cannot be printed replaces no papers; the log says why."""
    job = desk.filed()
    desk.papers = GUIDE.encode()
    desk.emulator.move(job.job_id, manifest="deviceId: [")

    assert desk.poller.ask(job).filed
    assert "papers keep the manifest" in caplog.text


def test_signature_of_a_closed_job_counts_no_more(desk):
    """What the service is done with is not signed again."""
    job = desk.filed()
    desk.client.update_job(job.job_id, GUIDE + "# changed\n")
    desk.client.cancel_job(job.job_id)

    assert desk.poller.ask(job).is_closed
    assert desk.journal.unfiled() == []


def test_unusable_signature_is_told_and_left(desk, caplog):
    """A SIGNATURE text that lacks a key goes onto no drive; the old one stays what it was."""
    job = desk.filed()
    desk.emulator.move(job.job_id, signature="")

    after = desk.poller.ask(job)

    assert after.state == job.state
    assert desk.journal.followed() == [after]
    assert f"not that of job {job.job_id}" in caplog.text


def test_two_who_ask_reopen_once(desk):
    """Of two who hear of a new SIGNATURE one opens the job; the other's word of it is too late."""
    job = desk.filed()
    desk.client.update_job(job.job_id, GUIDE + "# changed\n")
    signed = desk.file(desk.poller.ask(job))
    assert desk.journal.unfiled() == []

    with pytest.raises(StaleJobError):
        desk.poller.ask(job)

    assert desk.journal.unfiled() == []
    assert desk.journal.followed()[0].state == signed.state


# When to ask


def test_asked_once_an_hour(desk):
    """A job is due an hour after it was made, and an hour after each time it was heard of."""
    job = desk.filed()
    for _ in range(3):
        assert desk.poller.due() == []
        desk.now += POLL_SECONDS - 1
        assert desk.poller.due() == []
        desk.now += 1
        assert desk.poller.due() == [job]
        job = desk.poller.ask(job)


def test_open_jobs_of_certain_devices(desk):
    """Whatever their time is: those that the service can be asked about, of these deviceIds."""
    jobs = [desk.filed("HD001"), desk.submitted("HD002"), desk.filed("HD003")]

    assert desk.poller.due() == []
    assert desk.poller.open_jobs(["HD001", "HD002", "HD004"]) == jobs[:2]


def test_only_what_is_filed_and_open_is_due(desk):
    """What still waits to be signed is not asked about by time, nor what the service ended."""
    desk.submitted("HD001")
    over = desk.filed("HD002")
    new = NewJob(
        device_id="HD002",
        file_system="NTFS",
        name="bad.yml",
        sha256="",
        state=Pending("1"),
        since=desk.now,
    )
    (bad,) = desk.journal.add([new])
    desk.journal.mark_filed(desk.journal.record(bad, Rejected("x")))
    desk.client.cancel_job(over.job_id)
    desk.poller.ask(over)
    desk.now += 10 * POLL_SECONDS

    assert desk.poller.due() == []
    assert desk.poller.open_jobs(["HD002"]) == []


def test_clock_that_was_set_back(desk):
    """A time that was heard in the future says nothing: the job is due."""
    job = desk.poller.ask(desk.filed())
    desk.now -= 365 * 86_400

    assert not desk.poller.is_fresh(job)
    assert desk.poller.due() == [job]


@pytest.mark.parametrize("state", [Pending("1"), Rejected("x")])
def test_no_word_is_not_fresh(desk, state):
    """Of a job that the service never spoke of nothing is known."""
    assert not desk.poller.is_fresh(Job(1, "HD001", "NTFS", "a.yml", "x", state, NOW))
