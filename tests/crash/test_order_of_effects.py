"""In which order the main job changes the world: every step is durable before the next one."""

import os
from contextlib import closing
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from unittest.mock import patch

from world import World, manifest

from daemon.jobs.journal import Journal

DRIVE, PREPARED, PENDING = "media/HD001", "spool/prepared", "spool/pending"
# Made and filled before they are synced; the sync is what counts.
SMALL = ("open ", "os.write", "os.mkdir", "os.chmod", "sqlite PRAGMA", "sqlite script")


def effects_of(world) -> list[str]:
    """What one life of the daemon does to the world, and where it reads SIGNATURE back."""
    heard: list[str] = []
    read = os.read

    def note(what):
        if heard and heard[-1] == "sqlite COMMIT":
            heard[-1] = journaled(world)
        if not what.startswith(SMALL):
            heard.append(what.replace(f"{world.folder}/", ""))

    def reading(descriptor, size):
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if path == f"{world.folder}/{DRIVE}/SIGNATURE":
            heard.append(f"read {DRIVE}/SIGNATURE")
        return read(descriptor, size)

    with patch.object(os, "read", reading):
        world.live(note)
    return heard


def journaled(world) -> str:
    """What the latest commit has written."""
    (row,) = world.rows()
    return f"commit {row['state']}{' filed' if row['filed'] else ''}"


def test_every_step_is_durable_before_the_next():
    """Journal before request, answer before SIGNATURE, SIGNATURE before Signed, filed last."""
    with World() as world:
        world.plug_in("HD001")
        world.drop("hd1.yml", manifest())

        effects = effects_of(world)

    papers = "spool/.J0001-HD001.partial"
    text = f"spool/.texts/1.{sha256(manifest()).hexdigest()}"
    word = "os.pwrite spool/journal.lock"  # for `status`; nothing depends on it
    outside = [what for what in effects if f"{papers}/" not in what and what != word]
    assert [what for what, _ in groupby(outside)] == [
        "commit Pending",
        "request ListJobs",  # has the service jobs that the journal has lost?
        "answer to ListJobs",
        f"os.fsync {DRIVE}/.SIGNATURE.driveprep",  # the drive can be written to
        f"os.remove {DRIVE}/.SIGNATURE.driveprep",
        f"os.fsync {DRIVE}",
        "os.fsync spool",  # which has .texts now
        f"os.fsync {text}",  # what the commit refers to
        "os.fsync spool/.texts",
        "commit Submitting",
        "request CreateJob",
        "answer to CreateJob",
        "commit Submitted",
        f"os.remove {DRIVE}/.SIGNATURE.driveprep",  # if it were there
        f"os.fsync {DRIVE}/.SIGNATURE.driveprep",
        f"os.rename {DRIVE}/.SIGNATURE.driveprep {DRIVE}/SIGNATURE",
        f"os.fsync {DRIVE}/SIGNATURE",  # for its own record, which has the name, too
        f"os.fsync {DRIVE}",
        f"read {DRIVE}/SIGNATURE",
        "commit Signed",
        f"os.fsync {papers}",
        f"os.rename {papers} {PREPARED}/J0001-HD001",
        f"os.fsync {PREPARED}",
        "os.fsync spool",
        f"os.rename {PENDING}/hd1.yml spool/.taken/hd1.yml",  # compared where nobody edits it
        "os.remove spool/.taken/hd1.yml",
        "os.fsync spool/.taken",
        f"os.fsync {PENDING}",
        "commit Signed filed",
        f"os.remove {text}",
    ]


def test_the_journal_is_synced_with_each_commit(tmp_path):
    """A write-ahead log that is synced at every commit, not only at checkpoints."""
    with closing(Journal(tmp_path, lambda: 0.0)) as journal:
        pragma = journal._database.execute

        assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
        assert pragma("PRAGMA synchronous").fetchone() == (2,)  # FULL
