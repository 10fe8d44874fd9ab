"""The client on a real wire: what it sends, how long it waits, and what it makes of what comes."""

import errno
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import closing
from unittest.mock import Mock
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from importexport_wire import SIGNED, http, request, serving
from loop_drives import wait_until

from daemon.errors import InDoubtError, UnreachableError
from daemon.importexport import connections, trust
from daemon.importexport.client import Client
from daemon.importexport.credentials import Credentials
from daemon.importexport.response import Answer
from daemon.importexport.transport import Transport

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
TIMEOUT = 0.25  # seconds


@pytest.fixture(autouse=True)
def without_bundles(monkeypatch):
    """An environment that names no certificate authorities."""
    for name in trust.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def calling(endpoint, timeout=TIMEOUT):
    """A client that is closed after the block."""
    return closing(Client(endpoint, KEYS, timeout))


def answer_always(connection, *answers):
    """Answer request after request on one connection."""
    while request(connection):
        connection.sendall(http())


def drip(connection, start, drop):
    """Send a drop at a time for as long as somebody listens."""
    request(connection)
    connection.sendall(start)
    while True:
        connection.sendall(drop)
        time.sleep(0.02)


def test_request_on_the_wire():
    """A request is a form with every parameter said, signed, by driveprep, to the bare host."""
    seen = []

    def act(connection):
        seen.append(request(connection).decode())

    with serving(act) as server, calling(server.endpoint) as client, pytest.raises(InDoubtError):
        client.create_job("deviceId: Ä+ b\n")

    head, _, body = seen[0].partition("\r\n\r\n")
    sent = dict(parse_qsl(body, strict_parsing=True))
    assert head.startswith("POST / HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
    assert "\r\nUser-Agent: driveprep\r\n" in head
    assert "\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n" in head
    assert "deviceId%3A%20%C3%84%2B%20b%0A" in body
    assert {"AWSAccessKeyId", "Timestamp", "Signature"} < sent.keys()
    assert {name: sent[name] for name in ("Action", "Version", "JobType", "ValidateOnly")} == {
        "Action": "CreateJob",
        "Version": "2010-06-01",
        "JobType": "Export",
        "ValidateOnly": "false",
    }
    assert "APIVersion" not in sent


def test_requests_is_loaded_late():
    """A daemon that has not spoken to the service yet has not loaded the HTTP library."""
    program = """
import sys
from daemon.importexport.credentials import Credentials
from daemon.importexport.client import Client
Client("http://127.0.0.1:1", Credentials("a", "b"), 1.0).close()
assert not {"requests", "urllib3", "defusedxml", "http.client"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"<"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n<\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"<"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status line", "headers", "one header", "body", "chunks", "no length", "continue"],
)
def test_dripping_answer(start, drop):
    """However slowly an answer drips, the caller is back at the deadline, in doubt."""
    with (
        serving(lambda connection: drip(connection, start, drop)) as server,
        calling(server.endpoint) as client,
    ):
        began = time.monotonic()
        with pytest.raises(InDoubtError, match=r"none within 0\.25 s"):
            client.get_status("K7M3X")
        waited = time.monotonic() - began

    assert TIMEOUT <= waited < TIMEOUT + 1


def test_no_answer():
    """A service that takes the request and says nothing leaves doubt at the deadline."""
    with (
        serving(lambda connection: (request(connection), connection.recv(1))) as server,
        calling(server.endpoint) as client,
        pytest.raises(InDoubtError, match="none within"),
    ):
        client.create_job("x")


def ends_soon():
    """Whether no thread uses a connection any more."""
    threads = [thread for thread in threading.enumerate() if thread.name == "importexport"]
    for thread in threads:
        thread.join(1)
    return not any(thread.is_alive() for thread in threads)


def test_deadline_ends_the_thread():
    """Leaving at the deadline shuts the connection: the thread that used it ends at once."""
    with serving(lambda connection: drip(connection, b"", b"H")) as server:
        with calling(server.endpoint) as client, pytest.raises(InDoubtError):
            client.get_status("K7M3X")

        assert ends_soon()


@pytest.mark.parametrize("late", ["answer", "error"])
def test_what_comes_after_the_deadline_does_not_count(monkeypatch, late):
    """Neither a late response nor the error that our own cut has caused: the time was up."""
    cut, is_over = connections.Line.cut, threading.Event()

    def cut_and_wait(line):
        cut(line)
        is_over.set()
        for thread in threading.enumerate():
            if thread.name == "importexport":
                thread.join(5)

    def exchange(transport, operation, prepared):
        connections.current_line.get().sent = True
        is_over.wait(5)
        if late == "error":
            raise OSError(errno.EPIPE, "Broken pipe")
        return Answer(operation, 200, "text/xml", None, SIGNED.encode())

    monkeypatch.setattr(connections.Line, "cut", cut_and_wait)
    monkeypatch.setattr(Transport, "_exchange", exchange)

    with (
        calling("http://127.0.0.1:9") as client,
        pytest.raises(InDoubtError, match=r"none within 0\.25 s"),
    ):
        client.get_status("K7M3X")


def test_silent_handshake():
    """A TLS handshake that never ends is no doubt: nothing of the request was sent."""
    with (
        serving(lambda connection: connection.recv(1 << 16) and connection.recv(1)) as server,
        calling(f"https://127.0.0.1:{server.port}") as client,
        pytest.raises(UnreachableError, match=r"none within 0\.25 s"),
    ):
        client.create_job("x")


def test_refused():
    """Where nothing listens, nothing was sent, and the hint says what to look at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]

    with (
        calling(f"http://127.0.0.1:{port}") as client,
        pytest.raises(UnreachableError, match=f"127.0.0.1:{port}: Connection refused") as caught,
    ):
        client.create_job("x")

    assert "endpoint" in caught.value.hint


