"""Measures driveprep beside the floor and a shell script, in one run, and prints a table.

Usage: bench.py [ROW...]    Needs root, ntfs-3g, strace and a machine that is otherwise quiet.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from bed import (
    HERE,
    Daemon,
    Drive,
    as_installed,
    command,
    is_signed,
    manifest,
    mount_to_signature,
    process,
    service,
    shared,
    spelt,
    spread,
    udevd,
    until,
)

from daemon.importexport.authentication import sign
from daemon.importexport.credentials import Credentials
from daemon.importexport.emulator import EXAMPLE

ROUNDS = 15
GUIDE = HERE.parent / "data" / "guide-manifest.yml"
Row = Callable[[Path], Iterator[tuple[str, str, str]]]
ROWS: dict[str, Row] = {}


def row(function: Row) -> Row:
    """Let a function give lines (what, figure, bar) of the table."""
    ROWS[function.__name__] = function
    return function


@row
def latency(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Mount visible to SIGNATURE: driveprep, both floors and the shell script in turn."""
    yield from _latency(folder, "without udev", "2.3 x")


@row
def installed(folder: Path) -> Iterator[tuple[str, str, str]]:
    """The same as installed: udev describes the drives; no device nodes and no blkid inside."""
    with udevd(), shared(folder):
        yield from _latency(folder, "as installed", "2 x", *as_installed(folder))


def _latency(folder: Path, form: str, bar: str, *under: str) -> Iterator[tuple[str, str, str]]:
    figures: dict[str, list[float]] = {name: [] for name in ("driveprep", *OTHERS)}
    with ExitStack() as stack:
        endpoint = stack.enter_context(service())
        daemon = Daemon(stack, folder / "daemon", endpoint)
        daemon.start(*under)
        for number in range(ROUNDS):
            for name, values in figures.items():
                with ExitStack() as one:
                    drive = Drive(one, folder, f"{name}{number}")
                    if name == "driveprep":
                        daemon.drop(drive.label)
                        daemon.logged(f"{drive.label}.yml found valid")
                    else:
                        words = OTHERS[name](folder, endpoint, drive)
                        one.enter_context(process(*words))
                    values.append(mount_to_signature(drive))
                    if name == "driveprep":
                        daemon.logged(f"{drive.label}.*papers filed")
        rss = daemon.status("VmRSS") // 1024
    (ours, ours95), (floor, floor95), (careful, _), (shell, _) = map(spread, figures.values())
    what = f"mount -> SIGNATURE, {form}"
    times = f"{ours:.1f} ms = {ours / floor:.1f} x floor ({floor:.1f} ms)"
    yield f"{what}, median", times, bar
    times = f"{ours95:.1f} ms = {ours95 / floor95:.1f} x floor ({floor95:.1f} ms)"
    yield f"{what}, p95", times, "3 x"
    times = f"{careful:.1f} ms; driveprep {ours / careful:.2f} x"
    yield f"the cheapest program that keeps the promise, {form}", times, "1.4 x"
    times = f"{shell:.1f} ms = {shell / ours:.1f} x driveprep"
    yield f"the shell script, {form}", times, "3 x"
    yield f"RSS after {ROUNDS} jobs", f"{rss} MiB", "45 MiB"


def _floor(folder: Path, endpoint: str, drive: Drive) -> list[str]:
    arguments = [_port(endpoint), _body(folder, endpoint, drive), str(drive.mount_point)]
    return [sys.executable, str(HERE / "floor.py"), *arguments, str(folder / "ledger")]


def _careful(folder: Path, endpoint: str, drive: Drive) -> list[str]:
    arguments = [_port(endpoint), _body(folder, endpoint, drive), drive.label]
    return [sys.executable, str(HERE / "careful.py"), *arguments, str(folder / "ledger")]


def _shell(folder: Path, endpoint: str, drive: Drive) -> list[str]:
    file = folder / "manifest.yml"
    file.write_text(manifest(drive.label))
    account = [EXAMPLE.access_key_id, EXAMPLE.secret_access_key]
    return [str(HERE / "by_hand.sh"), endpoint, *account, drive.label, str(file)]


