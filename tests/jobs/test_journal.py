"""The journal on a real disk: what it has returned from is there, and only that."""

import errno
import os
import sqlite3
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from memory_drive import mounted, needs_root
from os_calls import failing

from daemon.errors import JournalError, JournalFullError, StaleJobError
from daemon.jobs.job import (
    Job,
    NewJob,
    Obstacle,
    Pending,
    Progress,
    Rejected,
    Signed,
    Submitted,
    Submitting,
)
from daemon.jobs.journal import Journal
from daemon.jobs.reader import daemon_info, find, recent
from daemon.jobs.schema import CLAIM, NAME, OPEN
from daemon.jobs.storage import disk
from daemon.jobs.storage.texts import FOLDER
from daemon.jobs.worklist import Worklist

NOW = 2_000_000_000.0
SENDING = Submitting(NOW, "https://service", "AKIA", {"serial": "WX11", "wwn": None, "size": 4})
OBSTACLE = Obstacle("no drive", "plug it in", NOW, 3, NOW + 60)
ON_ITS_WAY = Progress(NOW, "InProgress", "Ä word", False, "AtAWS", carrier="UPS", error_count=0)
DONE = Progress(NOW, "Complete", None, True, log_bucket="logs", log_key="log-1", error_count=2)


def submitted(job_id="K7M3X"):
    """The service's answer."""
    return Submitted(job_id, "version:2.0\n", "Ä street", "a warning", NOW, {"serial": "WX11"})


def signed(job_id="K7M3X"):
    """After SIGNATURE was written."""
    return Signed(job_id, "version:2.0\n", "Ä street", "a warning", NOW, NOW, {"serial": "WX11"})


def new(device_id="HD001", name="a.yml", sha256="ab12"):
    """A job that is in no journal yet."""
    return NewJob(
        device_id=device_id,
        file_system="NTFS",
        name=name,
        sha256=sha256,
        state=Pending("1.2.3.4"),
        since=NOW,
    )


@pytest.fixture
def ledger(tmp_path):
    """A journal that is open for writing."""
    with closing(Journal(tmp_path, lambda: NOW)) as ledger:
        yield ledger


def reopened(ledger, folder):
    """The same journal, as the next daemon has it."""
    ledger.close()
    return closing(Journal(folder, lambda: NOW))


def walk(ledger, job, *states, manifest=b"text"):
    """The job after these steps."""
    for state in states:
        job = ledger.record(job, state, manifest if isinstance(state, Submitting) else None)
    return job


# What is written is there


def test_steps_are_there_after_a_reopening(ledger, tmp_path):
    """Every field of every state is read back as it was written."""
    jobs = ledger.add([new(f"HD{number}", f"{number}.yml") for number in range(5)])
    walk(ledger, jobs[1], SENDING)
    walk(ledger, jobs[2], SENDING, submitted("J2"))
    walk(ledger, jobs[3], SENDING, submitted("J3"), signed("J3"))
    walk(ledger, jobs[4], Rejected("Ä: all\nfaults"))
    ledger.record_obstacles([(jobs[0], OBSTACLE)])
    before = ledger.unfiled()

    with reopened(ledger, tmp_path) as again:
        assert again.unfiled() == before
    assert [job.number for job in before] == [1, 2, 3, 4, 5]
    assert [job.device_id for job in before] == ["HD0", "HD1", "HD2", "HD3", "HD4"]
    assert before[0].obstacle == OBSTACLE
    assert before[3].state == signed("J3")


def test_steps_are_there_after_a_death(tmp_path):
    """What a method has returned from survives the process, without any closing."""
    child = os.fork()
    if child == 0:
        ledger = Journal(tmp_path, lambda: NOW)
        walk(ledger, ledger.add([new()])[0], SENDING, submitted())
        os._exit(0)
    os.waitpid(child, 0)

    with closing(Journal(tmp_path, lambda: NOW)) as again:
        assert [job.state for job in again.unfiled()] == [submitted()]


