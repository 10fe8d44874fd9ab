"""A long day in one process: whatever happens with the jobs, the process does not grow.

300 jobs; DRIVEPREP_DAY=5000 makes it as long as `tests/bench/day` does. A few drives are made again
and again. The process is watched from outside, through /proc.
"""

from __future__ import annotations

import os
import re
import sqlite3
import statistics
from contextlib import closing
from pathlib import Path

import as_operator
import daemon_process
import pytest
from as_operator import give_own_uuid, jobs_for, manifest_for, unmount

service, start = daemon_process.service, daemon_process.start

JOBS = int(os.environ.get("DRIVEPREP_DAY", "300"))
DRIVES = 3
SAMPLES = 30  # of the process in a day
RARE = 30  # of so many jobs one is in doubt, and one refused at first
WARM = 1 / 3  # of a day: until then, modules are loaded and caches fill
BYTES_PER_JOB = 1024  # of memory, at most; a leak of one small Python object would be as much
SLACK_BYTES = 1 << 20  # what the memory of an idle process varies by
ROW_BYTES = 4096  # of the journal, and of the log with all lines of one job


class Day:
    """The daemon, its service and a few drives; each way of preparing one is a method."""

    def __init__(self, daemon, service, drives, log):
        self.daemon, self.service, self.drives = daemon, service, drives
        self.samples = []  # (job, bytes of memory, descriptors, threads)
        self._log = log
        self._told = ""
        self.lines = 0

    def live(self, jobs):
        """Prepare drives, one after the other, each in another way."""
        ways = [
            *(self.plain, self.drive_first, self.edited, self.pulled),
            *(self.reloaded, self.rejected, self.withdrawn),
        ]
        slow = {RARE // 2: self.refused_for_now, RARE - 1: self.answer_lost}  # some seconds each
        for number in range(jobs):
            drive = self.drives[number % DRIVES]
            drive.make(f"DAY{number}")
            give_own_uuid(drive)
            slow.get(number % RARE, ways[number % len(ways)])(drive)
            self.until(f"{drive.label} .*papers filed")
            unmount(drive)
            assert len(jobs_for(self.service, drive.label)) == 1
            if number % max(1, jobs // SAMPLES) == 0:
                self.samples.append((number, *self._sample()))

    def plain(self, drive):
        """Manifest, then drive."""
        self.daemon.drop(drive.label)
        as_operator.mount(drive)

    def drive_first(self, drive):
        """Drive, then manifest."""
        as_operator.mount(drive)
        self.daemon.drop(drive.label)

    def refused_for_now(self, drive):
        """The service asks to be asked later."""
        self.service.faults.add("error", "CreateJob", code="Throttling", status=400)
        self.plain(drive)

    def answer_lost(self, drive):
        """The job is made, its answer is lost: it is found in the service's list."""
        self.service.faults.add("cut-after", "CreateJob")
        self.plain(drive)

    def edited(self, drive):
        """The manifest is replaced while it waits."""
        self.daemon.drop(drive.label)
        self.until(f"{drive.label}.* (no mounted drive|is present but not mounted)")
        self.daemon.drop(drive.label, manifest_for(drive.label, logBucket="another"))
        self.until(f"{drive.label}: manifest .* changed")
        as_operator.mount(drive)

    def pulled(self, drive):
        """The drive goes as soon as it has come."""
        as_operator.mount(drive)
        drive.unmount(lazily=True)
        self.plain(drive)

    def reloaded(self, drive):
        """The configuration is read again."""
        self.daemon.configure(**SETTINGS)
        self.until("configuration read")
        self.plain(drive)

    def rejected(self, drive):
        """A manifest with a fault comes first."""
        self.daemon.drop(drive.label, b"deviceId: [", f"{drive.label}-bad.yml")
        self.until(f"rejected/{drive.label}-bad")
        self.plain(drive)

    def withdrawn(self, drive):
        """A manifest is taken away, and another one comes."""
        self.daemon.drop(drive.label, name=f"{drive.label}-old.yml").unlink()
        self.plain(drive)

    def until(self, pattern):
        """Wait for a line of the log that is not read yet; keep nothing of what was read."""

        def is_told():
            new = self._log.read()
            self.lines += new.count("\n")
            self._told = (self._told + new)[-20_000:]
            return re.search(pattern, self._told)

        found = self.daemon.until(pattern, is_told, 60)
        self._told = self._told[found.end() :]

    def _sample(self):
        process = Path(f"/proc/{self.daemon.pid}")
        status = (process / "status").read_text()
        memory = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024
        threads = int(re.search(r"Threads:\s+(\d+)", status)[1])
        return memory, len(list((process / "fd").iterdir())), threads


SETTINGS = {"validate_on_drop": False, "timeout": 2}


@pytest.mark.timeout(300 + JOBS)
def test_a_long_day(plug, service, start):
    """Memory, descriptors and threads do not grow; the journal grows by its rows."""
    daemon = start(**SETTINGS)
    drives = [plug(f"DAY{number}") for number in range(DRIVES)]
    with daemon.config.with_name("daemon.log").open() as log:
        day = Day(daemon, service, drives, log)
        day.live(JOBS)

    warm = [one for one in day.samples if one[0] >= JOBS * WARM]
    numbers, memory, descriptors, threads = zip(*warm, strict=True)
    slope = statistics.linear_regression(numbers, memory).slope
    sizes = f"memory from {memory[0] >> 10} to {memory[-1] >> 10} KiB"
    most = f"{max(descriptors)} descriptors, {max(threads)} threads"
    print(f"\n{JOBS} jobs: {slope:.0f} bytes a job, {sizes}, {most}")
    assert slope * (numbers[-1] - numbers[0]) < SLACK_BYTES + BYTES_PER_JOB * JOBS * (1 - WARM)
    # A single sample may find a connection that is being opened, or a worker that is about to end.
    for values in (descriptors, threads):
        half = len(values) // 2
        assert statistics.median(values[half:]) <= statistics.median(values[:half]) + 2
        assert max(values) <= statistics.median(values) + 16
    assert day.lines < 20 * JOBS
    check_journal(daemon.spool / "journal.sqlite3")


def check_journal(path):
    """One row for each manifest, and no text of any of them."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
        ((rows, texts),) = journal.execute("SELECT count(*), count(manifest) FROM job")
    assert JOBS <= rows <= 2 * JOBS
    assert texts == 0
    assert path.stat().st_size < ROW_BYTES * rows + SLACK_BYTES