OTHERS = {"floor": _floor, "careful": _careful, "shell": _shell}


def _port(endpoint: str) -> str:
    return endpoint.rpartition(":")[2]


def _body(folder: Path, endpoint: str, drive: Drive) -> str:
    body = folder / "body"
    body.write_text(signed(endpoint, drive.label))
    return str(body)


def signed(endpoint: str, device_id: str) -> str:
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
    """50 and 200 drives at once, a service that takes 0.3 s an answer."""
    for count, bar in ((50, "1.6 s"), (200, "6 s")):
        with ExitStack() as stack:
            endpoint = stack.enter_context(service("delay", "0.3"))
            place = folder / f"burst{count}"
            daemon = Daemon(stack, place, endpoint, "validate_on_drop: false\n")
            daemon.start()
            drives = [Drive(stack, place, f"burst{number}") for number in range(count)]
            for drive in drives:
                daemon.drop(drive.label)
            daemon.logged("accepted", count)
            daemon.rest()
            for drive in drives:
                drive.mount()
            last = time.monotonic()
            until(lambda drives=drives: all(map(is_signed, drives)))
            what = f"{count} drives, 0.3 s an answer: all signed after the last mount"
            yield what, f"{time.monotonic() - last:.1f} s", bar
            daemon.logged("papers filed", count)
            rss = daemon.status("VmHWM") // 1024
            yield f"{count} drives: most memory", f"{rss} MiB", "60 MiB"


@row
def many(folder: Path) -> Iterator[tuple[str, str, str]]:
    """1, 10,000 and 100,000 waiting manifests, in three spellings."""
    figures: dict[int, dict[str, float]] = {}
    for count in (1, 10_000, 100_000):
        with ExitStack() as stack:
            endpoint = stack.enter_context(service())
            place = folder / f"many{count}"
            daemon = Daemon(stack, place, endpoint, "validate_on_drop: false\n")
            pending = daemon.spool / "pending"
            pending.mkdir(parents=True)
            for number in range(count):
                (pending / f"m{number}.yml").write_text(spelt(number, f"many{number}"))
            for start in ("cold", "warm"):
                began = time.monotonic()
                daemon.start()
                until(lambda daemon=daemon, count=count: daemon.known() == count, 600)
                seconds = f"{time.monotonic() - began:.1f} s"
                bar = KNOWN.get((start, count), "")
                yield f"{count:,} waiting: the last one is known, {start} start", seconds, bar
                daemon.rest()
                if start == "cold":
                    daemon.stop()
            figures[count] = events(stack, place, daemon)
            yield f"{count:,} waiting: RSS", f"{daemon.status('VmRSS') // 1024} MiB", "300 MiB"
            before = daemon.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            share = (daemon.cpu_seconds() - before) / IDLE_SECONDS
            yield f"{count:,} waiting: CPU while nothing happens", f"{share:.1%}", "2 %"
    for what, one in figures[1].items():
        others = "; ".join(
            f"{count:,}: {figures[count][what]:.1f} = {figures[count][what] / one:.2f} x"
            for count in (10_000, 100_000)
        )
        yield f"{what}, median: beside 1 waiting {one:.1f}", others, "1.2 x"


@row
def example(folder: Path) -> Iterator[tuple[str, str, str]]:
    """100,000 of AWS's own example, each with a deviceId of its own and eleven warnings."""
    text = GUIDE.read_text()
    with ExitStack() as stack:
        endpoint = stack.enter_context(service())
        daemon = Daemon(stack, folder / "example", endpoint, "validate_on_drop: false\n")
        pending = daemon.spool / "pending"
        pending.mkdir(parents=True)
        for number in range(100_000):
            (pending / f"m{number}.yml").write_text(text.replace("HD001", f"HD{number}"))
        for start in ("cold", "warm"):
            began = time.monotonic()
            daemon.start()
            until(lambda: daemon.known() == 100_000, 600)
            seconds = f"{time.monotonic() - began:.1f} s, RSS {daemon.status('VmRSS') // 1024} MiB"
            bar = f"{KNOWN[start, 100_000]}, 300 MiB"
            yield f"100,000 of AWS's example: the last one is known, {start} start", seconds, bar
            daemon.rest()
            daemon.stop()