def test_files_are_private(ledger, tmp_path):
    """Manifests can hold passwords: nobody else may read any file that holds them."""
    walk(ledger, ledger.add([new()])[0], SENDING)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    (text,) = (tmp_path / FOLDER).iterdir()
    assert modes.pop(CLAIM) & 0o027 == 0
    assert modes.pop(FOLDER) == 0o700
    assert modes == dict.fromkeys([NAME, f"{NAME}-wal", f"{NAME}-shm"], 0o600)
    assert stat.S_IMODE(text.stat().st_mode) == 0o600


def test_numbers_are_never_used_again(ledger, tmp_path):
    """A number names one job for ever, also when that was withdrawn and the daemon started anew."""
    (first,) = ledger.add([new()])
    ledger.withdraw([first])

    with reopened(ledger, tmp_path) as again:
        (second,) = again.add([new()])
    assert second.number > first.number


# Adding, withdrawing, filing


def test_add_is_all_or_none(ledger, tmp_path):
    """Jobs that are added together are all written down, or none of them is."""

    def jobs():
        yield new("HD001")
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        ledger.add(jobs())

    assert ledger.unfiled() == []
    assert recent(tmp_path, 0) == []


def test_withdrawn_is_forgotten(ledger, tmp_path):
    """A pending job that is withdrawn leaves nothing behind, however often it is withdrawn."""
    (job,) = ledger.add([new()])

    for _ in range(2):
        ledger.withdraw([job])

    assert ledger.worklist.get(job.number) is None
    assert ledger.unfiled() == []
    assert recent(tmp_path, 0) == []


@pytest.mark.parametrize("states", [(SENDING,), (SENDING, submitted()), (Rejected("x"),)])
def test_only_pending_jobs_can_be_withdrawn(ledger, states):
    """What was sent, or rejected, is not forgotten because its file has gone."""
    (job,) = ledger.add([new()])
    after = walk(ledger, job, *states)

    ledger.withdraw([job])

    assert ledger.unfiled() == [after]


def test_filed_is_done(ledger, tmp_path):
    """A filed job takes no step any more; it is still found by its JobId."""
    (job,) = ledger.add([new()])
    job = walk(ledger, job, SENDING, submitted(), signed())
    ledger.record_obstacles([(job, OBSTACLE)])

    filed = ledger.mark_filed(job)
    ledger.mark_filed(job)

    assert filed == replace(job, filed=True, obstacle=None)
    assert ledger.unfiled() == []
    with reopened(ledger, tmp_path) as again:
        assert again.unfiled() == []
        assert again.job_with("K7M3X") == filed


def test_manifest_is_kept_until_filed(ledger):
    """The text is there from the sending on, through every step, until the job is filed."""
    (job,) = ledger.add([new()])
    assert ledger.manifest(job) is None

    for state in (SENDING, submitted(), signed()):
        job = walk(ledger, job, state)
        assert ledger.manifest(job) == b"text"
    ledger.mark_filed(job)

    assert ledger.manifest(job) is None
    assert ledger.manifest(replace(job, number=77)) is None


def test_manifest_is_forgotten(ledger, tmp_path):
    """Not a word of a manifest is left on the disk, once its job was filed and the journal closed.

    A manifest can hold trueCryptPassword and pinCode.
    """
    (job,) = ledger.add([new()])
    job = walk(ledger, job, SENDING, submitted(), signed(), manifest=b"tell-no-one " * 999)
    ledger.mark_filed(job)
    ledger.close()

    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert b"tell-no-one" not in b"".join(left)


# Steps


def test_since_is_when_the_state_began(tmp_path):
    """A step within a state does not make it any younger."""
    times = count(1)
    with closing(Journal(tmp_path, lambda: next(times))) as ledger:
        (job,) = ledger.add([new()])
        validated = ledger.record(job, Pending("2", validated=True))
        assert validated.since == NOW
        assert ledger.record(validated, SENDING).since == 1


def test_obstacle_stays_until_the_service_has_answered(ledger):
    """An obstacle, with its count of attempts, outlives a new try, and ends with an answer."""
    (job,) = ledger.add([new()])
    ledger.record_obstacles([(job, OBSTACLE)])

    sending = ledger.record(ledger.worklist.get(job.number), SENDING)
    assert sending.obstacle == OBSTACLE
    assert ledger.record(sending, submitted()).obstacle is None


