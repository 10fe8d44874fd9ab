"""Who may see and do what: other users, other pages in the same browser, a flood, a slow reader.

SECURITY.md has a sentence for each of these tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from as_operator import manifest_for
from board_process import MANIFEST, Page, beside, free_port
from daemon_process import DRIVEPREP, ROOT
from loop_drives import wait_until

from daemon.board.access import sockets

READS = ["/api/view", "/api/status", "/api/waiting?q=x", "/events", "/metrics", "/paper/x"]
CHANGES = [
    "/api/check", "/api/drop", "/api/withdraw", "/api/retry", "/api/as-it-is", "/api/same-drive",
    "/api/dismiss", "/api/ship",
    "/api/undo-shipment", "/api/paper", "/api/print", "/logout",
]  # fmt: skip


@pytest.mark.parametrize("path", READS)
def test_nothing_is_read_without_a_login(board, path):
    """The page itself has no data."""
    assert board.ask("GET", path).status == 401


def test_nothing_is_changed_without_a_login(board, daemon):
    """Whatever is asked for."""
    for path in CHANGES:
        headers = {"Origin": board.origin, "Content-Type": "application/json"}
        assert board.ask("POST", path, headers, b"{}").status == 401, path


def test_a_cookie_alone_opens_nothing(page):
    """It is sent to every port of the host; the key is not."""
    for path in READS[:-1]:
        assert page.get(path, X_Board_Key="").status == 401, path
        assert page.get(path, X_Board_Key="x" * 43).status == 401, path
    assert page.get("/api/view", Cookie="").status == 401
    assert page.get("/api/view").status == 200


def test_the_cookie_is_for_no_script_and_no_other_site(board):
    """HttpOnly and SameSite=Strict; it ends after twelve hours."""
    cookie = board.open(board.token()).headers["set-cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie  # http on loopback
    assert 12 * 3600 - 5 <= int(re.search(r"Max-Age=(\d+)", cookie)[1]) <= 12 * 3600


def test_a_link_is_good_once(board):
    """The second browser that opens it gets nothing."""
    token = board.token()

    assert board.open(token).status == 200
    assert board.open(token).status == 401
    assert board.open("x" * 43).status == 401


def test_a_link_leads_to_the_board_with_its_token_after_the_number_sign(board):
    """What is after a # is sent to no server, and so is in no log."""
    link = board.command("--link").stdout

    assert re.fullmatch(rf"{board.origin}/#[\w-]{{43}}\n", link)
    assert link.rpartition("#")[2].strip() not in board.log


def test_revoke_ends_every_login_and_token(board, page):
    """Those that listen, too."""
    scrape, wall = board.token("--scrape"), board.log_in("--wall")
    with page.events() as views:
        next(views)
        assert board.command("--revoke").stdout.startswith("4 ")
        assert list(views) == []  # the stream has ended

    assert page.get("/api/view").status == 401
    assert wall.get("/api/view").status == 401
    assert board.ask("GET", "/metrics", {"Authorization": f"Bearer {scrape}"}).status == 401


def test_a_wall_only_reads(daemon, board):
    """Its link stays good; the view offers it no action, and each is refused."""
    token = board.token("--wall")
    assert board.command("--link", "--wall").stdout.startswith(f"{board.origin}/?wall#")
    daemon.drop("HD001", manifest_for("HD001").replace(b"NTFS", b"NTSF"))
    for _ in range(2):
        answer = board.open(token)
        wall = Page(
            board, answer.headers["set-cookie"].partition(";")[0], answer.json["key"],
            answer.json["csrf"],
        )  # fmt: skip
        assert answer.json["readOnly"]
    wait_until("there is a card", lambda: wall.view()["cards"])

    assert [one["actions"] for one in wall.view()["cards"]] == [[]]
    for path in CHANGES[:-1]:
        assert wall.post(path).status == 403, path
    assert list(daemon.pending.iterdir()) == []


