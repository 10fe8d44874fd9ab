"""Somebody at a terminal, with real commands: a configuration, a spool and a service of his own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import json_schema
import pytest

from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE, Emulator
from daemon.jobs.job import NewJob, Pending, Signed, Submitted, Submitting
from daemon.jobs.journal import Journal
from daemon.spool.spool import Spool

GUIDE = Path(__file__).parents[1] / "data" / "guide-manifest.yml"
DRIVE = {"deviceNode": "/dev/sdx1", "label": "HD001", "size": 8_000_000}


class Person:
    """Somebody at a terminal, with a configuration of his own."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.environment: dict[str, str] = {}
        self.spool = folder / "spool"
        self.config = folder / "config.yml"
        secret = folder / "secret"
        secret.touch(0o600)
        secret.write_text(EXAMPLE.secret_access_key)
        self.config.write_text(
            f"endpoint: {endpoint}\ncredentials:\n  access_key_id: {EXAMPLE.access_key_id}\n"
            f"  secret_access_key_file: {secret}\nspool: {self.spool}\ntimeout: 5\n"
        )

    def types(self, *words: object) -> subprocess.CompletedProcess[str]:
        """One command, and what comes of it; never a traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "daemon", *map(str, words)],
            env=os.environ
            | {"DRIVEPREP_CONFIG": str(self.config), "COLUMNS": "200"}
            | self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        json_schema.check_output(words, done)
        return done


@pytest.fixture(scope="module")
def service():
    """The emulated service."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def person(tmp_path, service):
    """Somebody who may use the service."""
    return Person(tmp_path, service.endpoint)


@pytest.fixture
def ledger(person):
    """A journal with a prepared job of the service's, made as the daemon makes it."""
    Spool(person.spool, 1.0, time.monotonic)
    made = Journal(person.spool, time.time)
    yield made
    made.close()


def prepare(ledger, service, person, device_id="HD001"):
    """Walk one job to its end, with its papers."""
    text = GUIDE.read_text().replace("HD001", device_id)
    client = Client(service.endpoint, EXAMPLE, 5.0)
    answer = client.create_job(text)
    client.close()
    (job,) = ledger.add(
        [
            NewJob(
                device_id=device_id,
                file_system="NTFS",
                name=f"{device_id}.yml",
                sha256=device_id,
                state=Pending("1"),
                since=time.time(),
            )
        ]
    )
    sent = Submitting(time.time(), service.endpoint, EXAMPLE.access_key_id, DRIVE)
    job = ledger.record(job, sent, text.encode())
    contents = answer.signature_file_contents.strip() + "\n"
    state = Submitted(answer.job_id, contents, "AWS\nSeattle", "", time.time(), DRIVE)
    job = ledger.record(job, state)
    now = time.time()
    signed = Signed(answer.job_id, contents, "AWS\nSeattle", "", now, now, DRIVE)
    job = ledger.record(job, signed)
    folder = person.spool / "prepared" / f"{answer.job_id}-{device_id}"
    folder.mkdir()
    (folder / "manifest.yml").write_text(text)
    return ledger.mark_filed(job)