@pytest.mark.parametrize("state", [submitted(), signed(), Pending("x")])
def test_step_that_only_a_bug_can_take(ledger, state):
    """A step that may not follow is refused, and nothing is changed."""
    (job,) = ledger.add([new()])
    if isinstance(state, Pending):
        job = ledger.record(job, Rejected("x"))

    with pytest.raises(RuntimeError, match="never followed"):
        ledger.record(job, state)
    assert ledger.unfiled() == [job]


def test_stale_job(ledger):
    """Whoever holds a job as it no longer stands is told so, and changes nothing."""
    (old, gone) = ledger.add([new(), new("HD002", "b.yml")])
    now = ledger.record(old, Pending("2", validated=True))
    ledger.withdraw([gone])

    for job in (old, gone, replace(now, number=77)):
        with pytest.raises(StaleJobError):
            ledger.record(job, SENDING)
    assert ledger.unfiled() == [now]


def test_two_threads_take_one_step(ledger):
    """Of many threads that take a step at once, one takes it, and all others are told."""
    (job,) = ledger.add([new()])

    def submit(_number):
        try:
            return ledger.record(job, SENDING)
        except StaleJobError:
            return None

    with ThreadPoolExecutor(8) as pool:
        taken = [done for done in pool.map(submit, range(40)) if done]
    assert len(taken) == 1


def test_many_threads(ledger, tmp_path):
    """Threads that work on different jobs do not disturb each other."""
    jobs = ledger.add([new(f"HD{number}", f"{number}.yml") for number in range(40)])

    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda job: walk(ledger, job, SENDING, submitted(f"J{job.number}")), jobs),
        )

    before = ledger.unfiled()
    assert [job.job_id for job in before] == [f"J{job.number}" for job in jobs]
    with reopened(ledger, tmp_path) as again:
        assert again.unfiled() == before


# One open job


@pytest.mark.parametrize(
    "states", [(SENDING,), (SENDING, submitted()), (SENDING, submitted(), signed())]
)
def test_one_open_job_for_a_device(ledger, states):
    """The database itself refuses a second open job of a deviceId, whoever asks for it."""
    first, second = ledger.add([new(), new(name="b.yml", sha256="cd34")])
    first = walk(ledger, first, *states)

    with pytest.raises(JournalError, match=r"UNIQUE constraint failed: job\.device_id"):
        ledger.record(second, SENDING)
    assert ledger.unfiled() == [first, second]
    assert ledger.open_job("HD001") == first

    for _ in range(2):
        ledger.record_progress(first, DONE)
    assert ledger.open_job("HD001") is None
    assert ledger.record(second, SENDING) == ledger.open_job("HD001")


def test_one_job_for_a_job_id(ledger):
    """A JobId belongs to one job, also when that is closed."""
    first, second = ledger.add([new(), new("HD002", "b.yml")])
    ledger.record_progress(walk(ledger, first, SENDING, submitted()), DONE)
    second = ledger.record(second, SENDING)

    with pytest.raises(JournalError, match=r"UNIQUE constraint failed: job\.job_id"):
        ledger.record(second, submitted())
    assert ledger.worklist.get(second.number) == second


def test_jobs_of_the_same_bytes(ledger):
    """The same bytes are known from the drop until the service is done with the job."""
    (job,) = ledger.add([new()])
    assert ledger.jobs_of(["ab12"]) == [job]

    for state in (SENDING, submitted(), signed()):
        job = ledger.record(job, state)
        assert ledger.jobs_of(["ab12"]) == [job]
    assert ledger.jobs_of(["cd34"]) == []

    job = ledger.mark_filed(job)
    assert ledger.jobs_of(["ab12"]) == [job]
    job = ledger.record_progress(job, DONE)
    assert ledger.jobs_of(["ab12"]) == []
    assert ledger.job_with("K7M3X") == job
    assert ledger.job_with("J2345") is None


# What the service says


