"""What a network can answer: in the end the right obstacle, or one job and its SIGNATURE."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs

import daemon_process
import pytest
from as_operator import manifest_for, new_device_id
from importexport_wire import http, request, serving
from test_hostile_files import PEAK_MIB, peak_mib

start = daemon_process.start
service = daemon_process.service

SIGNATURE = "version:2.0\nsigningMethod:HmacSHA1\njobId:{}\nsignature:abc="
MIB = 1 << 20


def created(job_id: str = "K7M3X", text: str | None = None) -> str:
    """The answer to CreateJob."""
    text = SIGNATURE.format(job_id) if text is None else text
    return (
        f"<CreateJobResponse><CreateJobResult><JobId>{job_id}</JobId>"
        f"<SignatureFileContents>{text}</SignatureFileContents>"
        "</CreateJobResult></CreateJobResponse>"
    )


def until_closed(connection: socket.socket, part: bytes, pause: float = 0.0) -> None:
    """Send it again and again, as long as anybody listens."""
    while True:
        connection.sendall(part)
        time.sleep(pause)


Act = Callable[[socket.socket], object]


def says(body: str | bytes, *headers: str, status: str = "200 OK") -> Act:
    """A server that says just this."""
    data = body if isinstance(body, bytes) else http(body, *headers, status=status)
    return lambda connection: connection.sendall(data)


def endless(start: bytes, part: bytes, pause: float = 0.0) -> Act:
    """A server that never comes to an end."""

    def act(connection: socket.socket) -> None:
        connection.sendall(start)
        until_closed(connection, part, pause)

    return act


NO_JOBS = (
    "<ListJobsResponse><ListJobsResult><Jobs/><IsTruncated>false</IsTruncated></ListJobsResult>"
    "</ListJobsResponse>"
)
OK = b"HTTP/1.1 200 OK\r\n"
ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30))
DATE = formatdate(253402300799, usegmt=True)  # the last second of the year 9999

ANSWERS: dict[str, tuple[Act, str]] = {  # what is answered, and a word of the obstacle
    "a JobId with slashes": (says(created("../../etc/cron.d/x")), "characters other than letters"),
    "a JobId of dots": (says(created("..")), "characters other than letters"),
    "a JobId of 10 kB": (says(created("A" * 10_240)), "characters other than letters"),
    "a JobId with a line break": (says(created("K7\nM3X")), "characters other than letters"),
    "no JobId": (says(created("")), "has no JobId"),
    "another job's SIGNATURE": (
        says(created("K7M3X", SIGNATURE.format("OTHER"))),
        "is not that of job K7M3X",
    ),
    "a SIGNATURE of two jobs": (
        says(created("K7M3X", "jobId:OTHER\n" + SIGNATURE.format("K7M3X"))),
        "is not that of job K7M3X",
    ),
    "a SIGNATURE without signature": (
        says(created("K7M3X", "version:2.0\nsigningMethod:HmacSHA1\njobId:K7M3X\nsignature:")),
        "is not that of job K7M3X",
    ),
    "a SIGNATURE of 100 kB": (
        says(created("K7M3X", SIGNATURE.format("K7M3X") + "\nx:" + "y" * 100_000)),
        "is not that of job K7M3X",
    ),
    "a validation": (says(created("K7M3X-VALIDATE-ONLY")), "is the validation"),
    "entities": (says(f"<!DOCTYPE a [<!ENTITY a0 'lol'>{ENTITIES}]><a>&a29;</a>"), "not XML"),
    "a document type": (
        says(f'<!DOCTYPE a SYSTEM "file:///etc/passwd">{created()}'),
        "not XML",
    ),
    "an external entity": (
        says('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'),
        "not XML",
    ),
    "a MiB of elements": (says("<a>" + "<a/>" * (MIB // 4 - 10) + "</a>"), "not XML"),
    "a MiB deep": (says("<a>" * (MIB // 3 - 10)), "not XML"),
    "a MiB of attributes": (
        says("<a " + " ".join(f'b{n}=""' for n in range(MIB // 12)) + "/>"),
        "not XML",
    ),
    "an endless body": (endless(OK + b"\r\n", b"<a/>" * 10_000), "longer than 1 MiB"),
    "endless chunks": (
        endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        "longer than 1 MiB",
    ),
    "a body compressed a thousandfold": (says("\x1f\x8b", "Content-Encoding: gzip"), "not XML"),
    "endless headers": (endless(OK, b"X-A: b\r\n" * 1000), "not HTTP that can be read"),
    "an endless header": (endless(OK + b"X-A: ", b"b" * 65536), "not HTTP that can be read"),
    "endless hints": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "none within"),
    "a slow drip": (endless(OK + b"Content-Length: 9999\r\n\r\n", b"<", 0.05), "none within"),
    "a slow header": (endless(b"", b"H", 0.05), "none within"),
    "silence": (lambda connection: connection.recv(1), "none within"),
    "a page to log in": (says("<html>", "Content-Type: text/html"), "not XML"),
    "a redirect": (
        says(created(), "Location: https://192.0.2.1/", status="307 Temporary Redirect"),
        "no usable response",
    ),
    "no HTTP at all": (says(b"\x16\x03\x01" * 100 + b"\r\n\r\n"), "not HTTP that can be read"),
    "a clock at the end of time": (
        says(
            "<ErrorResponse><Error><Code>RequestExpired</Code></Error></ErrorResponse>",
            f"Date: {DATE}",
            status="400 Bad Request",
        ),
        "RequestExpired",
    ),
    "a code of a megabyte": (
        says(
            f"<ErrorResponse><Error><Code>{'A' * 900_000}</Code></Error></ErrorResponse>",
            status="400 Bad Request",
        ),
        "CreateJob refused: AAAA",
    ),
}


def by_device(acts: dict[str, Act]) -> Act:
    """A server that answers CreateJob by deviceId, and "no jobs" to all else."""

    def answer(connection: socket.socket) -> None:
        form = parse_qs(request(connection).partition(b"\r\n\r\n")[2].decode())
        (manifest,) = form.get("Manifest", [""])
        named = [act for device_id, act in acts.items() if device_id in manifest]
        (named[0] if named else says(NO_JOBS))(connection)

    return answer


def told(daemon: daemon_process.DaemonProcess, device_id: str, word: str) -> str:
    """Wait until the log tells it of that deviceId; the line."""

    def line() -> str:
        lines = daemon.log.splitlines()
        return next((line for line in lines if device_id in line and word in line), "")

    return daemon.until(f"{device_id}: {word}", line)


def test_every_hostile_answer_ends_in_its_obstacle_and_nothing_on_the_drive(plug, start) -> None:
    """All of them at once, to one daemon: bounded and told; the good answer beside is used."""
    drives = {name: plug(new_device_id()).mount() for name in [*ANSWERS, "good"]}
    acts = {drives[name].label: act for name, (act, _) in ANSWERS.items()}
    good = drives.pop("good")
    with serving(by_device(acts | {good.label: says(created("GOOD1"))})) as server:
        daemon = start(server.endpoint, timeout=2, validate_on_drop=False, requests=len(ANSWERS))
        for drive in [*drives.values(), good]:
            daemon.drop(drive.label)

        for name, (_, word) in ANSWERS.items():
            line = told(daemon, drives[name].label, word)
            assert len(line) < 1500, name
            assert line.isprintable(), name
        daemon.until("the good one is filed", lambda: daemon.papers(good.label))

        assert peak_mib(daemon.pid) < PEAK_MIB
        assert not [drive.label for drive in drives.values() if os.listdir(drive.mount_point)]
        assert (good.mount_point / "SIGNATURE").read_text() == SIGNATURE.format("GOOD1") + "\n"
        assert os.listdir(daemon.spool / "prepared") == [f"GOOD1-{good.label}"]
        assert daemon.stop() == 0


def echo(connection: socket.socket) -> None:
    """Send the request's body back as if it were an answer."""
    connection.sendall(request(connection).partition(b"\r\n\r\n")[2] + b"\r\n")


