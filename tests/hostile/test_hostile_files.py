"""What anybody in the group can drop: refused with its reason, and the good one beside works."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import daemon_process
import pytest
from as_operator import GUIDE, jobs_for, manifest_for, new_device_id, prepared_once, wait_until

from daemon.documents.text import MAX_BYTES
from daemon.errors import ManifestError
from daemon.manifest import rules
from daemon.preparation import intake

service, start = daemon_process.service, daemon_process.start

PEAK_MIB = 150  # of the whole daemon, whatever is dropped
SECONDS = 2.0  # for one text of 64 KiB on a busy machine; usual are 0.05


def filled(part: str, start: str = "", end: str = "") -> bytes:
    """A text of just the length that is still read, of one part again and again."""
    room = MAX_BYTES - len(start) - len(end)
    return (start + (part * (room // len(part) + 1))[:room] + end).encode()


def doubling(levels: int = 40) -> bytes:
    """Nine aliases a level: 9 ** 40 values, if anybody were to follow them."""
    first = "a0: &a0 [lol]\n"
    lines = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels))
    return first.encode() + "".join(lines).encode() + GUIDE


BOMBS = {
    "aliases": doubling(),
    "merge keys": b"<<: &a {b: c}\nd: *a\n" + GUIDE,
    "tags": b"generator: !!python/object/apply:os.system [touch /tmp/driveprep-was-here]\n" + GUIDE,
    "20,000 lists deep": b"[" * 20_000,
    "20,000 groups deep": b"{a: " * 15_000,
    "20,000 lines deep": "".join(f"{' ' * depth}a:\n" for depth in range(350)).encode(),
    "a key again and again": filled("a: b\n"),
    "a key again and again, in one line": filled("a: 1,", "{", "z: 1}"),
    "control characters": filled("a\x01\n"),
    "anchors": filled("&a "),
    "question marks": filled("? "),
    "colons": filled(":"),
    "open brackets": filled("{a:"),
    "open quotation marks": filled('"'),
    "escapes": filled("\\x", '"', '"'),
    "thousands of keys": "".join(f"key{number}:v\n" for number in range(6000)).encode(),
    "documents": filled("---\n"),
    "one endless line": GUIDE + filled("x", "", "")[: MAX_BYTES - len(GUIDE)],
    "20 MB": b"a: b\n" * 4_000_000,
    "NUL": b"\0" * 100,
    "NUL inside": GUIDE.replace(b"HD001", b"HD\0001"),
    "binary": bytes(range(256)) * 10,
    "an executable": Path("/bin/true").read_bytes()[:MAX_BYTES],
    "UTF-16": GUIDE.decode().encode("utf-16"),
    "UTF-16 without a mark": GUIDE.decode().encode("utf-16-be"),
    "UTF-32": GUIDE.decode().encode("utf-32"),
    "no UTF-8": GUIDE.replace(b"Your City", b"K\xf6ln"),
    "surrogates in UTF-8": GUIDE.replace(b"Your City", b"\xed\xa0\x80"),
    "a list": b"- a\n- b\n",
    "a text": b"hello\n",
    "only a comment": b"# nothing\n",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_hostile_text_is_refused_in_little_time_with_a_short_reason(data: bytes) -> None:
    """No text takes long, and no reason is longer than a person reads."""
    begin = time.monotonic()

    with pytest.raises(ManifestError) as refused:
        rules.read(data[: MAX_BYTES + 1], "a.yml")
    reason = intake.explain(refused.value)

    assert time.monotonic() - begin < SECONDS
    assert 0 < len(reason) < 32 * 1024
    assert all(line.isprintable() for line in reason.split("\n"))


def listing(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything below a folder: mode, size, time of change and a file's contents."""
    found = {}
    for place in sorted(folder.rglob("*")):
        status = place.lstat()
        data = place.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(place)] = (status.st_mode, status.st_size, status.st_mtime_ns, data)
    return found


def peak_mib(pid: int) -> float:
    """The most memory that the process has had at once."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


def no_files(pending: Path) -> list[str]:
    """Put there what has a manifest's name and is none; the names."""
    (pending / "link.yml").symlink_to("/etc/passwd")
    (pending / "itself.yml").symlink_to("itself.yml")
    (pending / "folder.yml").mkdir()
    (pending / "folder.yml" / "inner.yml").write_bytes(GUIDE)
    os.mkfifo(pending / "fifo.yml")
    os.mknod(pending / "device.yml", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.open(pending, os.O_RDONLY)  # a socket's path must be short
        listener.bind(f"/proc/self/fd/{place}/socket.yml")
        os.close(place)
    return ["link.yml", "itself.yml", "folder.yml", "fifo.yml", "device.yml", "socket.yml"]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    """A folder beside the spool that must stay as it is."""
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "file").write_text("untouched")
    before = listing(folder), Path("/etc/passwd").read_bytes(), sorted(os.listdir("/"))
    yield
    assert (listing(folder), Path("/etc/passwd").read_bytes(), sorted(os.listdir("/"))) == before