def test_a_token_for_scraping_reads_metrics_and_status_only(board):
    """Nothing else, and it is no link."""
    token = board.token("--scrape")
    headers = {"Authorization": f"Bearer {token}"}

    assert b"driveprep_daemon_running 1.0" in board.ask("GET", "/metrics", headers).body
    assert board.ask("GET", "/api/status", headers).status == 200
    assert board.ask("GET", "/api/view", headers).status == 401
    assert board.open(token).status == 401


def test_read_only_is_for_everyone(daemon, tmp_path):
    """With `read_only` no login can act."""
    with beside(daemon, tmp_path / "board", read_only=True) as board:
        page = board.log_in()
        assert page.facts["readOnly"]
        assert page.view()["readOnly"]
        assert page.drop("x.yml", manifest_for("HD001")).status == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "localhost", "", "127.0.0.1"])
def test_another_host_is_refused(page, host):
    """A name that was rebound to this address (DNS rebinding) gets nothing, not even the page."""
    for path in ("/", "/api/view"):
        assert page.get(path, Host=host or "x").status == 421
    assert page.post("/api/retry", {"deviceId": "x"}, Host=host or "x").status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", ""])
def test_another_origin_is_refused(page, origin):
    """Another page of the same browser, or none: a change needs our own origin."""
    assert page.post("/api/retry", {"deviceId": "x"}, Origin=origin).status == 403
    if origin:
        assert page.get("/api/view", Origin=origin).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_another_site_is_refused(page, site):
    """By Sec-Fetch-Site; the page without data can be opened from a link."""
    assert page.get("/api/view", Sec_Fetch_Site=site).status == 403
    assert page.post("/api/retry", {"deviceId": "x"}, Sec_Fetch_Site=site).status == 403
    opened = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert page.get("/", Sec_Fetch_Site=site, **opened).status == 200
    framed = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    assert page.get("/", Sec_Fetch_Site=site, **framed).status == 403


def test_each_change_needs_its_own_token(page):
    """Cookie and key do not suffice."""
    for path in CHANGES:
        assert page.post(path, X_CSRF_Token="").status == 403, path
        assert page.post(path, X_CSRF_Token="x" * 43).status == 403, path


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/json", ""])
def test_a_form_cannot_upload(daemon, page, kind):
    """Only the content type that makes a browser ask first; and that question is answered by no."""
    data = manifest_for("HD001")
    assert page.send("/api/drop", "x.yml", data, Content_Type=kind).status == 415
    asked = page.board.ask(
        "OPTIONS", "/api/drop",
        {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    )  # fmt: skip
    assert asked.status in {401, 403}
    assert not any(name.lower().startswith("access-control") for name in asked.headers)
    assert list(daemon.pending.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/cron.d/x.yml", "x.yml"),
        ("..\\..\\x.yml", "x.yml"),
        ("/etc/passwd", "passwd.yml"),
        ("<script>alert(1)</script>.yml", "script_.yml"),
        ("a\u202elmy.exe", "a_lmy.exe.yml"),
        (".ask-0123.yml", "ask-0123.yml"),
        (".retry-HD001", "retry-HD001.yml"),
        ("-rf.yml", "rf.yml"),
        ("x.yml.part", "x_yml_part.yml"),
        ("x.reason.txt", "x_reason.txt"),
        ("~x.yml", "_x.yml"),
        ("\0\n\r.yml", "___.yml"),
        ("x" * 300 + ".yml", "x" * 64 + ".yml"),
        ("", "_.yml"),
    ],
)
def test_a_name_becomes_one_safe_path_component(daemon, page, name, safe):
    """In pending/, and nowhere else."""
    data = manifest_for("HD001")

    answer = page.drop(name, data)
    if "xxx" in name:  # cut before its ending
        safe = answer.json["name"]
    assert (answer.status, answer.json["name"]) == (200, safe)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.(yml|txt)", safe)
    wait_until("it waits", lambda: page.view()["counts"]["waiting"] == 1)
    assert [one.name for one in daemon.pending.iterdir()] == [safe]