def test_full_backlog():
    """A connect that gets no reply ends at the deadline, and nothing was sent."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)

        began = time.monotonic()
        with (
            calling(f"http://127.0.0.1:{address[1]}") as client,
            pytest.raises(UnreachableError, match="none within"),
        ):
            client.create_job("x")
        waited = time.monotonic() - began

        for each in waiting:
            each.close()
    assert waited < TIMEOUT + 1


def test_unresolvable(monkeypatch):
    """A name that cannot be resolved is no doubt, and the hint names the look-up."""

    def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with (
        calling("https://importexport.invalid") as client,
        pytest.raises(UnreachableError, match="Name or service not known") as caught,
    ):
        client.create_job("x")

    assert "DNS" in caught.value.hint


def test_slow_name_lookup(monkeypatch):
    """A look-up that outlasts the deadline is left behind; its request is never sent after it."""
    heard = []
    looked_up = threading.Event()
    resolve = socket.getaddrinfo

    def look_up(*args, **kwargs):
        looked_up.wait()
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with (
        serving(lambda connection: heard.append(request(connection))) as server,
        calling(server.endpoint) as client,
    ):
        with pytest.raises(UnreachableError, match="none within"):
            client.create_job("x")
        late = [each for each in threading.enumerate() if each.name == "importexport"]
        looked_up.set()
        for thread in late:
            thread.join()

    assert late
    assert not any(heard)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that nobody has signed, and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "self-signed.pem"
    names = "subjectAltName=IP:127.0.0.1,DNS:importexport.invalid"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", names]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    made = ["openssl", "req", "-x509", *kind, *subject, "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run(made, check=True, capture_output=True)
    with path.open("a") as file:
        file.write(path.with_name(f"{path.name}.crt").read_text())
    return path


def secured(certificate):
    """A server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_unverified_certificate(certificate):
    """A certificate that does not verify stops the request before it is sent."""
    with (
        serving(answer_always, secured(certificate)) as server,
        calling(f"https://127.0.0.1:{server.port}", 5) as client,
        pytest.raises(UnreachableError, match="certificate does not verify") as caught,
    ):
        client.create_job("x")

    assert "certificates" in caught.value.hint