def filed(ledger, device_id="HD001", job_id="K7M3X"):
    """A job that is signed and filed."""
    (job,) = ledger.add([new(device_id, f"{device_id}.yml")])
    return ledger.mark_filed(walk(ledger, job, SENDING, submitted(job_id), signed(job_id)))


@pytest.mark.parametrize("is_filed", [True, False])
def test_progress_is_written_down(ledger, tmp_path, is_filed):
    """Each word of the service is there for the next daemon, whether the job is filed or not."""
    if is_filed:
        job = filed(ledger)
    else:
        (job,) = ledger.add([new()])
        job = walk(ledger, job, SENDING, submitted())

    for progress in (ON_ITS_WAY, DONE):
        after = ledger.record_progress(job, progress)
        assert after == replace(job, progress=progress)
        assert ledger.record_progress(job, progress) == after
        assert ledger.job_with("K7M3X") == after
        assert ledger.worklist.get(job.number) == (None if is_filed else after)

    with reopened(ledger, tmp_path) as again:
        assert again.job_with("K7M3X") == after


def test_progress_of_a_job_that_moved_on(ledger):
    """What was heard of a job is added to it as it stands now, and takes no step back."""
    (job,) = ledger.add([new()])
    old = walk(ledger, job, SENDING, submitted())
    now = walk(ledger, old, signed())

    assert ledger.record_progress(old, ON_ITS_WAY) == replace(now, progress=ON_ITS_WAY)


def test_followed_until_the_service_is_done(ledger, tmp_path):
    """Filed jobs are followed until a terminal word, those with a step to take and rejected not."""
    first, second = filed(ledger), filed(ledger, "HD002", "J2345")
    waiting, bad = ledger.add([new("HD003", "c.yml"), new("HD004", "d.yml")])
    walk(ledger, waiting, SENDING, submitted("J3456"))
    ledger.mark_filed(walk(ledger, bad, Rejected("x")))
    assert ledger.followed() == [first, second]

    first = ledger.record_progress(first, ON_ITS_WAY)
    ledger.record_progress(second, DONE)

    assert ledger.followed() == [first]
    with reopened(ledger, tmp_path) as again:
        assert again.followed() == [first]


def test_reopened_for_another_signature(tmp_path):
    """A filed job with another SIGNATURE has a step to take again, with its new manifest."""
    times = count(1)
    with closing(Journal(tmp_path, lambda: next(times))) as ledger:
        job = ledger.record_progress(filed(ledger), ON_ITS_WAY)
        anew = replace(submitted(), signature="another")

        after = ledger.reopen(job, anew, b"new text")

        assert after == replace(job, state=anew, filed=False, since=after.since)
        assert after.since > job.since
        assert ledger.manifest(after) == b"new text"
        assert ledger.followed() == []
        assert ledger.open_job("HD001") == after
    with closing(Journal(tmp_path, lambda: NOW)) as again:
        assert again.unfiled() == [after]
        again.mark_filed(again.record(after, replace(signed(), signature="another")))
        assert [job.state.signature for job in again.followed()] == ["another"]


def test_only_what_was_filed_is_reopened(ledger):
    """Who holds a job as it no longer stands cannot have it signed once more."""
    old = filed(ledger)
    anew = replace(submitted(), signature="another")
    ledger.reopen(old, anew, b"text")

    for job in (old, replace(old, number=77)):
        with pytest.raises(StaleJobError):
            ledger.reopen(job, anew, b"other")
    (job,) = ledger.unfiled()
    assert ledger.manifest(job) == b"text"
    with pytest.raises(StaleJobError):
        ledger.reopen(job, anew, b"other")


# One writer, many readers


def test_second_writer_is_refused(ledger, tmp_path):
    """A second daemon on the same journal is refused with what to do; the first goes on."""
    with pytest.raises(JournalError, match="another driveprep daemon") as caught:
        Journal(tmp_path, lambda: NOW)
    assert "systemctl stop" in caught.value.hint
    assert daemon_info(tmp_path) is not None
    ledger.add([new()])

    ledger.close()
    ledger.close()
    assert daemon_info(tmp_path) is None
    Journal(tmp_path, lambda: NOW).close()


