"""Signature Version 2: a request's parameters, sealed with the account's secret key.

The client signs with it, the emulator verifies with it. No network and no clock lives here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:  # an idle daemon stays small: requests is loaded with the first request
    from requests import PreparedRequest

    from daemon.importexport.credentials import Credentials

DIGESTS = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}  # SignatureMethod -> hashlib's name
_DEFAULT_PORTS = {"http": 80, "https": 443}


class SignatureVersion2:
    """A `requests` auth that adds the six signing parameters to a form body and signs it.

    Every parameter, of the URL and of the body, is under the signature. `now` is asked at each
    signing, so that a request signed anew is fresh. Safe to apply twice: the seal is replaced.
    """

    def __init__(self, credentials: Credentials, now: Callable[[], float]) -> None:
        self._credentials = credentials
        self._now = now

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Replace the request's body by its signed form; `requests` then sets its length."""
        url = urlsplit(request.url or "")
        seal = self._seal()
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        form = [pair for pair in _pairs(body) if pair[0] not in seal] + list(seal.items())
        signature = sign(
            self._credentials.secret_access_key,
            request.method or "POST",
            host_header(url.scheme, url.hostname or "", url.port),
            url.path,
            [*_pairs(url.query), *form],
        )
        request.body = encode([*form, ("Signature", signature)])
        return request

    def _seal(self) -> dict[str, str]:
        seal = {
            "AWSAccessKeyId": self._credentials.access_key_id,
            "SignatureVersion": "2",
            "SignatureMethod": "HmacSHA256",
            "Timestamp": datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if self._credentials.session_token:
            seal["SecurityToken"] = self._credentials.session_token
        return seal


def sign(
    secret_access_key: str,
    method: str,
    host: str,
    path: str,
    parameters: Iterable[tuple[str, str]],
    *,
    signature_method: str = "HmacSHA256",
) -> str:
    """The base64 signature over decoded parameters; a `Signature` among them does not count."""
    import hmac  # noqa: PLC0415 - an idle daemon stays small: it brings OpenSSL, 4 MiB

    text = string_to_sign(method, host, path, parameters)
    digest = hmac.digest(secret_access_key.encode(), text.encode(), DIGESTS[signature_method])
    return base64.b64encode(digest).decode()


def string_to_sign(method: str, host: str, path: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Verb, host, path and canonical query, one a line, no line break at the end."""
    # Code points sort as their UTF-8 bytes do, which is the order the guide asks for.
    counted = sorted((name, value) for name, value in parameters if name != "Signature")
    return "\n".join((method.upper(), host.lower(), path or "/", encode(counted)))


def encode(parameters: Iterable[tuple[str, str]]) -> str:
    """Percent-encoded as RFC 3986 asks: a blank is %20, only letters, digits and -_.~ stay."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)


def host_header(scheme: str, hostname: str, port: int | None) -> str:
    """The Host header as HTTP clients send it: lower case, a port only where it is no default."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    is_default = port is None or port == _DEFAULT_PORTS.get(scheme)
    return (host if is_default else f"{host}:{port}").lower()


def _pairs(form: str) -> list[tuple[str, str]]:
    """Decoded parameters in their order; earlier signatures are left behind."""
    pairs = parse_qsl(form, keep_blank_values=True, errors="strict")
    return [(name, value) for name, value in pairs if name != "Signature"]