def test_a_large_upload_is_not_read(page):
    """64 KiB at most; what a header announces is refused at once, and so is what is sent anyway."""
    assert page.send("/api/check", "x.yml", b"x" * (64 * 1024 + 1)).status == 413
    head = "".join(
        f"{name}: {text}\r\n"
        for name, text in page.headers(Content_Type=MANIFEST, Transfer_Encoding="chunked").items()
    )
    with socket.create_connection(("127.0.0.1", page.board.port)) as wire:
        host = f"Host: 127.0.0.1:{page.board.port}\r\n"
        wire.sendall(f"POST /api/check HTTP/1.1\r\n{host}{head}\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(80):
                wire.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_hostile_label_or_name_arrives_as_escaped_text(daemon, page):
    """Nothing that could move or hide other text reaches the page; markup stays text."""
    name = "<img src=x onerror=alert(1)>\u202e.yml"
    daemon.drop("HD001", b"deviceId: '<script>'\n", name)
    wait_until("it has a card", lambda: page.view()["cards"])

    (card,) = page.view()["cards"]
    assert card["manifest"] == "<img src=x onerror=alert(1)>\\u202e.yml"
    assert page.get("/api/view").headers["content-type"] == "application/json"


def test_every_answer_forbids_what_is_inline_or_from_elsewhere(page):
    """The policy is on the page, on data, on errors; nothing may frame the board."""
    for answer in (page.get("/"), page.get("/api/view"), page.get("/api/nothing"), page.post("/x")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert page.get("/api/view").headers["cache-control"] == "no-store"


def test_what_the_page_must_not_do_does_not_exist(page):
    """It cannot cancel, update, format or configure; the emulator's control is not here either."""
    for path in ("cancel", "update", "format", "config", "label", "restore"):
        assert page.post(f"/api/{path}", {"words": ["HD001"]}).status == 404, path


def test_files_beside_the_static_ones_are_not_served(page):
    """No path leads out of the folder."""
    for path in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "..\\app.py"):
        assert page.get(f"/static/{path}").status in {400, 404}, path


def test_forwarded_headers_are_ignored(page, board):
    """Without `hosts` no proxy is believed."""
    forwarded = {"X_Forwarded_For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    page.post("/api/retry", {"deviceId": "HD001"}, **forwarded)

    board.logged("/api/retry")
    assert "6.6.6.6" not in board.log
    assert page.get("/api/view", X_Forwarded_Host="evil.example").status == 200


def test_a_proxy_named_in_hosts_is_believed(daemon, tmp_path):
    """The page has its https origin then, the cookie is Secure, and the log names the client."""
    with beside(daemon, tmp_path / "board", hosts=["bench7.example.org"]) as board:
        link = board.command("--link").stdout
        assert link.startswith("https://bench7.example.org/#")
        named = {
            "Host": "bench7.example.org", "Origin": "https://bench7.example.org",
            "X-Forwarded-For": "6.6.6.6, 10.0.0.9",
        }  # fmt: skip
        answer = board.open(link.strip().rpartition("#")[2], **named)
        assert answer.status == 200
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-driveprep-board=")
        assert "Secure" in cookie
        board.logged("from 10.0.0.9: 200")
        assert "6.6.6.6" not in board.log


def test_another_listener_on_the_port_gets_no_link(daemon, tmp_path, run):
    """`--link` compares the socket that holds the port with the board's own."""
    place, port = sockets.folder(daemon.config, {"XDG_RUNTIME_DIR": str(run)}), free_port()
    place.mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(run)}

    def ask() -> subprocess.CompletedProcess[str]:
        command = [*DRIVEPREP, "board", "--link", "--config", str(daemon.config)]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        other = stack.enter_context(unix_socket(place / "control"))
        stack.enter_context(activated(daemon.config, [ours, other], tmp_path, run))
        assert f"http://127.0.0.1:{port}/#" in ask().stdout

        ours.shutdown(socket.SHUT_RDWR)  # it listens no more; its process does not know
        stack.enter_context(socket.create_server(("127.0.0.1", port)))
        refused = ask()
    assert refused.returncode != 0
    assert "another program listens on" in refused.stderr
    assert refused.stdout == ""


def test_other_users_get_no_link(board):
    """The control socket is private; under systemd it is the group's."""
    run = Path(board.environment["XDG_RUNTIME_DIR"])
    (control,) = run.glob("driveprep-board-*/control")

    assert control.parent.stat().st_mode & 0o077 == 0
    assert control.stat().st_mode & 0o077 == 0


def test_a_flood_leaves_the_board_usable(board, page):
    """Four hundred connections that say nothing, and requests without a login."""
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_connection(("127.0.0.1", board.port), timeout=5))
        since = time.monotonic()
        assert page.get("/api/view").status == 200
        assert time.monotonic() - since < 2
    statuses = [board.ask("GET", "/api/view").status for _ in range(600)]
    assert set(statuses) <= {401, 429}
    assert 429 in statuses
    assert page.get("/api/view").status == 200


