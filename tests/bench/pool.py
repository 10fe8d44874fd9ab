"""Measures what a pool costs, with a PostgreSQL of its own, and prints a table like bench.py.

Usage: pool.py [ROW...]    Needs root, ntfs-3g and postgresql.
"""

from __future__ import annotations

import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bed import HERE, Daemon, Drive, command, mount_to_signature, service, spread
from bench import ROUNDS, main

sys.path.append(str(HERE.parent / "support"))

from apart import APART
from postgres import Postgres
from stations import ENDPOINT, KEY, claim, differs, with_it

from daemon.jobs.journal import Journal
from daemon.pool import members
from daemon.pool.connection import Connections
from daemon.pool.station import Station
from daemon.preparation.exchange import Exchange
from daemon.preparation.sharing import Sharing
from daemon.spool.spool import Spool

TURNS = 60
IDLE_MINUTES = 2
WORDS = "validate_on_drop: false\n"


@contextmanager
def database() -> Iterator[Postgres]:
    """A server, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="driveprep-pg-", dir="/tmp"))  # a socket's path is short
    folder.chmod(0o755)
    server = Postgres(folder / "1").make()
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)


def station(
    stack: ExitStack, folder: Path, endpoint: str, server: Postgres, *, is_first: bool = True
) -> Daemon:
    """A daemon that has joined, not started."""
    more = f"{WORDS}station: {folder.name}\npool:\n  address: {server.url}\n"
    daemon = Daemon(stack, folder, endpoint, more)
    for words in ([["init"]] if is_first else []) + [["join", folder.name]]:
        end = ["--config", str(daemon.config)]
        command(sys.executable, "-m", "daemon", "pool", *words, *end)
    return daemon


def latency(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Mount visible to SIGNATURE with a pool and without, in turn."""
    figures: dict[str, list[float]] = {"alone": [], "pool": []}
    with ExitStack() as stack:
        server, endpoint = stack.enter_context(database()), stack.enter_context(service())
        daemons = {
            "alone": Daemon(stack, folder / "alone", endpoint, WORDS),
            "pool": station(stack, folder / "pool", endpoint, server),
        }
        for daemon in daemons.values():
            daemon.start()
        for number in range(ROUNDS * 2):
            for name, daemon in daemons.items():
                with ExitStack() as one:
                    one.enter_context(frozen(daemons["pool" if name == "alone" else "alone"]))
                    drive = Drive(one, folder, f"{name}{number}")
                    daemon.drop(drive.label)
                    daemon.logged(f"manifest {drive.label}.yml accepted")
                    daemon.rest()
                    figures[name].append(mount_to_signature(drive))
                    daemon.logged(f"{drive.label}.*papers filed")
                for other in daemons.values():
                    other.rest()
    (alone, alone95), (pool, pool95) = map(spread, figures.values())
    what = "mount -> SIGNATURE with a pool"
    yield f"{what}, median", f"{pool:.1f} ms = {pool / alone:.2f} x alone ({alone:.1f} ms)", "1.5 x"
    times = f"{pool95:.1f} ms = {pool95 / alone95:.2f} x alone ({alone95:.1f} ms)"
    yield f"{what}, p95", times, ""


@contextmanager
def frozen(daemon: Daemon) -> Iterator[None]:
    """Keep a daemon from scanning what is not its own, on the same cores."""
    daemon.child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.child.send_signal(signal.SIGCONT)


FILL = """
INSERT INTO driveprep.station (id, name)
    SELECT gen_random_uuid(), 'other-' || n FROM generate_series(1, 19) n;
CREATE TEMP TABLE other AS
    SELECT id, row_number() OVER () - 1 AS place FROM driveprep.station WHERE name LIKE 'other-%';
INSERT INTO driveprep.manifest (sha256, device_id, name, text, station)
    SELECT encode(sha256(n::text::bytea), 'hex'), 'W' || n, 'W' || n || '.yml',
        convert_to(repeat('manifest ', 60), 'UTF8'), id
    FROM generate_series(1, 10000) n JOIN other ON place = n % 19;
INSERT INTO driveprep.claim (id, device_id, station, name, sha256, file_system, manifest, signed_at,
        endpoint, access_key_id, drive, job_id, made, is_closed)
    SELECT gen_random_uuid(), 'D' || n, id, 'D' || n || '.yml',
        encode(sha256(('D' || n)::bytea), 'hex'), 'NTFS', NULL,
        extract(epoch FROM now()) - (100400 - n) * 86.4, 'http://127.0.0.1:8470', 'AKIA',
        '{"serial": "WX11", "size": 4, "uuid": "0123456789ABCDEF"}', 'J' || n,
        jsonb_build_object('state', 'Signed', 'fields', repeat('signature ', 40)), n <= 100000
    FROM generate_series(1, 100400) n JOIN other ON place = n % 19;
INSERT INTO driveprep.sighting (station, device_id, drive)
    SELECT id, 'D' || n, '{"serial": "WX11", "size": 4, "uuid": "0123456789ABCDEF"}'
    FROM generate_series(100201, 100400) n JOIN other ON place = n % 19;
ANALYZE;
"""
CHANGE = (
    "UPDATE driveprep.pool SET revision = revision + 1,"
    " written_by = pg_current_xact_id()::text::bigint"
)


