"""Malicious drives: nothing is written through them, and their labels have no effect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import daemon_process
import pytest
from as_operator import give_own_uuid, look_again, new_device_id, prepared_once, uuid_of

service, start = daemon_process.service, daemon_process.start

PARTIAL = ".SIGNATURE.driveprep"
FOREIGN = "version:2.0\nsigningMethod:HmacSHA1\njobId:OTHER\nsignature:x\n"


# What is found instead of SIGNATURE or of the partial file; the victim is a file outside.
TRAPS: dict[str, Callable[[Path, Path], object]] = {
    "link-to-file": lambda place, victim: place.symlink_to(victim),
    "link-to-folder": lambda place, victim: place.symlink_to(victim.parent),
    "link-to-device": lambda place, victim: place.symlink_to("/dev/null"),
    "link-to-itself": lambda place, victim: place.symlink_to(place.name),
    "dangling-link": lambda place, victim: place.symlink_to(victim.with_name("made-by-attack")),
    "folder": lambda place, victim: (place / "inner").mkdir(parents=True),
    "fifo": lambda place, victim: os.mkfifo(place),
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Make a file that must not be reached through any drive."""
    (tmp_path / "outside").mkdir()
    place = tmp_path / "outside" / "precious"
    place.write_text("precious")
    return place


def test_nothing_in_the_place_of_signature_or_its_forerunner_is_followed(
    plug, service, start, victim
) -> None:
    """Links, folders and FIFOs are refused before a job is made, and left as they are."""
    traps = [
        (name, spring, kind) for kind, spring in TRAPS.items() for name in ("SIGNATURE", PARTIAL)
    ]
    drives = [plug(new_device_id()).mount() for _ in traps]
    for drive, (name, spring, _) in zip(drives, traps, strict=True):
        spring(drive.mount_point / name, victim)
    before = [sorted(os.listdir(drive.mount_point)) for drive in drives]
    daemon = start()

    for drive in drives:
        daemon.drop(drive.label)
    for drive, (name, _, kind) in zip(drives, traps, strict=True):
        told = daemon.obstacle(drive.label, f"{name} is not a regular file on this drive")
        assert "remove it if you do not need it" in told["hint"], kind

    assert service.jobs == ()
    assert [sorted(os.listdir(drive.mount_point)) for drive in drives] == before
    assert os.listdir(victim.parent) == ["precious"]
    assert victim.read_text() == "precious"
    assert daemon.stop() == 0


def test_a_hard_link_loses_only_its_name(plug, service, start) -> None:
    """The partial file is another name of the customer's file: the file keeps its contents."""
    drive = plug(new_device_id()).mount()
    data = drive.mount_point / "data"
    data.write_text("the customer's")
    os.link(data, drive.mount_point / PARTIAL)
    daemon = start()

    daemon.drop(drive.label)
    daemon.until("it is prepared", lambda: daemon.papers(drive.label))

    assert data.read_text() == "the customer's"
    assert data.stat().st_nlink == 1
    assert sorted(os.listdir(drive.mount_point)) == ["SIGNATURE", "data"]


@pytest.mark.parametrize("twin", ["signature", "Signature"])
def test_a_foreign_signature_is_never_overwritten(plug, service, start, twin) -> None:
    """A foreign SIGNATURE, one that is a hard link, and one in other case are refused."""
    foreign, linked, double = (plug(new_device_id()).mount() for _ in range(3))
    (foreign.mount_point / "SIGNATURE").write_text(FOREIGN)
    (linked.mount_point / "data").write_text("the customer's")
    os.link(linked.mount_point / "data", linked.mount_point / "SIGNATURE")
    (double.mount_point / twin).write_text(FOREIGN)
    daemon = start()

    for drive in (foreign, linked, double):
        daemon.drop(drive.label)
    daemon.obstacle(foreign.label, "already has a SIGNATURE of job OTHER")
    daemon.obstacle(linked.label, "already has a SIGNATURE")
    daemon.obstacle(double.label, f"contains {twin}")

    assert service.jobs == ()
    assert (foreign.mount_point / "SIGNATURE").read_text() == FOREIGN
    assert (linked.mount_point / "data").read_text() == "the customer's"
    assert os.listdir(double.mount_point) == [twin]


TOUCHED = Path("/tmp", new_device_id())  # a label is too short for a path in tmp_path
LABELS = {
    "terminal code": "\x1b]0;own\x07\x1b[2J",
    "line break": "A\nB: SIGNATURE written",
    "shell text": f"$(touch {TOUCHED});`reboot`",
    "right to left": "\u202eDH\u2066\u200b",
    "32 wide characters": "\u6f22" * 32,
    "markup": "[bold]</table><script>",
    "slashes": "../../etc/passwd",
    "nothing": "",
}


