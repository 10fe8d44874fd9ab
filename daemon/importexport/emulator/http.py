"""The emulated service's HTTP side, and the faults that it commits on request."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import socketserver
import struct
import sys
import threading
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from daemon.importexport.emulator import chunked
from daemon.importexport.emulator.authentication import Call
from daemon.importexport.emulator.control import PREFIX, control
from daemon.importexport.emulator.operations import Reply
from daemon.importexport.emulator.xml import Refusal, error
from daemon.importexport.error_codes import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.importexport.emulator.faults import Faults, ServiceFault
    from daemon.importexport.emulator.operations import Service

_logger = logging.getLogger(__name__)

_BODY_LIMIT = 4 << 20  # bytes
_DRIP_SECONDS = 0.05
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORTAL = b"<html><body>Please log in to the network.</body></html>"
_BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>
<CreateJobResponse><CreateJobResult><JobId>&d;</JobId></CreateJobResult></CreateJobResponse>"""
_FAILURE = error(Refusal("InternalFailure", "The emulator was asked to fail.", 500))
# Kind of fault -> status, body, content type, further headers.
_CANNED: dict[str, tuple[int, bytes, *tuple[str, ...]]] = {
    "500-before": (500, _FAILURE, "text/xml"),
    "500-after": (500, _FAILURE, "text/xml"),
    "503": (503, b"Try again later.", "text/plain"),
    "html": (200, _PORTAL, "text/html"),
    "redirect": (302, _PORTAL, "text/html", "Location: http://127.0.0.1:9/login"),
    "entity-bomb": (200, _BOMB, "text/xml"),
}


class Server(ThreadingHTTPServer):
    """A thread for each connection; all of them end with `close`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        service: Service,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.service = service
        self.faults = faults
        self.clock = clock
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, RequestHandler)

    def server_bind(self) -> None:
        """Bind, and look up no names: the standard server would ask DNS for its own."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as below
        """Start a connection's thread."""
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - a socket; datagrams differ
        """End a connection: politely, unless it was to be reset."""
        if not _is_to_be_reset(request):
            with suppress(OSError):
                request.shutdown(socket.SHUT_WR)
        request.close()
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, *_: object) -> None:
        """Log what is a bug; a client that went away is none."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            _logger.error("emulator: bug while answering", exc_info=error)

    def shutdown(self) -> None:
        """Stop the loop that accepts, at once: a listener shut down wakes it from its sleep."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        super().shutdown()

    def close(self) -> None:
        """End every connection and wait for their threads. Idempotent."""
        self.closing.set()
        with self._changed:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, timeout=10)
        self.server_close()


class RequestHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    raw_requestline: bytes
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "driveprep-emulator", ""
    disable_nagle_algorithm = True  # else a keep-alive connection stalls for 40 ms an answer

    def parse_request(self) -> bool:
        """Read a request's head, unless the fault is to refuse it unread."""
        is_control = f" {PREFIX}".encode() in self.raw_requestline
        if not is_control and self.server.faults.take("*", is_read=False):
            self._reset()
            _logger.info("emulator: request refused unread")
            return False
        return super().parse_request()

    def do_POST(self) -> None:
        """Answer a request."""
        body = self._body()
        if isinstance(body, HTTPStatus):
            self.close_connection = True
            self._send(body, b"", "text/plain")
        elif self.path.startswith(PREFIX):
            self._send(*self._control(body), "application/json")
        else:
            self._serve(body)

    do_GET = do_DELETE = do_POST  # noqa: N815 - the names that the library looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Log what the standard library has to say, such as a request line that is none."""
        _logger.debug(format, *args)

    def _control(self, body: bytes) -> tuple[int, bytes]:
        is_local = ipaddress.ip_address(self.client_address[0]).is_loopback
        if not is_local or "Origin" in self.headers:  # of a web page in a local browser
            return 403, b'{"error": "control is for programs on this machine"}'
        return control(self.server.service, self.server.faults, self.command, self.path, body)

    def _serve(self, body: bytes) -> None:
        try:
            call = self._call(body)
        except Refusal as refusal:
            self._answer("-", refusal)
            return
        fault = self.server.faults.take(call.operation, is_read=True)
        is_done = fault is None or fault.is_done
        outcome = self._outcome(call) if is_done else Reply(b"")
        if fault is None or fault.kind == "delay":
            if fault is not None:
                self.server.closing.wait(fault.seconds)
            self._answer(one_line(call.operation), outcome)
        else:
            done = "done" if is_done else "not done"
            _logger.info("emulator: %s %s, fault %s", one_line(call.operation), done, fault.kind)
            self._commit(fault, outcome)

    def _outcome(self, call: Call) -> Reply | Refusal:
        try:
            return self.server.service.perform(call)
        except Refusal as refusal:
            return refusal

    def _answer(self, operation: str, outcome: Reply | Refusal) -> None:
        if isinstance(outcome, Reply):
            _logger.info("emulator: %s done, JobId %s", operation, outcome.job_id or "-")
        else:
            _logger.info("emulator: %s refused, %s", operation, outcome.code)
        self._send(*_said(outcome))

    def _commit(self, fault: ServiceFault, outcome: Reply | Refusal) -> None:
        match fault.kind:
            case "cut-before" | "cut-after":
                self._reset()
            case "truncate":
                self.close_connection = True
                status, body = _said(outcome)
                self.wfile.write(self._head(status, len(body)) + body[: len(body) // 2])
            case "error":
                self._send(fault.status, error(Refusal(fault.code, fault.message, fault.status)))
            case "hang" | "hang-after":
                self.connection.recv(1)  # returns when the client goes away
                self.close_connection = True
            case "drip":
                self._drip(fault.seconds or _DRIP_SECONDS)
            case kind:
                self._send(*_CANNED[kind])

    def _drip(self, seconds: float) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not self.server.closing.wait(seconds):
            self.wfile.write(b"x")  # raises when the client goes away

    def _call(self, body: bytes) -> Call:
        path, _, question = self.path.partition("?")
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_form = kind in {"", "application/x-www-form-urlencoded"}
        query = _parameters(question.encode())
        form = _parameters(body) if is_form else {}
        if twice := query.keys() & form.keys():
            raise Refusal("MalformedQueryString", f"{min(twice)} comes twice", 404)
        host = self.headers.get("Host", "")
        authorization = self.headers.get("Authorization", "")
        return Call(self.command, host, path, query, form, authorization)

    def _body(self) -> bytes | HTTPStatus:
        """The request's body, or the status that refuses it."""
        length, coding = self.headers.get("Content-Length"), self.headers.get("Transfer-Encoding")
        try:
            if coding is None:
                body = self._counted(length or "0")
            elif coding.strip().lower() == "chunked" and length is None:
                body = chunked.read(self.rfile, _BODY_LIMIT)
            else:
                return HTTPStatus.NOT_IMPLEMENTED
        except ValueError:
            return HTTPStatus.BAD_REQUEST
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if body is None else body

    def _counted(self, length: str) -> bytes | None:
        is_short = re.fullmatch("[0-9]{1,7}", length) is not None and int(length) <= _BODY_LIMIT
        return self.rfile.read(int(length)) if is_short else None

    def _send(
        self, status: int, body: bytes, content_type: str = "text/xml", *headers: str
    ) -> None:
        """Send head and body at once: in two parts the second waits for the client's ACK."""
        self.wfile.write(self._head(status, len(body), content_type, *headers) + body)

    def _head(
        self, status: int, length: int, content_type: str = "text/xml", *headers: str
    ) -> bytes:
        lines = (
            f"HTTP/1.1 {int(status)} {responses.get(status, 'Told')}",
            f"Date: {formatdate(self.server.clock(), usegmt=True)}",
            f"Server: {self.server_version}",
            f"Content-Type: {content_type}",
            f"Content-Length: {length}",
            *(["Connection: close"] if self.close_connection else []),
            *headers,
        )
        return "\r\n".join([*lines, "", ""]).encode()

    def _reset(self) -> None:
        """Have the connection end with a reset, as from a service that died."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def _is_to_be_reset(connection: socket.socket) -> bool:
    lingers: tuple[int, int] = struct.unpack(
        "ii", connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    )
    return bool(lingers[0])


def _said(outcome: Reply | Refusal) -> tuple[int, bytes]:
    if isinstance(outcome, Refusal):
        return outcome.status, error(outcome)
    return 200, outcome.body


def _parameters(form: bytes) -> dict[str, str]:
    try:
        text = form.decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refusal("MalformedQueryString", "A parameter is not UTF-8", 404) from None
    if _BAD_ESCAPE.search(text):
        raise Refusal("MalformedQueryString", "A percent sign does not escape a byte", 404)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise Refusal("MalformedQueryString", "A parameter comes twice", 404)
    return parameters