def test_all_that_can_be_dropped_at_once(plug, service, start, outside) -> None:
    """Every bomb, what is no file, 500 more: rejected, each with its reason; the good one works."""
    drive = plug(new_device_id()).mount()
    daemon = start(validate_on_drop=False)
    for number, data in enumerate(BOMBS.values()):
        (daemon.pending / f"bomb{number}.yml").write_bytes(data)
    for number in range(500):
        (daemon.pending / f"many{number}.yml").write_text(f"deviceId: {number}\n")
    names = no_files(daemon.pending)

    daemon.drop(drive.label)
    daemon.until("all have left", lambda: not os.listdir(daemon.pending), 60)
    job = prepared_once(service, daemon, drive.mount_point, drive.label)

    assert [made.job_id for made in service.jobs] == [job.job_id]
    for name in names:
        reason = daemon.spool / "rejected" / f"{name}.reason.txt"
        assert "is not a readable regular file" in reason.read_text()
    assert (daemon.spool / "rejected" / "link.yml").is_symlink()
    assert not Path("/tmp/driveprep-was-here").exists()
    reasons = list((daemon.spool / "rejected").glob("*.reason.txt"))
    assert len(reasons) == len(BOMBS) + 500 + len(names)
    assert max(reason.stat().st_size for reason in reasons) < 32 * 1024
    assert peak_mib(daemon.pid) < PEAK_MIB
    assert daemon.stop() == 0


NAMES = [
    "../../etc",
    "..",
    ".",
    "a/b",
    "/etc/cron.d/x",
    "-rf",
    "~root",
    "$(reboot)",
    "%s%n",
    "ü" * 64,
]


def test_no_device_id_becomes_a_path(plug, service, start, outside) -> None:
    """Slashes, dots and shell text in a deviceId: the papers lie in one folder of prepared/."""
    drives = [plug(new_device_id()).mount() for _ in NAMES]
    mapping = {name: {"label": drive.label} for name, drive in zip(NAMES, drives, strict=True)}
    daemon = start(devices=mapping)
    for number, name in enumerate(NAMES):
        daemon.drop("", manifest_for(name), f"m{number}.yml")

    daemon.until("all are prepared", lambda: not os.listdir(daemon.pending))

    for name, drive in zip(NAMES, drives, strict=True):
        (job,) = jobs_for(service, name)
        (papers,) = (daemon.spool / "prepared").glob(f"{job.job_id}-*")
        assert sorted(os.listdir(papers)) == [
            "SIGNATURE",
            "manifest.yml",
            "receipt.json",
            "slip.html",
        ]
        assert os.listdir(drive.mount_point) == ["SIGNATURE"]
    assert len(os.listdir(daemon.spool / "prepared")) == len(NAMES)
    assert daemon.stop() == 0


@pytest.mark.parametrize("character", ["\x1b", "\u202e", "\x07", "\n", "\u2028", "\x00"])
def test_a_device_id_that_cannot_be_shown_is_refused(character: str) -> None:
    """Such a name could hide, move or forge what an operator reads."""
    data = GUIDE.replace(b"HD001", f'"HD\\U{ord(character):08X}001"'.encode())

    with pytest.raises(ManifestError, match="deviceId"):
        rules.read(data, "a.yml")


def test_a_file_name_cannot_speak_to_a_terminal(start) -> None:
    """A name with terminal codes and a forged line is escaped in log, status and reason."""
    daemon = start()
    name = "\x1b]0;owned\x07\u202e\n2030 INFO HD001: SIGNATURE written.yml"
    daemon.drop("", b"nonsense\n", name)

    reason = daemon.rejected(name)
    fields = daemon.command("status").stdout.replace("\t", "\n")  # the tabs are our own

    for text in (reason, daemon.log, fields):
        assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("2030 INFO") for line in (reason + daemon.log).split("\n"))


def test_a_file_that_changes_while_it_is_read_is_never_half_of_two(
    plug, service, start: Callable[..., daemon_process.DaemonProcess]
) -> None:
    """Rewritten in place again and again: what the service gets is a text that was once there."""
    drive = plug(new_device_id()).mount()
    daemon = start(settle=0.2)
    texts = [manifest_for(drive.label) + f"# {number}\n".encode() * 500 for number in range(8)]
    place = daemon.pending / "changing.yml"
    for _ in range(5):
        for data in texts:
            with place.open("wb", buffering=0) as file:
                for begin in range(0, len(data), 512):
                    file.write(data[begin : begin + 512])

    wait_until("it is prepared", lambda: daemon.papers(drive.label))

    (job,) = jobs_for(service, drive.label)
    assert job.manifest.encode() in texts