def test_word_for_readers(ledger, tmp_path):
    """A daemon at work leaves word of itself; the last word counts, however long the one before."""
    assert daemon_info(tmp_path) == {"pid": os.getpid()}
    ledger.publish(pid=1, lastScan="x" * 300)
    ledger.publish(pid=2, lastScan="Ä")

    assert daemon_info(tmp_path) == {"pid": 2, "lastScan": "Ä"}
    ledger.close()
    assert daemon_info(tmp_path) is None
    ledger.publish(pid=3)  # too late, but no error
    assert daemon_info(tmp_path) is None


def test_word_of_no_daemon(tmp_path):
    """Where no daemon is, nothing is told, and asking makes no file."""
    assert daemon_info(tmp_path) is None
    assert daemon_info(tmp_path / "missing") is None
    assert os.listdir(tmp_path) == []


def test_history_beside_a_writer(ledger, tmp_path):
    """A reader sees what is committed, also in the middle of a writer's step, and holds up none."""
    (job,) = ledger.add([new()])

    with ledger._commit() as database:
        database.execute("UPDATE job SET name = 'uncommitted'")
        assert recent(tmp_path, 0) == [job]

    reader = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    with closing(reader):
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM job").fetchone() == (1,)
        ledger.add([new("HD002", "b.yml")])  # while a reader is in the middle of reading


def test_history_shows_what_matters(ledger, tmp_path):
    """Every unfiled or open job is shown, and those that moved lately; no other."""
    (waiting,) = ledger.add([new()])
    open_, *closed = [filed(ledger, f"HD{number}", f"J{number}") for number in range(2, 5)]
    closed = [ledger.record_progress(job, DONE) for job in closed]

    assert recent(tmp_path, NOW + 1) == [waiting, open_]
    assert recent(tmp_path, NOW) == [waiting, open_, *closed]


def test_one_job_is_found(ledger, tmp_path):
    """A job is found by its JobId in any case, or as the last one of its deviceId."""
    first = ledger.record_progress(filed(ledger), DONE)
    (second,) = ledger.add([new()])
    (third,) = ledger.add([new("K7M3X", "c.yml")])  # a deviceId may look like a JobId

    assert find(tmp_path, "k7m3x") == first
    assert find(tmp_path, "K7M3X") == first
    assert find(tmp_path, "HD001") == second
    assert find(tmp_path, "hd001") is None
    assert find(tmp_path, "") is None
    assert third.device_id == "K7M3X"


def test_history_of_no_journal(tmp_path):
    """Where there is no journal yet, there is no history, and none is made."""
    assert recent(tmp_path, 0) == []
    assert recent(tmp_path / "missing", 0) == []
    assert find(tmp_path, "HD001") is None
    assert os.listdir(tmp_path) == []


def test_history_without_a_daemon(ledger, tmp_path):
    """A journal that no daemon has is read all the same, as its last daemon left it."""
    (job,) = ledger.add([new()])
    ledger.close()

    assert recent(tmp_path, 0) == [job]


# Damage


def test_damaged_journal(ledger, tmp_path):
    """A journal that cannot be trusted is refused by name, is not claimed, and is kept."""
    ledger.close()
    os.truncate(tmp_path / NAME, 5000)

    for _ in range(2):
        with pytest.raises(JournalError, match=f"journal .*{NAME}: "):
            Journal(tmp_path, lambda: NOW)
    with pytest.raises(JournalError, match=f"journal .*{NAME}: "):
        recent(tmp_path, 0)
    assert (tmp_path / NAME).stat().st_size == 5000
    assert daemon_info(tmp_path) is None


def test_a_large_journal_is_checked_while_it_is_in_use(tmp_path):
    """It opens at once; its damage is found by the check, before anything is submitted."""
    with closing(Journal(tmp_path, lambda: NOW)) as ledger:
        ledger.add([new(f"HD{number}", "a.yml", f"{number:064}") for number in range(200)])
    grow(tmp_path / NAME, 72 << 20)
    with closing(Journal(tmp_path, lambda: NOW)) as ledger:
        ledger.check()
    with (tmp_path / NAME).open("r+b") as file:
        file.seek(40 << 20)
        file.write(os.urandom(4096))

    with closing(Journal(tmp_path, lambda: NOW)) as ledger:
        with pytest.raises(JournalError) as caught:
            ledger.check()
        assert caught.value.code == "journal-damaged"


