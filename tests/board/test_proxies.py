"""The recipes of docs/board.md, as printed, with the real nginx and Caddy; only places differ."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from board_process import beside, free_port
from loop_drives import wait_until

DOCS = Path(__file__).parents[2] / "docs" / "board.md"
HOST = "bench7.example.org"


def recipe(kind: str) -> str:
    """The block of that kind in the documentation."""
    found = re.search(rf"```{kind}\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found
    return found[1]


@contextlib.contextmanager
def proxy(kind: str, folder: Path, board_port: int) -> Iterator[int]:
    """Run a proxy with its recipe; yields its port."""
    certificate, key, port = folder / "bench7.crt", folder / "bench7.key", free_port()
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run(
        [*make, "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
         "-keyout", key, "-out", certificate],
        capture_output=True, check=True,
    )  # fmt: skip
    text = recipe(kind).replace("/etc/ssl/bench7", str(folder / "bench7"))
    text = text.replace("127.0.0.1:8480", f"127.0.0.1:{board_port}")
    config = folder / "proxy.conf"
    if kind == "nginx":
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
        head = f"daemon off; pid {folder}/pid; error_log {folder}/errors;\nevents {{}}\n"
        config.write_text(
            f"{head}http {{ access_log off; client_body_temp_path {folder};\n{text}}}\n"
        )
        command = ["nginx", "-p", folder, "-c", config, "-e", folder / "errors"]
    else:
        text = text.replace(f"{HOST} {{", f"https://{HOST}:{port} {{\n    bind 127.0.0.1", 1)
        config.write_text(f"{{\n    admin off\n}}\n{text}")
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/bin"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until("it listens", lambda: listens(port))
        yield port
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    """Return whether someone accepts connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def connect(port: int, certificate: Path) -> http.client.HTTPSConnection:
    """Connect as a browser does that knows the host by its name."""
    context = ssl.create_default_context(cafile=str(certificate))
    connection = http.client.HTTPSConnection(HOST, port, context=context, timeout=10)
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sock = context.wrap_socket(plain, server_hostname=HOST)
    return connection


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_proxy_as_documented(daemon, tmp_path, kind):
    """A link leads to the proxy's name; login, view and events come through at once."""
    if not shutil.which(kind):
        pytest.skip(f"not installed: {kind}")
    folder = tmp_path / "proxy"
    folder.mkdir()
    with (
        beside(daemon, tmp_path / "board", hosts=[HOST]) as board,
        proxy(kind, folder, board.port) as port,
    ):
        link = board.command("--link").stdout.strip()
        assert link.startswith(f"https://{HOST}/#")
        own = {"Host": HOST, "Origin": f"https://{HOST}"}
        with contextlib.closing(connect(port, folder / "bench7.crt")) as connection:
            body = json.dumps({"token": link.rpartition("#")[2]})
            sent = {**own, "Content-Type": "application/json"}
            connection.request("POST", "/login", body, sent)
            answer = connection.getresponse()
            told = json.loads(answer.read())
            assert answer.status == 200, told
            cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-driveprep-board=")
        assert "Secure" in cookie

        with contextlib.closing(connect(port, folder / "bench7.crt")) as connection:
            reading = {"Host": HOST, "Cookie": cookie.partition(";")[0], "X-Board-Key": told["key"]}
            connection.request("GET", "/events", headers=reading)
            events = connection.getresponse()
            assert events.status == 200
            lines = (line for line in iter(events.readline, b"") if line.startswith(b"data: "))
            assert json.loads(next(lines)[6:])["counts"]["waiting"] == 0
            daemon.drop("HD404")
            assert any(json.loads(line[6:])["counts"]["waiting"] == 1 for line in lines)
        board.logged("/login by")
