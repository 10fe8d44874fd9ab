"""What the bench measures with: real drives, the emulator and the daemon as processes, clocks."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from daemon.importexport.emulator import EXAMPLE

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0


def manifest(device_id: str) -> str:
    return (
        f"manifestVersion: 2.0\naccessKeyId: {EXAMPLE.access_key_id}\ndeviceId: {device_id}\n"
        "fileSystem: NTFS\nlogBucket: bucket\noperations:\n  - exportBucket: bucket\n"
        "returnAddress:\n  name: A\n  street1: B\n  city: C\n  stateOrProvince: D\n"
        "  postalCode: '1'\n  phoneNumber: '2'\n  country: E\n"
    )


def spelt(number: int, device_id: str) -> str:
    """One of many manifests: in YAML, in the guide's spelling, and so that it needs the parser."""
    text = manifest(device_id)
    operations = "operations:\n  - exportBucket: bucket\n"
    return (
        text,
        text.replace(": ", ":"),
        text.replace(operations, "operations: [{exportBucket: bucket}]\n"),
    )[number % 3]


class Drive:
    """An NTFS image on a loop device, mounted when told, gone at the end."""

    def __init__(self, stack: ExitStack, folder: Path, label: str) -> None:
        image = folder / f"{label}.img"
        with image.open("wb") as file:
            file.truncate(8 << 20)
        command("mkfs.ntfs", "-q", "-Q", "-F", "-L", label, str(image))
        self.label = label
        self.device = command("losetup", "--find", "--show", str(image))
        stack.callback(command, "losetup", "--detach", self.device)
        self.mount_point = folder / "media" / label
        self.mount_point.mkdir(parents=True)
        self._stack = stack

    def mount(self) -> None:
        command("mount", "-t", "ntfs-3g", self.device, str(self.mount_point))
        self._stack.callback(command, "umount", "--lazy", str(self.mount_point))

    def hang(self) -> None:
        """From now on nothing that is asked of the mounted drive is answered."""
        driver = int(command("pgrep", "--full", f"ntfs-3g {self.device} "))
        os.kill(driver, signal.SIGSTOP)
        self._stack.callback(os.kill, driver, signal.SIGCONT)


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A child that says "ready" on its standard output when it is."""
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout
        assert child.stdout.readline().strip() == "ready"
        yield child
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


@contextmanager
def service(*fault: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with process(sys.executable, str(HERE / "service.py"), str(port), *fault):
        yield f"http://127.0.0.1:{port}"


class Daemon:
    """`driveprep run` with its own spool, and what its log says."""

    def __init__(self, stack: ExitStack, folder: Path, endpoint: str, more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        secret = folder / "secret"
        secret.write_text(EXAMPLE.secret_access_key)
        secret.chmod(0o600)
        self.spool = folder / "spool"
        self.config = folder / "config.yml"
        self.config.write_text(
            f"endpoint: {endpoint}\ncredentials:\n  access_key_id: {EXAMPLE.access_key_id}\n"
            f"  secret_access_key_file: {secret}\nspool: {self.spool}\n{more}"
        )
        self._log = folder / "log"
        self._stack = stack

    def start(self, *under: str) -> float:
        """Start it, `under` another program; seconds until it said READY=1."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, 2) as notify:
            notify.bind(f"{place}/notify")
            self.child = subprocess.Popen(
                [*under, sys.executable, "-m", "daemon", "run", "--config", str(self.config)],
                stderr=self._log.open("w"),
                env=os.environ | {"NOTIFY_SOCKET": f"{place}/notify"},
            )
            self._stack.callback(self.stop)
            while b"READY=1" not in notify.recv(4096):
                pass
        return time.monotonic() - began

    def known(self) -> int:
        """How many manifests are jobs that wait, as `status` finds them."""
        try:
            with closing(
                sqlite3.connect(f"file:{self.spool}/journal.sqlite3?mode=ro", uri=True)
            ) as journal:
                return int(
                    journal.execute("SELECT count(*) FROM job WHERE filed = 0").fetchone()[0]
                )
        except sqlite3.Error:  # it is not there yet
            return 0

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait()

    def drop(self, device_id: str) -> None:
        partial = self.spool / f".{device_id}.part"
        partial.write_text(manifest(device_id))
        partial.rename(self.spool / "pending" / f"{device_id}.yml")

    def logged(self, pattern: str, times: int = 1) -> None:
        until(lambda: len(re.findall(pattern, self._log.read_text())) >= times)

    def status(self, key: str) -> int:
        found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{self.child.pid}/status").read_text())
        assert found
        return int(found[1])

    def wake_ups(self) -> int:
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/status")
        return sum(
            int(count)
            for task in tasks
            for count in re.findall(r"voluntary_ctxt_switches:\s+(\d+)", task.read_text())[:1]
        )

    def rest(self) -> None:
        """Wait until it has done all that it had to do."""
        before = -1.0
        while (now := self.cpu_seconds()) > before:
            before = now
            time.sleep(0.3)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def until(look: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.0005)


def mount_to_signature(drive: Drive) -> float:
    """Milliseconds from the mount being visible to SIGNATURE being in place."""
    seen: list[float] = []
    ready = threading.Event()

    def watch() -> None:
        with open("/proc/self/mountinfo") as table:
            poll = select.poll()
            poll.register(table, select.POLLPRI)
            ready.set()
            while True:
                poll.poll(1000)
                table.seek(0)
                if f" {drive.mount_point} " in table.read():
                    seen.append(time.monotonic())
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    ready.wait()
    drive.mount()
    until((drive.mount_point / "SIGNATURE").exists)
    there = time.monotonic()
    watcher.join()
    return (there - seen[0]) * 1000


def is_signed(drive: Drive) -> bool:
    return (drive.mount_point / "SIGNATURE").exists()


@contextmanager
def udevd() -> Iterator[None]:
    """udev, started by hand where it does not run: it describes each device that comes."""
    if Path("/run/udev/control").exists():
        yield
        return
    child = subprocess.Popen(["/lib/systemd/systemd-udevd"], stderr=subprocess.DEVNULL)
    try:
        until(Path("/run/udev/control").exists)
        yield
    finally:
        child.terminate()
        child.wait()
        shutil.rmtree("/run/udev")  # what it says of devices would soon be wrong


def as_installed(folder: Path) -> list[str]:
    """Words that start a program as the unit does: mounts of its own, no device nodes, no blkid."""
    script = folder / "as-installed"
    script.write_text(
        "#!/bin/sh\nset -e\nmount --make-rslave /\n"
        "mount -t tmpfs tmpfs /mnt\nmknod -m 666 /mnt/null c 1 3\nmknod -m 666 /mnt/urandom c 1 9\n"
        "mount --move /mnt /dev\n"
        'for place in /sbin/blkid /usr/sbin/blkid; do mount --bind /dev/null "$place"; done\n'
        'exec "$@"\n'
    )
    script.chmod(0o755)
    return ["unshare", "--mount", "--propagation", "unchanged", str(script)]


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Let mounts below the folder appear in other mount namespaces, as systemd has it."""
    command("mount", "--bind", str(folder), str(folder))
    try:
        command("mount", "--make-shared", str(folder))
        yield
    finally:
        command("umount", "--lazy", str(folder))


def spread(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]