@pytest.mark.parametrize(
    "variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "the machine's"]
)
def test_certificate_bundle(certificate, monkeypatch, variable):
    """What the environment or the machine trusts is good, on a kept connection too."""
    if variable == "the machine's":
        monkeypatch.setattr(trust, "DEBIAN", certificate)
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: Mock(cafile=None))
    else:
        monkeypatch.setenv(variable, str(certificate))

    with (
        serving(answer_always, secured(certificate)) as server,
        calling(f"https://127.0.0.1:{server.port}", 5) as client,
    ):
        assert client.get_status("K7M3X").job_id == "K7M3X"
        assert client.get_status("K7M3X").job_id == "K7M3X"

    assert server.connections == 1


def test_a_machine_without_bundles(monkeypatch, tmp_path):
    """Servers are verified all the same, by the authorities that come with requests."""
    monkeypatch.setattr(trust, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: Mock(cafile=None))

    assert trust.authorities("", {}) is True


def test_configured_bundle(certificate, monkeypatch):
    """`ca_bundle` comes before the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")

    with (
        serving(answer_always, secured(certificate)) as server,
        closing(
            Client(f"https://127.0.0.1:{server.port}", KEYS, 5, ca_bundle=str(certificate))
        ) as client,
    ):
        assert client.get_status("K7M3X").job_id == "K7M3X"


def test_missing_bundle(monkeypatch):
    """A bundle that is not there is named; nothing else is trusted in its place."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")

    with (
        serving(answer_always) as server,
        calling(f"https://127.0.0.1:{server.port}", 5) as client,
        pytest.raises(UnreachableError, match=r"/nowhere/ca\.pem"),
    ):
        client.create_job("x")


def test_connection_is_kept():
    """Requests that follow each other share a connection."""
    with serving(answer_always) as server, calling(server.endpoint) as client:
        for _ in range(3):
            client.get_status("K7M3X")

    assert server.connections == 1


def test_dropped_connection():
    """A kept connection that the service has closed meanwhile makes no doubt: a new one is used."""
    closed = threading.Event()

    def answer_once(connection):
        request(connection)
        connection.sendall(http())
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with serving(answer_once) as server, calling(server.endpoint) as client:
        for _ in range(3):
            assert client.get_status("K7M3X").job_id == "K7M3X"
            assert closed.wait(5)
            closed.clear()

    assert server.connections == 3


def test_idle_connection(monkeypatch):
    """A connection idle for so long that it may be closing just now is not used again."""
    monkeypatch.setattr(connections, "_IDLE_SECONDS", 0.0)

    with serving(answer_always) as server, calling(server.endpoint) as client:
        client.get_status("K7M3X")
        client.get_status("K7M3X")

    assert server.connections == 2