def grow(path, size):
    """Fill a journal with finished jobs until its file is that large."""
    with closing(sqlite3.connect(path)) as connection, connection:
        count = 0
        while path.stat().st_size + (1 << 20) < size:
            connection.executemany(
                "INSERT INTO job (device_id, file_system, name, sha256, state, fields, since,"
                " filed) VALUES (?, 'NTFS', 'a.yml', ?, 'Rejected', ?, 1, 1)",
                [(f"X{count + n}", f"{count + n:064}", "x" * 2000) for n in range(4000)],
            )
            count += 4000
            connection.commit()


def test_damaged_log_of_a_journal(tmp_path):
    """Steps that were synced and then damaged are missed, as often as the daemon is started."""
    child = os.fork()
    if child == 0:
        ledger = Journal(tmp_path, lambda: NOW)
        walk(ledger, ledger.add([new()])[0], SENDING, submitted(), signed())
        os._exit(0)
    os.waitpid(child, 0)
    log = tmp_path / f"{NAME}-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 4] ^= 1
    log.write_bytes(data)

    for _ in range(3):
        with pytest.raises(JournalError, match=f"{NAME}-wal is damaged"):
            Journal(tmp_path, lambda: NOW, is_new=False)


@pytest.mark.parametrize("loss", ["missing", "emptied"])
def test_lost_journal_of_an_old_spool(ledger, tmp_path, loss):
    """Where jobs were prepared, a journal that has lost them is not begun anew."""
    ledger.close()
    os.truncate(tmp_path / NAME, 0)
    if loss == "missing":
        (tmp_path / NAME).unlink()

    for _ in range(2):
        with pytest.raises(JournalError, match="is missing or empty") as caught:
            Journal(tmp_path, lambda: NOW, is_new=False)
        assert "backup" in caught.value.hint
    assert (tmp_path / NAME).exists() == (loss == "emptied")


@pytest.mark.parametrize(
    "change",
    [
        "state = 'Lost'",
        "fields = '{'",
        "fields = '{\"x\": 1}'",
        "obstacle = '{}'",
        "progress = '1'",
    ],
)
def test_row_that_makes_no_sense(ledger, tmp_path, change):
    """A job that cannot be read stops the daemon as other damage does, and names the journal."""
    ledger.add([new()])
    ledger.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database, database:
        database.execute(f"UPDATE job SET {change}")

    with pytest.raises(JournalError, match=NAME):
        Journal(tmp_path, lambda: NOW)
    with pytest.raises(JournalError, match=NAME):
        recent(tmp_path, 0)


def test_journal_that_cannot_be_opened(tmp_path):
    """Where the folder is missing, or the journal is a folder, this is told."""
    (tmp_path / NAME).mkdir()

    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(JournalError, match="cannot trust or write"):
            Journal(folder, lambda: NOW)


@needs_root
def test_full_disk(tmp_path):
    """A full disk is told apart from damage; what could not be written was not done."""
    with mounted(tmp_path / "disk", "size=512k") as disk:
        with closing(Journal(disk, lambda: NOW)) as ledger:
            (job,) = ledger.add([new()])
            fill = disk / "fill"
            with fill.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 1024)

            with pytest.raises(JournalFullError, match="is full"):
                list(map(ledger.add, ([new(f"HD1{number}")] for number in range(1000))))
            on_disk = recent(disk, 0)
            assert ledger.unfiled() == on_disk
            assert on_disk[0] == job

            fill.unlink()
            ledger.record(job, SENDING)
            before = ledger.unfiled()
        with closing(Journal(disk, lambda: NOW)) as again:
            assert again.unfiled() == before