def test_one_login_cannot_ask_without_end(page):
    """It is told to wait."""
    assert 429 in [page.get("/api/view").status for _ in range(600)]


def test_a_slow_head_is_cut(board):
    """A connection that does not say what it wants ends after five seconds."""
    with socket.create_connection(("127.0.0.1", board.port), timeout=15) as wire:
        since = time.monotonic()
        wire.sendall(b"GET / HTTP/1.1\r\nHost: ")
        with contextlib.suppress(ConnectionResetError):
            assert wire.recv(100) == b""
        assert 3 < time.monotonic() - since < 12


def test_a_slow_reader_costs_nothing(daemon, page, board):
    """One that never reads its events is cut, and memory stays."""
    before = memory(board.pid)
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        wire.connect(("127.0.0.1", board.port))
        head = "".join(f"{name}: {text}\r\n" for name, text in page.headers().items())
        host = f"Host: 127.0.0.1:{board.port}\r\n"
        wire.sendall(f"GET /events HTTP/1.1\r\n{host}{head}\r\n".encode())
        for number in range(30):
            daemon.drop(f"HD{number:03}", manifest_for(f"HD{number:03}").replace(b"NTFS", b"X"))
        wait_until("all are seen", lambda: page.view()["counts"]["attention"] == 30)
        assert memory(board.pid) - before < 20_000
        assert page.get("/api/view").status == 200