def is_connecting():
    """Whether a connection is being opened ahead."""
    return any(thread.name == "connect" for thread in threading.enumerate())


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_connection_is_opened_ahead(is_secure, certificate, monkeypatch):
    """The next request finds a connection open, however long ago the last one was.

    Nothing was sent on it before.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    clock = Mock(return_value=1000.0)
    monkeypatch.setattr(connections, "time", Mock(monotonic=clock))
    came = queue.Queue()

    def answer_once(connection):
        came.put(request(connection))
        connection.sendall(http(SIGNED, "Connection: close"))

    context = secured(certificate) if is_secure else None
    with serving(answer_once, context) as server:
        endpoint = f"https://127.0.0.1:{server.port}" if is_secure else server.endpoint
        with calling(endpoint, 5) as client:
            client.expect_request()  # nothing is known of the service yet
            client.get_status("K7M3X")
            clock.return_value += 3600
            client.expect_request()
            wait_until("it was opened", lambda: not is_connecting() and server.connections == 2)
            assert came.qsize() == 1

            client.get_status("K7M3X")

        assert server.connections == 2
        assert came.qsize() == 2


def test_a_service_that_cannot_be_reached_ahead():
    """It is the request that reports it."""
    with serving(answer_always) as server:
        client = Client(server.endpoint, KEYS, 5)
        client.get_status("K7M3X")

    with closing(client):
        client.expect_request()
        with pytest.raises(UnreachableError):
            client.get_status("K7M3X")


ENDS = {
    "closed": lambda connection: None,
    "cut in the head": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-"),
    "cut in the body": lambda connection: connection.sendall(http(length=9999)),
    "not HTTP": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "endless head": lambda connection: connection.sendall(
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_no_whole_answer(end):
    """A request that was sent and not answered in whole is in doubt."""
    with (
        serving(lambda connection: (request(connection), end(connection))) as server,
        calling(server.endpoint, 5) as client,
        pytest.raises(InDoubtError, match="CreateJob: "),
    ):
        client.create_job("x")

    assert server.connections == 1


def test_answer_without_measure():
    """An answer of more than a mebibyte is not read to its end, however right it looks."""
    long = http(SIGNED + " " * (1 << 20))

    with (
        serving(lambda connection: (request(connection), connection.sendall(long))) as server,
        calling(server.endpoint, 5) as client,
        pytest.raises(InDoubtError, match="longer than 1 MiB"),
    ):
        client.get_status("K7M3X")


def test_no_redirect():
    """A redirect is not followed: who answers elsewhere is not the service."""
    with serving(answer_always) as elsewhere:
        moved = http("", f"Location: {elsewhere.endpoint}/", status="307 Temporary Redirect")
        with (
            serving(lambda connection: (request(connection), connection.sendall(moved))) as server,
            calling(server.endpoint) as client,
            pytest.raises(InDoubtError, match="307"),
        ):
            client.get_status("K7M3X")

    assert elsewhere.connections == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", http()[:40]]))
def test_any_answer(garbage, start):
    """No bytes from the wire raise anything but doubt."""

    def act(connection):
        request(connection)
        connection.sendall(start + garbage)

    with (
        serving(act) as server,
        calling(server.endpoint, 5) as client,
        pytest.raises(InDoubtError),
    ):
        client.create_job("x")


def test_another_jobs_status():
    """A status of another job than the one asked for is no answer."""
    with (
        serving(answer_always) as server,
        calling(server.endpoint) as client,
        pytest.raises(InDoubtError, match="asked for ABC12, the response is about K7M3X"),
    ):
        client.get_status("ABC12")


def test_validation_is_no_job():
    """A validation's JobId never passes for a job that was made."""
    body = """<CreateJobResponse><CreateJobResult><JobId>K7M3X-VALIDATE-ONLY</JobId>
        <SignatureFileContents>x</SignatureFileContents></CreateJobResult></CreateJobResponse>"""

    def act(connection):
        while request(connection):
            connection.sendall(http(body))

    with serving(act) as server, calling(server.endpoint) as client:
        assert client.create_job("x", validate_only=True).job_id == "K7M3X-VALIDATE-ONLY"
        with pytest.raises(InDoubtError, match="validation"):
            client.create_job("x")


def test_pages_that_lead_nowhere():
    """A list that says "more" and does not move on ends in doubt, not in a circle."""
    job = "<member><JobId>K7M3X</JobId><CreationDate>2011-06-20T22:30:59Z</CreationDate></member>"
    body = f"""<ListJobsResponse><ListJobsResult><Jobs>{job}</Jobs>
        <IsTruncated>true</IsTruncated></ListJobsResult></ListJobsResponse>"""

    def act(connection):
        while request(connection):
            connection.sendall(http(body))

    with serving(act) as server, calling(server.endpoint) as client:
        jobs = client.list_jobs()
        assert next(jobs).job_id == "K7M3X"
        assert next(jobs).job_id == "K7M3X"
        with pytest.raises(InDoubtError):
            next(jobs)