def test_hundred_thousand_old_jobs(ledger, tmp_path):
    """A journal with the jobs of years is opened and asked in a moment."""
    row = "'HD'||n, 'NTFS', 'a.yml', 'x'||n, 'Signed', '{}', 'J'||n, 1.0, 1, 1"
    with ledger._commit() as database:
        database.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM numbers LIMIT 100000)"
            " INSERT INTO job (device_id, file_system, name, sha256, state, fields, job_id, since,"
            f" filed, closed) SELECT {row} FROM numbers"
        )
    (job,) = ledger.add([new()])
    with reopened(ledger, tmp_path) as again:
        assert again.unfiled() == [job]
        plans = [
            again._database.execute(
                f"EXPLAIN QUERY PLAN SELECT 1 FROM job WHERE {where}"
            ).fetchall()
            for where in (
                "filed = 0",
                f"device_id = 'x' AND {OPEN}",
                f"sha256 = 'x' AND {OPEN}",
                "job_id = 'x'",
            )
        ]
    assert [plan[0][3] for plan in plans if "USING" not in plan[0][3]] == []


# Anything in any order


UNKNOWN = Job(0, "HD001", "NTFS", "a.yml", "ab12", Pending("1.2.3.4"), NOW)


def indexes(worklist):
    """All that a worklist finds."""
    names, device_ids = ("a.yml", "b.yml", "c.yml"), ("HD1", "HD2", "")
    return (
        worklist.jobs(),
        [worklist.of_name(name) for name in names],
        [worklist.of_device(device_id) for device_id in device_ids],
        {device_id: sorted(found) for device_id, found in worklist.names.items()},
        sorted(job.number for job in worklist.timed()),
        sorted(job.number for job in worklist.obstructed()),
        sorted(job.number for job in worklist.unvalidated(99)),
        worklist.blocked(),
        sorted(worklist.file_names()),
        len(worklist),
    )


