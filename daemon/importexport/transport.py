"""One request to the service: one POST, one whole response, one deadline for both.

Loaded with the first request only, because `requests` is heavy and an idle daemon stays small.
Nothing is sent twice: there are no retries, redirects, cookies or .netrc.

How the deadline is kept: each request runs in a thread of its own, and the caller waits for it. At
the deadline the caller shuts the connection down and returns. The thread, wherever it hangs (name
look-up, connect, TLS handshake, a slow header or body), ends by itself and can no longer send,
because nothing passes a line that was cut. So the caller knows for certain whether a single byte
of the request may have left this machine.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, ProtocolError

from daemon.errors import InDoubtError, ServiceError, UnreachableError
from daemon.importexport.connections import Adapter, Line, current_line
from daemon.importexport.endpoint import host_header, is_loopback
from daemon.importexport.response import Answer
from daemon.importexport.trust import authorities
from daemon.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3.response import HTTPResponse

    from daemon.importexport.authentication import SignatureVersion2

ANSWER_LIMIT = 1 << 20  # bytes; a full page of ListJobs is a tenth of it
_POOL = 64  # connections kept; more workers than this still work, on new connections
_HEADERS = {
    "User-Agent": "driveprep",
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # so that the limit counts what is really sent
    "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
}
_EARLIEST, _LATEST = 1.2e9, 7.2e9  # seconds since the epoch: the years from 2008 to 2198
_NOT_ANSWERED = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class Transport:
    """Connections to one endpoint, kept open between requests. Safe to use from many threads.

    TLS certificates are always verified, see `trust`. Proxies of the environment are used, but
    never for a loopback address.
    """

    def __init__(self, endpoint: str, timeout: float, ca_bundle: str = "") -> None:
        url = urlsplit(endpoint)
        self._url = endpoint
        self._host = host_header(url.scheme, url.hostname or "", url.port)
        self._timeout = timeout  # seconds, for a request and its answer together
        self._adapter = Adapter(pool_maxsize=_POOL)
        with requests.Session() as session:
            settings = session.merge_environment_settings(endpoint, {}, True, None, None)
        self._verify = authorities(ca_bundle, os.environ)
        self._proxies = {} if is_loopback(url.hostname or "") else settings["proxies"]
        self._proxy = _without_password(select_proxy(endpoint, self._proxies))

    def post(self, parameters: Mapping[str, str], auth: SignatureVersion2) -> Answer:
        """Send one signed request and return the whole response, whatever it says.

        Raises UnreachableError if nothing of the request was sent, InDoubtError if something was
        sent and no whole response arrived before the deadline.
        """
        operation = parameters["Action"]
        request = requests.Request("POST", self._url, _HEADERS, data=parameters, auth=auth)
        prepared = request.prepare()
        exchange = _Exchange(lambda: self._exchange(operation, prepared))
        try:
            exchange.start()
            exchange.join(self._timeout)
            is_late = exchange.is_alive()
        finally:  # on an interrupt too: the response is not waited for any more
            exchange.line.cut()
        # What a late thread still returns is only the effect of our own cut.
        if is_late:
            raise self._failure(operation, exchange.line, None)
        if exchange.answer is not None:
            return exchange.answer
        error = exchange.error
        if error is not None and not isinstance(error, _NOT_ANSWERED):
            raise error
        raise self._failure(operation, exchange.line, error) from error

    def open_ahead(self) -> None:
        """Have a connection open when the next request is sent, without waiting for it.

        Where that fails, or a proxy is used, the request opens its own.
        """
        self._adapter.open_ahead()

    def close(self) -> None:
        """Close the connections kept open. Idempotent."""
        self._adapter.close()

    def _exchange(self, operation: str, request: requests.PreparedRequest) -> Answer:
        response = self._adapter.send(
            request,
            stream=True,
            timeout=self._timeout,
            verify=self._verify,
            proxies=self._proxies,
        )
        with closing(response):
            body = _body(response.raw)
        headers = response.headers
        return Answer(
            operation,
            response.status_code,
            headers.get("Content-Type", ""),
            _date(headers.get("Date", "")),
            body,
        )

    def _failure(self, operation: str, line: Line, error: Exception | None) -> ServiceError:
        cause = _root_cause(error)
        way = f" through the proxy {self._proxy}" if self._proxy else ""
        where = f"{self._host}{way}: {self._explained(cause)}"
        if line.sent:
            return InDoubtError(
                f"{operation}: no complete response from {where}",
                "The service may or may not have acted: its list of jobs is checked before the"
                " request is repeated.",
                code="in-doubt-no-response",
            )
        return UnreachableError(
            f"{operation}: cannot reach {where}",
            _hint(cause, self._proxy),
            code="unreachable",
        )

    def _explained(self, cause: BaseException | None) -> str:
        match cause:
            case None | TimeoutError():
                return f"none within {self._timeout:g} s"
            case ssl.SSLCertVerificationError():
                return f"its certificate does not verify: {cause.verify_message}"
            case OSError(strerror=str(text)) if text:
                return text
            case IncompleteRead() | ProtocolError() | RemoteDisconnected():
                return "the response was cut off"
            case HTTPException() | HTTPError() if not isinstance(cause, _EndlessError):
                # Its text can come from the service and quote our request.
                return f"the response is not HTTP that can be read ({type(cause).__name__})"
            case _:
                return str(cause)


def _without_password(proxy: str | None) -> str:
    return printable(proxy.rpartition("@")[2].rpartition("/")[2] if proxy else "")


def _hint(cause: BaseException | None, proxy: str) -> str:
    match cause:
        case ssl.SSLCertVerificationError():
            return (
                "Check endpoint in config.yml and the clock. If your organisation has a certificate"
                " authority of its own, add it to the machine's (update-ca-certificates), or name"
                " its file as ca_bundle in config.yml."
            )
        case _ if proxy:
            return (
                f"Check the proxy {proxy}: the service has it from its environment (https_proxy,"
                " no_proxy), see `systemctl show driveprep --property Environment`."
            )
        case socket.gaierror():
            return "Check endpoint in config.yml and name resolution (DNS) on this machine."
        case ConnectionRefusedError():
            return "Start the service (driveprep emulator?) or correct endpoint in config.yml."
        case _:
            return "Check the network, the firewall and the proxy of this machine."


class _Exchange(threading.Thread):
    """One request under way, in a thread of its own."""

    def __init__(self, send: Callable[[], Answer]) -> None:
        super().__init__(name="importexport", daemon=True)
        self.line = Line()
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self._send = send

    def run(self) -> None:
        current_line.set(self.line)
        try:
            self.answer = self._send()
        except Exception as error:  # noqa: BLE001 - handed over to the thread that waits
            self.error = error
        finally:
            self.line.release()


class _EndlessError(HTTPError):
    """The response is longer than any usable one."""


def _body(raw: HTTPResponse) -> bytes:
    """Return the whole body. Raises _EndlessError if it is too long."""
    body = bytearray()
    while chunk := raw.read(1 << 16, decode_content=False):
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise _EndlessError(f"it is longer than {ANSWER_LIMIT >> 20} MiB")
    return bytes(body)


def _date(header: str) -> float | None:
    """Return seconds since the epoch; None for a date that cannot be right."""
    try:
        moment = parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
    return moment if _EARLIEST <= moment < _LATEST else None


def _root_cause(error: BaseException | None) -> BaseException | None:
    """Return the innermost error of the operating system or of HTTP, or the outermost one."""
    found, inner = error, error
    while inner is not None:
        is_cause = isinstance(inner, OSError | HTTPException | HTTPError)
        if is_cause and not isinstance(inner, requests.RequestException):
            found = inner
        inner = inner.__cause__ or inner.__context__
    return found