def test_a_server_that_quotes_the_request_shows_no_secret(plug, start) -> None:
    """What comes back may be what we sent: its text is told nowhere."""
    drive = plug(new_device_id()).mount()
    data = b"trueCryptPassword: hunter2\n" + manifest_for(drive.label)
    with serving(echo) as server:
        daemon = start(server.endpoint, timeout=1)
        daemon.drop(drive.label, data)
        told(daemon, drive.label, "not HTTP that can be read")

        shown = daemon.log + daemon.command("status", "--json").stdout
        assert "hunter2" not in shown
        assert daemon.stop() == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has vouched for, with its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    place = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(place), "-out", "-"]
    done = subprocess.run([*command.split(), *more], capture_output=True, check=True)
    place.write_bytes(place.read_bytes() + done.stdout)
    return place


def test_a_certificate_that_nobody_vouched_for_is_told_nothing(plug, start, certificate) -> None:
    """Not one byte of a request goes to such a server; the obstacle names the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    heard: list[bytes] = []
    drive = plug(new_device_id()).mount()
    with serving(lambda connection: heard.append(connection.recv(1)), context) as server:
        daemon = start(server.endpoint.replace("http:", "https:"), timeout=2)
        daemon.drop(drive.label)
        daemon.obstacle(drive.label, "its certificate does not verify")
        assert daemon.stop() == 0

    assert not [data for data in heard if data]
    assert not drive.mount_point.joinpath("SIGNATURE").exists()