KNOWN = {
    ("cold", 10_000): "6 s",
    ("warm", 10_000): "1 s",
    ("cold", 100_000): "60 s",
    ("warm", 100_000): "8 s",
}
IDLE_SECONDS = 150.0  # several scans


def events(stack: ExitStack, folder: Path, daemon: Daemon) -> dict[str, float]:
    """What each kind of event takes, beside the waiting manifests: medians."""
    took: dict[str, list[float]] = {
        "mount -> SIGNATURE, ms": [],
        "drop -> accepted, ms": [],
        "retry -> obstacle again, ms": [],
        "status, s": [],
    }
    mounts, drops, retries, statuses = took.values()
    for number in range(ROUNDS):
        label = f"event{number}"
        began = time.monotonic()
        daemon.drop(label)
        daemon.logged(f"manifest {label}.yml accepted")
        drops.append((time.monotonic() - began) * 1000)
        daemon.logged(f"{label}: no mounted drive")
        began = time.monotonic()
        (daemon.spool / "pending" / f".retry-{label}").touch()
        daemon.logged(f"{label}: no mounted drive", 2)
        retries.append((time.monotonic() - began) * 1000)
        with ExitStack() as one:
            drive = Drive(one, folder, label)
            mounts.append(mount_to_signature(drive))
            daemon.logged(f"{label}.*papers filed")
        began = time.monotonic()
        command(sys.executable, "-m", "daemon", "status", "--config", str(daemon.config))
        statuses.append(time.monotonic() - began)
    return {what: statistics.median(values) for what, values in took.items()}


