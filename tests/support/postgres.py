"""A PostgreSQL of the test's own: as its own user, on a socket in a temporary folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from loop_drives import wait_until

PROGRAMS = Path("/usr/lib/postgresql")
USER = "postgres"  # the distribution's; the server refuses to run as root
SETTINGS = (
    "listen_addresses = ''\nfsync = on\nmax_connections = 60\nlog_min_messages = warning\n"
    "wal_level = replica\nmax_wal_senders = 4\nwal_keep_size = 64\n"
)


def programs() -> Path | None:
    """Return the folder of the newest server's programs, or DRIVEPREP_POSTGRESQL; None: no server.

    See scripts/test-postgresql.
    """
    if chosen := os.environ.get("DRIVEPREP_POSTGRESQL"):
        return Path(chosen)
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """One server, from `start` to `stop`. `folder` must be reachable for USER."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._programs = programs() or Path()
        folder.mkdir(exist_ok=True)
        shutil.chown(folder, USER, USER)
        folder.chmod(0o755)

    @property
    def url(self) -> str:
        """The database `pool`, for the superuser of this cluster."""
        return f"postgresql:///pool?host={self.folder}&user={USER}"

    def make(self) -> Postgres:
        """Make a cluster, start it, and make the database."""
        self._as_user("initdb", "-D", self.data, "-A", "trust", "-U", USER, "--no-sync")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(SETTINGS)
        self.start()
        with closing(self._connect("postgres")) as connection:
            connection.execute("CREATE DATABASE pool")
        return self

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log, options = self.folder / "log", f"-k {self.folder}"
        self._as_user("pg_ctl", "-D", self.data, "-l", log, "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast`, or `immediate` like a crash. Safe to repeat."""
        if (self.data / "postmaster.pid").exists():
            self._as_user("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def pid(self) -> int:
        """Return the process id of the server."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, committed."""
        with closing(self._connect("pool")) as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def asked(self) -> Iterator[list[str]]:
        """Fill the list, at the end of the block, with what was sent in it: first lines only.

        Without the statements that begin, limit and end a transaction.
        """
        log, found = self.folder / "log", list[str]()
        self._log_statements("all")
        before = log.stat().st_size
        try:
            yield found
            logged = log.read_bytes()[before:].decode()
        finally:
            self._log_statements("none")
        sent = re.findall(r"LOG:  (?:statement|execute [^:]*):\s+(.*)", logged)
        found += [one for one in sent if not one.startswith(("BEGIN", "COMMIT", "SET LOCAL"))]

    def _log_statements(self, which: str) -> None:
        self.ask(f"ALTER SYSTEM SET log_statement = '{which}'")
        self.ask("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while self.ask("SHOW log_statement") != [(which,)]:  # then older connections have it, too
            assert time.monotonic() < deadline, which
            time.sleep(0.01)

    def standby(self, folder: Path) -> Postgres:
        """Return an asynchronous standby of this server, started."""
        other = Postgres(folder)
        source = f"host={self.folder} user={USER}"
        self._as_user("pg_basebackup", "-D", other.data, "-d", source, "-R", "-c", "fast")
        other.start()
        return other

    def receive_no_more(self) -> None:
        """Have a standby lag behind from now on."""
        self.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.ask("SELECT pg_reload_conf()")
        query = "SELECT pid FROM pg_stat_wal_receiver"
        wait_until("it is cut off", lambda: not self.ask(query))

    def promote(self) -> None:
        """Make a standby the primary."""
        self._as_user("pg_ctl", "-D", self.data, "-w", "promote")

    def dump(self, file: Path) -> None:
        """Write a dump of the database."""
        with file.open("wb") as out:
            self._as_user("pg_dump", "-h", self.folder, "-d", "pool", stdout=out)

    def restore(self, file: Path) -> None:
        """Put the dump in the place of the pool's tables."""
        self.ask("DROP SCHEMA driveprep CASCADE")
        with file.open("rb") as data:
            self._as_user(
                "psql", "-h", self.folder, "-d", "pool", "-q", "-v", "ON_ERROR_STOP=1", stdin=data
            )

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.folder), user=USER, dbname=name, autocommit=True, connect_timeout=10
        )

    def _as_user(self, program: str, *words: object, **options: Any) -> None:
        command = [str(self._programs / program), *map(str, words)]
        options |= {"user": USER, "group": USER, "extra_groups": []}
        if "stdin" not in options:
            options["stdin"] = subprocess.DEVNULL
        if "stdout" not in options:  # a server keeps its own log, and would keep a pipe open
            options["stdout"] = subprocess.DEVNULL
        done = subprocess.run(
            command, check=False, stderr=subprocess.DEVNULL, cwd="/", env=_environment(), **options
        )
        assert done.returncode == 0, f"{program} failed: {self.folder / 'log'}"


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/tmp"}
