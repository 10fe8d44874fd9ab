"""Measures driveprep beside the floor and a shell script, in one run, and prints a table.

Usage: bench.py [ROW...]    Needs root, ntfs-3g and a machine that is otherwise quiet.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from daemon.credentials import Credentials
from daemon.importexport.authentication import sign
from daemon.importexport.emulator import EXAMPLE

HERE = Path(__file__).parent
ROUNDS = 15
PATIENCE_SECONDS = 60.0
ROWS: dict[str, Callable[[Path], Iterator[tuple[str, str, str]]]] = {}

Row = Callable[[Path], Iterator[tuple[str, str, str]]]


def row(function: Row) -> Row:
    """Let a function give lines (what, figure, bar) of the table."""
    ROWS[function.__name__] = function
    return function


def manifest(device_id: str) -> str:
    return (
        f"manifestVersion: 2.0\naccessKeyId: {EXAMPLE.access_key_id}\ndeviceId: {device_id}\n"
        "fileSystem: NTFS\nlogBucket: bucket\noperations:\n  - exportBucket: bucket\n"
        "returnAddress:\n  name: A\n  street1: B\n  city: C\n  stateOrProvince: D\n"
        "  postalCode: '1'\n  phoneNumber: '2'\n  country: E\n"
    )


# Drives, processes


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
def service(delay: float = 0.0) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with process(sys.executable, str(HERE / "service.py"), str(port), str(delay)):
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

    def start(self) -> float:
        """Start it; seconds until it said READY=1."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, 2) as notify:
            notify.bind(f"{place}/notify")
            self.child = subprocess.Popen(
                [sys.executable, "-m", "daemon", "run", "--config", str(self.config)],
                stderr=self._log.open("w"),
                env=os.environ | {"NOTIFY_SOCKET": f"{place}/notify"},
            )
            self._stack.callback(self.stop)
            while b"READY=1" not in notify.recv(4096):
                pass
        return time.monotonic() - began

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


def spread(values: list[float]) -> tuple[float, float]:
    return statistics.median(values), statistics.quantiles(values, n=20)[-1]


# The rows of the table