class Ledger(RuleBasedStateMachine):
    """Any steps in any order: memory, disk and the next daemon always say the same."""

    @initialize()
    def begin(self):
        """An empty journal."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.ledger = Journal(self.path, lambda: NOW)
        self.known = []  # every job as it once stood
        self.ids = count(1)

    @rule(device_ids=st.lists(st.sampled_from(["HD1", "HD2", ""]), min_size=1, max_size=3))
    def add(self, device_ids):
        """Manifests are dropped."""
        self.known += self.ledger.add([new(device_id) for device_id in device_ids])

    @rule(data=st.data(), which=st.sampled_from([Pending, Submitting, Submitted, Signed, Rejected]))
    def record(self, data, which):
        """A step, of a job as it stands or as it once stood; it is taken or changes nothing."""
        job = self.any(data)
        job_id = job.job_id or f"J{next(self.ids)}"
        states = {
            Pending: Pending(f"{next(self.ids)}", validated=True),
            Submitting: SENDING,
            Submitted: submitted(job_id),
            Signed: signed(job_id),
            Rejected: Rejected("x"),
        }
        before = self.ledger.unfiled()
        rival = self.ledger.open_job(job.device_id)
        try:
            self.known.append(self.ledger.record(job, states[which], b"text"))
        except (StaleJobError, RuntimeError):
            assert self.ledger.unfiled() == before
        except JournalError:
            assert which is Submitting
            assert rival.number != job.number
            assert self.ledger.unfiled() == before
        else:
            assert rival is None or rival.number == job.number or which is not Submitting

    @rule(data=st.data())
    def withdraw(self, data):
        """A file is taken away."""
        self.ledger.withdraw([self.any(data)])

    @rule(data=st.data(), obstacle=st.sampled_from([None, OBSTACLE]))
    def hinder(self, data, obstacle):
        """Something is in the way, or no longer."""
        if job := self.ledger.worklist.get(self.any(data).number):
            self.ledger.record_obstacles([(job, obstacle)])

    @rule(data=st.data())
    def file(self, data):
        """A job that is at its end is filed."""
        job = self.ledger.worklist.get(self.any(data).number)
        if job and isinstance(job.state, Signed | Rejected):
            self.known.append(self.ledger.mark_filed(job))

    @rule(data=st.data(), progress=st.sampled_from([ON_ITS_WAY, DONE]))
    def progress(self, data, progress):
        """The service says something of a job it has; a job it is done with is asked no more."""
        job = self.ledger.job_with(self.any(data).job_id)
        if job and not job.is_closed:
            self.known.append(self.ledger.record_progress(job, progress))

    @rule(data=st.data())
    def sign_again(self, data):
        """The service gave a job another SIGNATURE."""
        job = self.any(data)
        before = self.ledger.unfiled()
        if isinstance(job.state, Signed) and job.filed:
            try:
                self.known.append(self.ledger.reopen(job, submitted(job.job_id), b"text"))
            except StaleJobError:
                assert self.ledger.unfiled() == before

    @rule()
    def restart(self):
        """The next daemon finds what the one before had in mind."""
        before = self.ledger.unfiled()
        self.ledger.close()
        self.ledger = Journal(self.path, lambda: NOW)
        assert self.ledger.unfiled() == before

    def any(self, data):
        """Any job, as it stands or once stood."""
        return data.draw(st.sampled_from(self.known or [UNKNOWN]))

    @invariant()
    def memory_is_what_the_disk_says(self):
        """A reader beside the daemon sees just what the daemon has in mind."""
        if hasattr(self, "ledger"):
            on_disk = recent(self.path, NOW + 1)
            assert [job for job in on_disk if not job.filed] == self.ledger.unfiled()
            assert [job for job in on_disk if job.filed] == self.ledger.followed()
            assert indexes(self.ledger.worklist) == indexes(Worklist(self.ledger.unfiled()))
            open_devices = [
                job.device_id
                for job in on_disk
                if isinstance(job.state, Submitting | Submitted | Signed) and not job.is_closed
            ]
            assert len(open_devices) == len(set(open_devices))

    def teardown(self):
        """Nothing is left."""
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.folder.cleanup()


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("how", ["moved", "replaced"])
def test_a_journal_that_was_replaced_while_it_was_open(tmp_path, how):
    """Before each commit the path must still lead to the open file; else nothing is written."""
    with closing(Journal(tmp_path, lambda: NOW)) as ledger:
        ledger.add([new()])
        (tmp_path / NAME).rename(tmp_path / "old")
        if how == "replaced":
            (tmp_path / NAME).write_bytes((tmp_path / "old").read_bytes())

        with pytest.raises(JournalError, match="was moved or replaced") as caught:
            ledger.add([new("HD002", "b.yml", "cd34")])

        assert "driveprep restore" in caught.value.hint


@needs_root
def test_a_read_only_disk_is_not_damage(tmp_path):
    """The disk is named, `dmesg` too; nobody is told to restore; it goes on when that is mended."""
    with mounted(tmp_path / "disk") as place:
        with closing(Journal(place, lambda: NOW)) as ledger:
            ledger.add([new()])
        assert os.system(f"mount -o remount,ro {place}") == 0

        with pytest.raises(JournalError, match="is read-only") as caught:
            Journal(place, lambda: NOW, is_new=False)
        assert os.system(f"mount -o remount,rw {place}") == 0

        assert caught.value.code == "journal-read-only"
        assert "dmesg" in caught.value.hint
        assert "Do not restore" in caught.value.hint
        with closing(Journal(place, lambda: NOW, is_new=False)) as ledger:
            ledger.add([new("HD002", "b.yml", "cd34")])
            assert len(ledger.unfiled()) == 2


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.EDQUOT, JournalFullError, "quota"),
        (errno.ENOSPC, JournalFullError, "full"),
        (errno.EIO, JournalError, "has an error"),
        (errno.ENODEV, JournalError, "has an error"),
    ],
)
def test_the_cause_is_found_beside_the_journal(tmp_path, code, kind, words):
    """SQLite tells only a full disk apart: a trial write next to it shows the cause."""
    with failing(2, code):  # the write of the trial file
        found = disk.explain(tmp_path / NAME, sqlite3.OperationalError("disk I/O error"))

    assert type(found) is kind
    assert words in str(found)
    assert list(tmp_path.iterdir()) == []
    assert disk.explain(tmp_path / NAME, sqlite3.OperationalError("locked")) is None