def test_one_login_has_few_streams(page):
    """All tabs of a browser share one; more than twelve are refused."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            next(stack.enter_context(page.events()))
        assert page.get("/events").status == 503


def test_a_manifests_secrets_are_not_shown(daemon, page):
    """Neither in the check, nor in view, status, metrics or log."""
    secret = "hunter2-hunter2"
    faulty = manifest_for("HD001") + f"trueCryptPassword: {secret}\npinCode: [{secret}]\n".encode()
    checked = page.send("/api/check", "x.yml", faulty)
    page.drop("x.yml", faulty)
    daemon.drop("HD002", manifest_for("HD002") + f"pinCode: {secret}\n".encode())
    wait_until("the view has it", lambda: page.view()["counts"]["waiting"] == 1)
    answers = [checked, *(page.get(path) for path in ("/api/view", "/api/status", "/metrics"))]

    assert all(secret.encode() not in one.body for one in answers)
    assert secret not in page.board.log


def test_the_store_has_no_token(board, page):
    """What is stored of logins cannot be used: SHA-256 of random values."""
    run = Path(board.environment["XDG_RUNTIME_DIR"])
    (store,) = run.glob("driveprep-board-*/logins.json")
    text = store.read_text()

    assert store.stat().st_mode & 0o077 == 0
    for secret in (page.key, page.csrf, page.cookie.partition("=")[2]):
        assert secret not in text


def test_logins_outlive_a_restart(board, page):
    """A configuration that changes logs no one out."""
    board.stop()
    board.start()

    assert page.get("/api/view").status == 200
    assert replace(page, key="x").get("/api/view").status == 401


@pytest.mark.parametrize("listen", ["0.0.0.0:8480", "192.0.2.1:8480", "[::]:8480"])
def test_other_machines_are_refused_without_tls(daemon, listen):
    """The configuration is then at fault, for every command."""
    settings = json.loads(daemon.config.read_text())
    daemon.config.write_text(json.dumps({**settings, "board": {"listen": listen}}))

    done = daemon.command("board")
    assert done.returncode == 78
    assert "unencrypted" in done.stderr
    assert "board.listen" in done.stderr


def test_tls_is_spoken_by_the_board_itself(daemon, tmp_path):
    """The link is https, and the cookie is Secure and bound to the host."""
    certificate, key = tmp_path / "board.crt", tmp_path / "board.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-nodes",
        "-subj",
        "/CN=127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with beside(daemon, tmp_path / "board", **tls) as board:
        link = board.command("--link").stdout
        assert link.startswith(f"https://127.0.0.1:{board.port}/#")
        answer = board.open(link.strip().rpartition("#")[2])
        assert answer.status == 200
        assert answer.headers["set-cookie"].startswith("__Host-driveprep-board=")
        assert "Secure" in answer.headers["set-cookie"]


def test_systemds_socket_decides_the_address(daemon, tmp_path, run):
    """A `listen` that says otherwise is a fault that names both."""
    config, port = json.loads(daemon.config.read_text()), free_port()
    daemon.config.write_text(json.dumps({**config, "board": {"listen": "127.0.0.1:1234"}}))

    with (
        socket.create_server(("127.0.0.1", port)) as page,
        unix_socket(run / "control") as other,
        activated(daemon.config, [page, other], tmp_path, run) as process,
    ):
        assert process.wait(30) == 78
    log = (tmp_path / "activated.log").read_text()
    assert "127.0.0.1:1234" in log
    assert f"127.0.0.1:{port}" in log


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_systemds_socket_needs_tls_for_other_machines(daemon, tmp_path, run, address):
    """The unit's address is checked like that of the configuration."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.create_server((address, 0), family=family) as page,
        unix_socket(run / "control") as other,
        activated(daemon.config, [page, other], tmp_path, run) as process,
    ):
        assert process.wait(30) == 78
    assert "unencrypted" in (tmp_path / "activated.log").read_text()


@pytest.fixture
def run() -> Iterator[Path]:
    """Yield a folder with a short path: that of a Unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="board-") as folder:
        yield Path(folder)


def unix_socket(path: Path) -> socket.socket:
    """Return a socket that listens there."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    path.chmod(0o600)
    made.listen()
    return made


@contextlib.contextmanager
def activated(
    config: Path, given: list[socket.socket], state: Path, run: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a board with inherited sockets, as systemd does; end it if it still runs."""
    high = [fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in given]
    # sd_listen_fds(3): from descriptor 3 on, for the process with that id.
    shell = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"]
    environment = {
        **os.environ, "LISTEN_FDS": "2", "STATE_DIRECTORY": str(state), "XDG_RUNTIME_DIR": str(run)
    }  # fmt: skip

    def place() -> None:
        for number, one in enumerate(high, 3):
            os.dup2(one, number)

    with (state / "activated.log").open("wb") as log:
        process = subprocess.Popen(
            [*shell, *DRIVEPREP, "board", "--config", str(config)], cwd=ROOT, stderr=log,
            pass_fds=(3, 4), preexec_fn=place, env=environment,  # noqa: PLW1509
        )  # fmt: skip
    try:
        yield process
    finally:
        for one in high:
            os.close(one)
        process.kill()
        process.wait()


def memory(pid: int) -> int:
    """Return a process's resident memory in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])