def test_no_label_speaks_to_anybody(plug, service, start, tmp_path) -> None:
    """Any label is escaped in the log, status, drives and slip; the drive is still usable."""
    drives = {}
    for kind, label in LABELS.items():
        drives[kind] = plug(new_device_id())
        subprocess.run(["ntfslabel", drives[kind].device, label], capture_output=True, check=True)
        give_own_uuid(drives[kind])
        drives[kind].mount_point = tmp_path / "media" / f"{kind} $(x)"
        drives[kind].mount()
    names = {kind: new_device_id() for kind in LABELS}
    mapping = {names[kind]: {"uuid": uuid_of(drive)} for kind, drive in drives.items()}
    daemon = start(devices=mapping)

    for name in names.values():
        daemon.drop(name)
    for kind, name in names.items():
        daemon.until(f"{kind} is prepared", lambda name=name: daemon.papers(name))
    shown = [
        daemon.log,
        *(daemon.command(name).stdout.replace("\t", "\n") for name in ("status", "drives")),
    ]
    (papers,) = daemon.papers(names["markup"])

    for text in shown:
        assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("B: SIGNATURE") for line in daemon.log.split("\n"))
    assert "<script>" not in (papers / "slip.html").read_text()
    assert not TOUCHED.exists()


IMPATIENT = (
    "import daemon.service.loop as s, daemon.preparation.under_way as c;"
    "c.HUNG_SECONDS, s.TIMER_SECONDS, s.STOP_SECONDS = 0.5, 0.2, 0.5;"
    "from daemon.cli import main; main()"
)


@contextmanager
def hanging(drive) -> Iterator[None]:
    """Make the drive's file system hang until the end of the block."""
    wanted = {drive.device.encode(), str(drive.mount_point).encode()}
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = place.read_bytes().split(b"\0")
            if b"ntfs-3g" in words[0] and wanted <= set(words):
                server = int(place.parent.name)
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


def test_a_drive_that_hangs_is_told_of_and_holds_up_no_other(
    plug, service, start, monkeypatch
) -> None:
    """It blocks one worker, but not the only one allowed; when it answers, it is prepared."""
    monkeypatch.setattr(daemon_process, "DRIVEPREP", [sys.executable, "-c", IMPATIENT])
    stuck, good = plug(new_device_id()).mount(), plug(new_device_id()).mount()
    daemon = start(workers=1)
    with hanging(stuck):
        daemon.drop(stuck.label)
        daemon.obstacle(stuck.label, "has not answered for")

        daemon.drop(good.label)
        prepared_once(service, daemon, good.mount_point, good.label)
    prepared_once(service, daemon, stuck.mount_point, stuck.label)

    assert daemon.log.count("has not answered") == 1
    assert daemon.stop() == 0


def test_a_drive_that_hangs_does_not_keep_the_daemon(plug, service, start, monkeypatch) -> None:
    """SIGTERM ends it with 0. The next daemon prepares the drive when it answers."""
    monkeypatch.setattr(daemon_process, "DRIVEPREP", [sys.executable, "-c", IMPATIENT])
    drive = plug(new_device_id()).mount()
    daemon = start()
    with hanging(drive):
        daemon.drop(drive.label)
        daemon.obstacle(drive.label, "has not answered for")
        assert daemon.stop() == 0

    daemon.start()
    prepared_once(service, daemon, drive.mount_point, drive.label)
    assert daemon.stop() == 0


def test_a_mount_over_the_mount_point_gets_nothing(plug, service, start) -> None:
    """Nothing is written to the drive, nor to what hides it."""
    drive = plug(new_device_id()).mount()
    drive.cover(drive.mount_point)
    daemon = start()
    daemon.drop(drive.label)

    daemon.obstacle(drive.label, "is hidden: something else was mounted over it")

    assert service.jobs == ()
    assert os.listdir(drive.mount_point) == []
    assert daemon.stop() == 0


def test_a_forged_twin_stops_both(plug, service, start) -> None:
    """With the same label and UUID neither is used; with the twin unplugged, the other is."""
    name = new_device_id()
    real, forged = plug(name), plug(name)
    give_own_uuid(real)
    command = ["ntfslabel", f"--new-serial={uuid_of(real)}", forged.device]
    subprocess.run(command, capture_output=True, check=True)
    real.mount()
    forged.mount()
    daemon = start(devices={name: {"uuid": uuid_of(real), "label": name}})

    daemon.drop(name)
    daemon.obstacle(name, str(real.mount_point), str(forged.mount_point))
    assert service.jobs == ()
    forged.pull()
    look_again(service, daemon, plug)  # its mounts are noticed at once, a detached device is not

    prepared_once(service, daemon, real.mount_point, name)
    assert daemon.stop() == 0