@row
def finished(folder: Path) -> Iterator[tuple[str, str, str]]:
    """1,000,000 finished jobs in the journal, beside a daemon with none, in turn."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(service())
        daemons = {
            name: Daemon(stack, folder / name, endpoint, "validate_on_drop: false\n")
            for name in ("none", "old")
        }
        with ExitStack() as first:
            drive = Drive(first, folder, "first")
            drive.mount()
            daemons["old"].start()
            daemons["old"].drop(drive.label)
            daemons["old"].logged("papers filed")
            daemons["old"].stop()
        age(daemons["old"].spool / "journal.sqlite3", 1_000_000)
        figures: dict[str, dict[str, list[float]]] = {name: {} for name in daemons}

        def note(name: str, what: str, value: float) -> None:
            figures[name].setdefault(what, []).append(value)

        for name, daemon in daemons.items():
            note(name, "seconds to READY", daemon.start())
            daemon.rest()
            note(name, "MiB idle", daemon.status("VmRSS") / 1024)
        for number in range(ROUNDS):
            for name, daemon in daemons.items():
                with ExitStack() as one:
                    drive = Drive(one, folder, f"{name}{number}")
                    daemon.drop(drive.label)
                    daemon.logged(f"manifest {drive.label}.yml accepted")
                    note(name, "ms to SIGNATURE", mount_to_signature(drive))
                    daemon.logged(f"{drive.label}.*papers filed")
                began = time.monotonic()
                command(sys.executable, "-m", "daemon", "status", "--config", str(daemon.config))
                note(name, "s for status", time.monotonic() - began)
        for name, daemon in daemons.items():
            note(name, "MiB after jobs", daemon.status("VmRSS") / 1024)
        for what, values in figures["none"].items():
            none, old = statistics.median(values), statistics.median(figures["old"][what])
            yield (
                f"1,000,000 finished jobs: {what}",
                f"{old:.2f}, with none {none:.2f}: {old / none - 1:+.0%}",
                "10 %",
            )


def age(journal: Path, jobs: int) -> None:
    """Copy the one finished job of a journal so often, as the oldest, with names of their own."""
    with contextlib.closing(sqlite3.connect(journal)) as database, database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(job)")]
        new = {
            "number": "NULL",
            "device_id": "device_id || n",
            "job_id": "substr(job_id, 1, 1) || n",
            "sha256": "hex(n) || sha256",
            "fields": "replace(fields, job_id, substr(job_id, 1, 1) || n)",
            "since": "since - 30 * 86400 - n",
            "closed": "1",
        }
        database.execute(
            "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count LIMIT ?)"
            f"INSERT INTO job SELECT {', '.join(new.get(name, name) for name in columns)}"
            " FROM (SELECT * FROM job LIMIT 1), count",
            (jobs,),
        )


@row
def hung(folder: Path) -> Iterator[tuple[str, str, str]]:
    """One drive that hangs and one answer that never comes, beside a daemon without, in turn."""
    with ExitStack() as stack:
        daemons = {}
        for name, fault in (("none", ()), ("hung", ("hang", "1"))):
            endpoint = stack.enter_context(service(*fault))
            daemons[name] = Daemon(stack, folder / name, endpoint, "validate_on_drop: false\n")
            daemons[name].start()
        daemon = daemons["hung"]
        mute, unanswered = Drive(stack, folder, "mute"), Drive(stack, folder, "unanswered")
        daemon.drop(unanswered.label)
        unanswered.mount()
        daemon.logged("unanswered: job being submitted")
        mute.mount()
        mute.hang()
        daemon.drop(mute.label)
        daemon.logged("mute.yml accepted")
        figures: dict[str, list[float]] = {name: [] for name in daemons}
        for number in range(ROUNDS):
            for name, daemon in daemons.items():
                with ExitStack() as one:
                    drive = Drive(one, folder, f"{name}{number}")
                    daemon.drop(drive.label)
                    daemon.logged(f"manifest {drive.label}.yml accepted")
                    figures[name].append(mount_to_signature(drive))
                    daemon.logged(f"{drive.label}.*papers filed")
        none, beside = (statistics.median(values) for values in figures.values())
        yield (
            "one hung drive, one hung answer: mount -> SIGNATURE of the others, median",
            f"{beside:.1f} ms, without them {none:.1f} ms",
            "no delay",
        )


@row
def syncs(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Which syncs a job waits for, and for how long, by strace."""
    trace = folder / "trace"
    under = ("strace", "-D", "-f", "--seccomp-bpf", "-T", "-y", "-o", str(trace))
    with ExitStack() as stack:
        endpoint = stack.enter_context(service())
        daemon = Daemon(stack, folder / "syncs", endpoint)
        daemon.start(*under, "-e", "trace=fsync,fdatasync,sync_file_range,syncfs,sync")
        figures, sync = [], []
        for number in range(ROUNDS):
            with ExitStack() as one:
                drive = Drive(one, folder, f"sync{number}")
                daemon.drop(drive.label)
                daemon.logged(f"{drive.label}.yml found valid")
                daemon.rest()
                before = trace.stat().st_size
                figures.append(mount_to_signature(drive))
                lines = trace.read_text()[before:]
                sync.append(
                    [float(took) for took in re.findall(r"<([0-9.]+)>$", lines, re.MULTILINE)]
                )
                daemon.logged(f"{drive.label}.*papers filed")
        count, took = (statistics.median(map(kind, sync)) for kind in (len, sum))
        yield (
            "mount -> SIGNATURE: syncs",
            f"{count:.0f}, {took * 1000:.1f} of {statistics.median(figures):.1f} ms (traced)",
            "all that the recovery table needs",
        )


def main(rows: dict[str, Row]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # drives and processes go all the same
    wanted = sys.argv[1:] or list(rows)
    folder = Path(tempfile.mkdtemp(prefix="driveprep-bench-"))
    try:
        for name in wanted:
            place = folder / name
            place.mkdir()
            for what, figure, bar in rows[name](place):
                print(f"| {what} | {figure} | {bar} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(ROWS)