@pytest.fixture
def without_proxies(monkeypatch):
    """An environment that names no proxy."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("without_proxies")
def test_proxy(monkeypatch):
    """The environment's proxy is used, but never on the way to a loopback address."""
    seen = []

    def act(connection):
        seen.append(request(connection))
        connection.sendall(http())

    with serving(act) as proxy, serving(answer_always) as service:
        monkeypatch.setenv("http_proxy", proxy.endpoint)
        with calling(service.endpoint) as client:
            client.get_status("K7M3X")
        with calling("http://importexport.invalid/") as client:
            client.get_status("K7M3X")

    assert (service.connections, proxy.connections) == (1, 1)
    assert seen[0].startswith(b"POST http://importexport.invalid/ HTTP/1.1\r\n")


@pytest.mark.usefixtures("without_proxies")
def test_proxy_that_refuses(monkeypatch):
    """A proxy that opens no way to the service leaves no doubt: it never saw the request."""
    denied = http("", status="403 Forbidden")

    with serving(lambda connection: (request(connection), connection.sendall(denied))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.endpoint.replace("//", "//user:hunter2@"))
        with (
            calling("https://importexport.invalid/") as client,
            pytest.raises(UnreachableError) as caught,
        ):
            client.create_job("x")

    where = proxy.endpoint.removeprefix("http://")
    assert f"cannot reach importexport.invalid through the proxy {where}" in str(caught.value)
    assert "403" in str(caught.value)
    assert f"Check the proxy {where}" in caught.value.hint
    assert "hunter2" not in str(caught.value) + caught.value.hint


@pytest.mark.usefixtures("without_proxies")
def test_proxy_that_drips(monkeypatch):
    """The deadline ends the thread that still opens the way to the service, too."""
    with serving(lambda connection: drip(connection, b"", b"H")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.endpoint)
        with calling("https://importexport.invalid/") as client, pytest.raises(UnreachableError):
            client.get_status("K7M3X")

        assert ends_soon()


@pytest.mark.usefixtures("without_proxies")
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "http://user:pw@127.0.0.1:9"])
def test_proxy_that_is_not_there(monkeypatch, proxy):
    """It is the proxy that cannot be reached, and it is named."""
    monkeypatch.setenv("https_proxy", proxy)

    with (
        calling("https://importexport.invalid/", 5) as client,
        pytest.raises(UnreachableError) as caught,
    ):
        client.get_status("K7M3X")

    where = "127.0.0.1:9"
    assert f"through the proxy {where}: " in str(caught.value)
    assert f"Check the proxy {where}" in caught.value.hint


@pytest.mark.usefixtures("without_proxies")
def test_tunnel(certificate, monkeypatch):
    """Through a proxy's tunnel it is the request itself that counts as sent, not the CONNECT."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = secured(certificate)

    def act(connection):
        assert request(connection).startswith(b"CONNECT importexport.invalid:443 ")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as inner:
            assert request(inner)
            inner.sendall(http())
            assert request(inner)

    with serving(act) as proxy:
        monkeypatch.setenv("https_proxy", proxy.endpoint)
        with calling("https://importexport.invalid/", 5) as client:
            assert client.get_status("K7M3X").job_id == "K7M3X"
            with pytest.raises(InDoubtError):
                client.create_job("x")

    assert proxy.connections == 1


def test_netrc_is_not_read(monkeypatch, tmp_path):
    """Passwords of a .netrc never leave this machine."""
    seen = []
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    def act(connection):
        seen.append(request(connection))
        connection.sendall(http())

    with serving(act) as server, calling(server.endpoint) as client:
        client.get_status("K7M3X")

    assert b"Authorization" not in seen[0]
