"""Copies of the journal: made while it is open, put back while it is not."""

import os
import stat
from contextlib import closing

import pytest

from daemon.errors import JournalError
from daemon.jobs import backup
from daemon.jobs.job import NewJob, Pending
from daemon.jobs.journal import Journal
from daemon.jobs.reader import recent
from daemon.jobs.schema import NAME


def add(ledger, device_id):
    """One more job."""
    state, name = Pending("1"), f"{device_id}.yml"
    (job,) = ledger.add(
        [
            NewJob(
                device_id=device_id,
                file_system="NTFS",
                name=name,
                sha256=device_id,
                state=state,
                since=1.0,
            )
        ]
    )
    return job


@pytest.fixture
def spool(tmp_path):
    """A folder for a journal."""
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def test_a_copy_beside_the_daemon_is_put_back(spool, tmp_path):
    """It has mode 0600 and all jobs of its moment; later ones are gone after the restore."""
    copy = tmp_path / "copy"
    with closing(Journal(spool, lambda: 1.0)) as ledger:
        add(ledger, "HD001")
        backup.backup(spool, copy)
        add(ledger, "HD002")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert backup.age(spool, copy.stat().st_mtime) < 60

    backup.restore(spool, copy)

    assert [job.device_id for job in recent(spool, 0.0)] == ["HD001"]
    with closing(Journal(spool, lambda: 1.0, is_new=False)) as ledger:
        add(ledger, "HD003")


def test_a_log_of_another_time_is_not_applied(spool, tmp_path):
    """What a killed daemon left in its log belongs to the journal that is replaced."""
    copy = tmp_path / "copy"
    with closing(Journal(spool, lambda: 1.0)) as ledger:
        add(ledger, "HD001")
        backup.backup(spool, copy)
        add(ledger, "HD002")
        log = (spool / f"{NAME}-wal").read_bytes()
    (spool / f"{NAME}-wal").write_bytes(log)

    backup.restore(spool, copy)

    assert not (spool / f"{NAME}-wal").exists()
    assert [job.device_id for job in recent(spool, 0.0)] == ["HD001"]


def test_never_over_a_file_and_never_beside_a_daemon(spool, tmp_path):
    """An existing file is kept; a running daemon is named."""
    (tmp_path / "copy").write_text("x")
    with closing(Journal(spool, lambda: 1.0)) as ledger:
        add(ledger, "HD001")
        with pytest.raises(FileExistsError):
            backup.backup(spool, tmp_path / "copy")
        backup.backup(spool, tmp_path / "good")
        for act in (
            lambda: backup.restore(spool, tmp_path / "good"),
            lambda: backup.make_empty(spool),
        ):
            with pytest.raises(JournalError, match="already using"):
                act()

    assert (tmp_path / "copy").read_text() == "x"


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_copy_changes_nothing(spool, tmp_path, damage):
    """The journal stays as it is."""
    with closing(Journal(spool, lambda: 1.0)) as ledger:
        add(ledger, "HD001")
        backup.backup(spool, tmp_path / "copy")
    data = (tmp_path / "copy").read_bytes()
    broken = data[: len(data) // 2] if damage is None else damage
    (tmp_path / "copy").write_bytes(broken)
    before = (spool / NAME).read_bytes()

    with pytest.raises(JournalError):
        backup.restore(spool, tmp_path / "copy")

    assert (spool / NAME).read_bytes() == before


def test_an_empty_journal_is_made_only_where_there_is_none(spool):
    """The daemon fills it from papers and service; one that is there is not touched."""
    backup.make_empty(spool)
    with closing(Journal(spool, lambda: 1.0, is_new=False)) as ledger:
        add(ledger, "HD001")

    with pytest.raises(JournalError, match="there is a journal"):
        backup.make_empty(spool)
    assert os.listdir(spool)
