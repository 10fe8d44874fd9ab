"""The process of `driveprep board`: its sockets, its threads, and its end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from daemon.board import app
from daemon.board.collecting import Collector
from daemon.board.watching import Hub, Published, Watcher
from daemon.config import loading

LISTEN = ("127.0.0.1", 8480)


def run(config_path: Path, environment: Mapping[str, str]) -> None:
    """Serve the board until SIGTERM."""
    asyncio.run(_serve(config_path, environment))


async def _serve(config_path: Path, environment: Mapping[str, str]) -> None:
    config = loading.load(config_path, environment, with_credentials=False)
    loop = asyncio.get_running_loop()
    hub = Hub()

    def publish(published: Published) -> None:
        loop.call_soon_threadsafe(hub.publish, published)

    collector = Collector(config, time.time)
    watcher = Watcher(
        lambda: config.spool,
        collector.view,
        publish,
        time.monotonic,
    )
    listener = socket.create_server(LISTEN)
    settings = uvicorn.Config(
        app.make(hub), http="h11", ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, timeout_keep_alive=5,
    )  # fmt: skip
    watcher.start()
    try:
        await uvicorn.Server(settings).serve(sockets=[listener])
    finally:
        watcher.stop()