class Bench:
    """A station without a daemon, in a database of its own server."""

    def __init__(self, stack: ExitStack, folder: Path, server: Postgres, fill: str) -> None:
        folder.mkdir()
        me = str(uuid.uuid4())
        with_it(server, lambda cursor: members.found(cursor, me, ENDPOINT, KEY))
        member = with_it(server, lambda cursor: members.join(cursor, me, "me", ENDPOINT, KEY))
        if fill:
            server.ask(fill)
            server.ask("VACUUM")  # as autovacuum does soon
        connections = Connections(server.url)
        stack.callback(connections.close)
        self.server = server
        journal, spool = Journal(folder, time.time), Spool(folder, 1.0, time.monotonic)
        stack.callback(journal.close)
        self.station = Station(
            connections,
            member,
            lambda seen: journal.record_membership(seen.dump()),
            differs=differs,
        )
        self.exchange = Exchange(journal, self.station, spool)
        self.sharing = Sharing(journal, self.station, spool, self.exchange)

    def turn(self) -> None:
        self.sharing.agree()

    def change(self) -> None:
        self.server.ask(CHANGE)

    def see(self) -> None:
        self.server.ask("UPDATE driveprep.station SET seen_at = now() WHERE name <> 'me'")

    def claim(self) -> None:
        self.station.claim(claim(str(uuid.uuid4()), endpoint=ENDPOINT, access_key_id=KEY), "")


def scans(folder: Path) -> Iterator[tuple[str, str, str]]:
    """A station's turns beside 19 others and 100,000 finished jobs, and in an empty pool."""
    with ExitStack() as stack:
        benches = [
            Bench(stack, folder / name, stack.enter_context(database()), fill)
            for name, fill in (("one", ""), ("many", FILL))
        ]
        yield _compared("a scan without news", benches, Bench.see, Bench.turn, "1 x")
        yield _compared("a scan after a change elsewhere", benches, Bench.change, Bench.turn, "1 x")
        for bench in benches:
            bench.exchange.seen = {f"H{number}": {"serial": str(number)} for number in range(8)}
        after = "a scan without news, 8 drives here"
        yield _compared(after, benches, Bench.see, Bench.turn, "1 x")
        after = "a scan after a change elsewhere, 8 drives here"
        yield _compared(after, benches, Bench.change, Bench.turn, "1 x")
        yield _compared("a claim", benches, lambda _: None, Bench.claim, "")


def _compared(
    what: str,
    benches: list[Bench],
    given: Callable[[Bench], None],
    work: Callable[[Bench], None],
    bar: str,
) -> tuple[str, str, str]:
    took: list[list[float]] = [[] for _ in benches]
    for number in range(TURNS):
        for bench, values in zip(benches, took, strict=True):
            given(bench)
            began = time.monotonic()
            work(bench)
            if number >= TURNS // 6:  # connections and caches are warm
                values.append((time.monotonic() - began) * 1000)
    one, many = map(statistics.median, took)
    worst = max(took[1])
    figure = f"{many:.2f} ms = {many / one:.2f} x one station ({one:.2f} ms), worst {worst:.1f} ms"
    return f"20 stations, 10,000 waiting, 100,000 finished: {what}", figure, bar


def idle(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Queries of stations without news, with a prepared drive mounted, and their memory."""
    with ExitStack() as stack:
        server, endpoint = stack.enter_context(database()), stack.enter_context(service())
        alone = Daemon(stack, folder / "alone", endpoint, WORDS)
        stations = [
            station(stack, folder / name, endpoint, server, is_first=name == "first")
            for name in ("first", "second")
        ]
        for daemon in (alone, *stations):
            daemon.start(*APART)  # other drives of this machine are news
            daemon.rest()
        for what, daemon in (("without a pool", alone), ("in a pool", stations[0])):
            rss, pss = (memory(daemon, key) / 1024 for key in ("Rss", "Pss"))
            yield f"idle {what}: memory", f"RSS {rss:.1f} MiB, PSS {pss:.1f} MiB", ""
        figure = f"{queries(server) / len(stations):.1f}"
        yield "idle: queries a minute of a station", figure, "2"
        drive = Drive(stack, folder, "signed")
        stations[0].drop(drive.label)
        stations[0].logged("signed.yml accepted")
        alone.stop()
        there = ["nsenter", "--target", str(stations[0].child.pid), "--mount"]
        command(*there, "mount", "-t", "ntfs-3g", drive.device, str(drive.mount_point))
        stack.callback(command, *there, "umount", "--lazy", str(drive.mount_point))
        stations[0].logged("signed.*papers filed")
        figure = f"{queries(server) / len(stations):.1f}"
        yield "idle with a prepared drive: queries a minute of a station", figure, "2"


def queries(server: Postgres) -> float:
    """How many a minute, without those that begin, limit and end a transaction."""
    time.sleep(70)  # the first scan after news reads what this station holds once more
    with server.asked() as found:
        time.sleep(60 * IDLE_MINUTES)
    return len(found) / IDLE_MINUTES


def memory(daemon: Daemon, key: str) -> int:
    found = re.search(
        rf"^{key}:\s+(\d+)",
        Path(f"/proc/{daemon.child.pid}/smaps_rollup").read_text(),
        re.MULTILINE,
    )
    assert found
    return int(found[1])


if __name__ == "__main__":
    main({one.__name__: one for one in (latency, scans, idle)})