@row
def latency(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Mount visible to SIGNATURE: driveprep, floor and shell script in turn."""
    figures: dict[str, list[float]] = {"driveprep": [], "floor": [], "shell": []}
    with ExitStack() as stack:
        endpoint = stack.enter_context(service())
        port = endpoint.rpartition(":")[2]
        daemon = Daemon(stack, folder / "daemon", endpoint)
        daemon.start()
        for number in range(ROUNDS):
            for name, values in figures.items():
                with ExitStack() as one:
                    drive = Drive(one, folder, f"{name}{number}")
                    match name:
                        case "driveprep":
                            daemon.drop(drive.label)
                            daemon.logged(f"{drive.label}.yml found valid")
                        case "floor":
                            body = folder / "body"
                            body.write_text(signed(endpoint, drive.label))
                            arguments = (
                                port,
                                str(body),
                                str(drive.mount_point),
                                str(folder / "ledger"),
                            )
                            one.enter_context(
                                process(sys.executable, str(HERE / "floor.py"), *arguments)
                            )
                        case "shell":
                            file = folder / "manifest.yml"
                            file.write_text(manifest(drive.label))
                            arguments = (EXAMPLE.access_key_id, EXAMPLE.secret_access_key)
                            one.enter_context(
                                process(
                                    str(HERE / "by_hand.sh"),
                                    endpoint,
                                    *arguments,
                                    drive.label,
                                    str(file),
                                )
                            )
                    values.append(mount_to_signature(drive))
                    if name == "driveprep":
                        daemon.logged(f"{drive.label}.*papers filed")
        rss = daemon.status("VmRSS") // 1024
    (ours, ours95), (floor, floor95), (shell, _) = (spread(values) for values in figures.values())
    yield (
        "mount -> SIGNATURE, median",
        f"{ours:.1f} ms = {ours / floor:.1f} x floor ({floor:.1f} ms)",
        "2 x",
    )
    yield (
        "mount -> SIGNATURE, p95",
        f"{ours95:.1f} ms = {ours95 / floor95:.1f} x floor ({floor95:.1f} ms)",
        "3 x",
    )
    yield (
        "the same by shell script, median",
        f"{shell:.1f} ms = {shell / ours:.1f} x driveprep",
        "4 x",
    )
    yield f"RSS after {ROUNDS} jobs", f"{rss} MiB", "45 MiB"


def signed(endpoint: str, device_id: str) -> str:
    from urllib.parse import quote

    account: Credentials = EXAMPLE
    parameters = {
        "AWSAccessKeyId": account.access_key_id,
        "Action": "CreateJob",
        "JobType": "Export",
        "Manifest": manifest(device_id),
        "SignatureMethod": "HmacSHA256",
        "SignatureVersion": "2",
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "ValidateOnly": "false",
        "Version": "2010-06-01",
    }
    host = endpoint.removeprefix("http://")
    parameters["Signature"] = sign(account.secret_access_key, "POST", host, "/", parameters.items())
    return "&".join(f"{key}={quote(value, safe='-_.~')}" for key, value in parameters.items())


@row
def idle(folder: Path) -> Iterator[tuple[str, str, str]]:
    """A daemon with nothing to do, over a minute."""
    with ExitStack() as stack:
        daemon = Daemon(stack, folder / "idle", "http://127.0.0.1:9")
        daemon.start()
        time.sleep(2)
        before, cpu = daemon.wake_ups(), daemon.cpu_seconds()
        time.sleep(60)
        yield "idle: RSS", f"{daemon.status('VmRSS') / 1024:.1f} MiB", "25 MiB"
        yield "idle: wake-ups a minute", f"{daemon.wake_ups() - before}", "12"
        yield (
            "idle: CPU in a minute",
            f"{(daemon.cpu_seconds() - cpu) * 1000:.0f} ms",
            "not measurable",
        )


@row
def commands(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Whole processes."""
    with ExitStack() as stack:
        daemon = Daemon(stack, folder / "commands", "http://127.0.0.1:9")
        daemon.start()
        for words in (["status", "--config", str(daemon.config)], ["--help"]):
            values = []
            for _ in range(9):
                began = time.monotonic()
                command(sys.executable, "-m", "daemon", *words)
                values.append(time.monotonic() - began)
            yield f"driveprep {words[0]}", f"{statistics.median(values):.2f} s", "0.25 s"


@row
def burst(folder: Path) -> Iterator[tuple[str, str, str]]:
    """50 drives at once, a service that takes 0.3 s an answer."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(service(0.3))
        daemon = Daemon(stack, folder / "burst", endpoint, "validate_on_drop: false\n")
        daemon.start()
        drives = [Drive(stack, folder, f"burst{number}") for number in range(50)]
        for drive in drives:
            daemon.drop(drive.label)
        daemon.logged("accepted", 50)
        for drive in drives:
            drive.mount()
        last = time.monotonic()
        until(lambda: all((drive.mount_point / "SIGNATURE").exists() for drive in drives))
        yield (
            "50 drives, 0.3 s an answer: all signed after the last mount",
            f"{time.monotonic() - last:.1f} s",
            "3 s",
        )
        daemon.logged("papers filed", 50)


@row
def many(folder: Path) -> Iterator[tuple[str, str, str]]:
    """10,000 pending manifests."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(service())
        daemon = Daemon(stack, folder / "many", endpoint, "validate_on_drop: false\n")
        pending = daemon.spool / "pending"
        pending.mkdir(parents=True)
        for number in range(10_000):
            (pending / f"m{number}.yml").write_text(manifest(f"many{number}"))
        time.sleep(1.1)  # until the last of them counts as complete
        for start, bar in (("cold", "10 s"), ("warm", "2 s")):
            drive = Drive(stack, folder, f"many{start == 'cold':d}")
            drive.mount()
            began = time.monotonic()
            daemon.start()
            until((drive.mount_point / "SIGNATURE").exists)
            yield (
                f"10,000 pending: signed after a {start} start",
                f"{time.monotonic() - began:.1f} s",
                bar,
            )
            if start == "cold":
                daemon.stop()
        figures = []
        for number in range(100, 100 + ROUNDS):
            with ExitStack() as one:
                drive = Drive(one, folder, f"many{number}")
                daemon.rest()
                figures.append(mount_to_signature(drive))
                daemon.logged(f"{drive.label}.*papers filed")
        yield (
            "10,000 pending: mount -> SIGNATURE, median",
            f"{statistics.median(figures):.1f} ms",
            "3 x with one",
        )
        yield "10,000 pending: RSS", f"{daemon.status('VmRSS') // 1024} MiB", "120 MiB"


def main() -> None:
    wanted = sys.argv[1:] or list(ROWS)
    folder = Path(tempfile.mkdtemp(prefix="driveprep-bench-"))
    try:
        for name in wanted:
            for what, figure, bar in ROWS[name](folder):
                print(f"| {what} | {figure} | {bar} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
