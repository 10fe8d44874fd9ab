"""The process of `driveprep board`: its parts, its sockets, and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from daemon.board import metrics
from daemon.board.access import sockets
from daemon.board.access.connections import Connection
from daemon.board.access.control import Control
from daemon.board.access.logins import Logins
from daemon.board.access.origin import Origins
from daemon.board.access.sockets import CONTROL, Sockets
from daemon.board.actions import Actions
from daemon.board.app import Board, Reports
from daemon.board.bench.collecting import Collector
from daemon.board.dropped import DroppedHere
from daemon.board.papers import Papers
from daemon.board.settings import Settings
from daemon.board.status import Status
from daemon.board.watching import Hub, Published, Watcher
from daemon.drives.inventory import Drives
from daemon.jobs import overview
from daemon.jobs.job import Job
from daemon.system import systemd
from daemon.system.clocks import Clocks

log = logging.getLogger("daemon.board")

# The mount table to show: a sandbox has another one than the machine.
MOUNTS = "DRIVEPREP_MOUNTS"
THREADS = 4  # for what waits for a disk or for the daemon
END_SECONDS = 3  # for the answers that are under way


def run(config_path: Path, environment: Mapping[str, str]) -> None:
    """Serve the board until SIGTERM. Raises ConfigError and DriveprepError if it cannot begin."""
    settings = Settings(config_path, environment)
    found = sockets.take(settings().board, config_path, environment)
    state, table = environment.get("STATE_DIRECTORY"), environment.get(MOUNTS)
    folder = Path(state) if state else sockets.folder(config_path, environment)
    try:
        asyncio.run(_serve(settings, found, folder, Path(table) if table else None))
    finally:
        if not state:
            (folder / CONTROL).unlink(missing_ok=True)


async def _serve(settings: Settings, found: Sockets, folder: Path, table: Path | None) -> None:
    clocks, loop, hub = Clocks(), asyncio.get_running_loop(), Hub()
    dropped = DroppedHere(folder)
    drives = Drives(steady=clocks.steady, table=table)
    collector = Collector(settings, clocks.wall, drives)

    def publish(published: Published) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(hub.publish, published)

    watcher = Watcher(
        settings, lambda: collector.view(dropped.all()), publish, clocks.steady, table
    )
    logins = Logins(folder, clocks)
    origins = Origins(settings().board, *found.place)
    with ThreadPoolExecutor(THREADS, "board") as executor:
        papers = Papers(clocks.steady)
        actions = Actions(settings, dropped, papers, watcher.ring, executor, clocks, hub)
        reports = _Reports(settings, clocks, Status(settings.path, table)).all()
        board = Board(hub, logins, origins, papers, reports, actions, executor, clocks)
        control = Control(logins, origins, sockets.inode(found.page), hub.ring)
        watcher.start()
        try:
            async with await control.serve(found.control):
                await _answer(board, settings, found)
        finally:
            watcher.stop()


async def _answer(board: Board, settings: Settings, found: Sockets) -> None:
    own = settings().board
    config = uvicorn.Config(
        board.app(),
        http=Connection,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=5,
        ssl_certfile=own.tls_certificate or None,
        ssl_keyfile=own.tls_key or None,
    )
    server = _Server(config)
    log.info("board serves %s", board.origins.own)
    systemd.notify("READY=1")
    await server.serve(sockets=[found.page])


class _Server(uvicorn.Server):
    """uvicorn's server; streams of events do not delay its end."""

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """End: what is under way has a moment, then it is cut."""
        systemd.notify("STOPPING=1")
        loop = asyncio.get_running_loop()
        for one in list(Connection.open_ones):
            loop.call_later(END_SECONDS if not one.is_stream else 0, one.cut)
        await super().shutdown(sockets)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Reports:
    """What takes a while to make."""

    settings: Settings
    clocks: Clocks
    status: Status

    def all(self) -> Reports:
        """Return the functions that the application calls in a thread."""
        return Reports(self.status.pieces, self.metrics, self.waiting)

    def metrics(self, published: Published) -> bytes:
        """Return the text of /metrics."""
        figures = lambda: overview.figures(self.settings().spool)  # noqa: E731
        return metrics.Metrics(figures, self.clocks.wall).text(published.view)

    def waiting(self, text: str, limit: int) -> list[Job]:
        """Return waiting jobs with a text in deviceId or name."""
        return overview.find_waiting(self.settings().spool, text, limit)
