"""Manifest texts: beside the journal, there as long as it refers to them, and in every backup."""

import stat
from contextlib import closing

import pytest

from daemon.errors import JournalError
from daemon.jobs import backup
from daemon.jobs.job import NewJob, Pending, Submitting
from daemon.jobs.journal import Journal
from daemon.jobs.parts import manifests
from daemon.jobs.reader import recent
from daemon.jobs.schema import NAME
from daemon.jobs.storage.texts import FOLDER

SENDING = Submitting(1.0, "https://service", "AKIA", {})
SECRET = b"pinCode: tell-no-one\n"


@pytest.fixture
def spool(tmp_path):
    """A folder for a journal that a group may read."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o2750)
    return tmp_path / "spool"


@pytest.fixture
def journal(spool):
    """A journal, open for writing."""
    with closing(Journal(spool, lambda: 1.0)) as opened:
        yield opened


def sent(journal, device_id="HD001", text=SECRET):
    """One job whose request is about to leave."""
    new = NewJob(
        device_id=device_id,
        file_system="NTFS",
        name=f"{device_id}.yml",
        sha256=device_id,
        state=Pending("1"),
        since=1.0,
    )
    return journal.record(*journal.add([new]), SENDING, text)


def kept(spool):
    """The texts that are kept."""
    return sorted(path.read_bytes() for path in (spool / FOLDER).iterdir())


def of_others(spool):
    """All bytes of the journal that its group may read."""
    return b"".join(path.read_bytes() for path in spool.glob("journal*"))


def reopened(spool):
    """The journal as the next daemon opens it."""
    return closing(Journal(spool, lambda: 1.0, is_new=False))


def test_the_journal_itself_has_no_text(journal, spool):
    """Nor has its log, at any time."""
    sent(journal)

    assert SECRET not in of_others(spool)
    assert kept(spool) == [SECRET]


def test_a_text_goes_with_its_job(journal, spool):
    """When it is filed, and when it is withdrawn after a request that was refused."""
    first, second = sent(journal), sent(journal, "HD002")
    journal.mark_filed(first)
    journal.withdraw([journal.record(second, Pending("2"))])

    assert kept(spool) == []


def test_a_text_is_replaced(journal, spool):
    """A manifest that was edited after a refusal."""
    job = journal.record(sent(journal), Pending("2"))
    job = journal.record(job, SENDING, b"another")

    assert journal.manifest(job) == b"another"
    assert kept(spool) == [b"another"]


def test_what_a_crash_has_left_goes_at_the_next_start(journal, spool):
    """A text whose step was never recorded, or only a part of one; others stay."""
    job = sent(journal)
    journal.close()
    (text,) = (spool / FOLDER).iterdir()
    text.with_name(text.name.replace("1.", "2.")).write_bytes(SECRET)
    text.with_name("3." + "0" * 64).write_bytes(b"pin")

    with reopened(spool) as again:
        assert again.manifest(job) == SECRET
    assert kept(spool) == [SECRET]


@pytest.mark.parametrize("spoil", ["write_bytes", "unlink"])
def test_a_text_that_cannot_be_trusted_is_not_used(journal, spool, spoil):
    """Like a journal that is damaged."""
    job = sent(journal)
    (text,) = (spool / FOLDER).iterdir()
    getattr(text, spoil)(*[b"other"] * (spoil == "write_bytes"))

    with pytest.raises(JournalError, match="cannot trust"):
        journal.manifest(job)


def test_a_backup_has_the_texts(journal, spool, tmp_path):
    """Restored, they are again where only the daemon can read them, from the first moment on."""
    job = sent(journal)
    backup.backup(spool, tmp_path / "copy")
    journal.mark_filed(job)
    journal.close()

    backup.restore(spool, tmp_path / "copy")
    assert stat.S_IMODE((spool / NAME).stat().st_mode) == 0o600

    with reopened(spool) as again:
        assert again.manifest(job) == SECRET
        assert SECRET not in of_others(spool)
    assert SECRET not in of_others(spool)
    assert stat.S_IMODE((spool / NAME).stat().st_mode) == 0o640


@pytest.mark.parametrize("is_gone_first", [False, True])
def test_a_backup_is_of_one_moment(journal, spool, tmp_path, monkeypatch, is_gone_first):
    """A job that is filed just then is in it whole: with its text, or filed."""
    jobs, read = [sent(journal)], manifests.read

    def while_it_is_filed(source, texts):
        source.execute("SELECT 1 FROM job").fetchone()  # the moment is now
        found = None if is_gone_first else read(source, texts)
        if jobs:
            journal.mark_filed(jobs.pop())
        return read(source, texts) if found is None else found

    monkeypatch.setattr(manifests, "read", while_it_is_filed)
    backup.backup(spool, tmp_path / "copy")
    journal.close()
    backup.restore(spool, tmp_path / "copy")

    with reopened(spool) as again:
        (job,) = recent(spool, 0.0)
        assert (job.filed, again.manifest(job)) == (is_gone_first, None if job.filed else SECRET)
