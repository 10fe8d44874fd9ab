"""Signature Version 2: a request's parameters, signed with the account's secret key.

The client signs with it, the emulator verifies with it. No network and no clock is used here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from daemon.importexport.endpoint import host_header
from daemon.system.printable import timestamp

if TYPE_CHECKING:  # an idle daemon stays small: requests is loaded with the first request
    from requests import PreparedRequest

    from daemon.importexport.credentials import Credentials

DIGESTS = {"HmacSHA256": "sha256", "HmacSHA1": "sha1"}  # SignatureMethod -> hashlib's name


class SignatureVersion2:
    """A `requests` auth that adds the six signing parameters to a form body and signs it.

    The signature covers every parameter of the URL and of the body. `now` is called for each
    signature, so that a request that is signed again is fresh. Safe to apply twice: the old
    signing parameters are replaced.
    """

    def __init__(self, credentials: Credentials, now: Callable[[], float]) -> None:
        self._credentials = credentials
        self._now = now

    def at(self, moment: float) -> SignatureVersion2:
        """Return the same for requests that were signed at one moment: its Timestamp is fixed."""
        return SignatureVersion2(self._credentials, lambda: moment)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Replace the request's body by its signed form; `requests` then sets its length."""
        url = urlsplit(request.url or "")
        signing = self._signing_parameters()
        body = request.body.decode() if isinstance(request.body, bytes) else request.body or ""
        form = [pair for pair in _pairs(body) if pair[0] not in signing] + list(signing.items())
        signature = sign(
            self._credentials.secret_access_key,
            request.method or "POST",
            host_header(url.scheme, url.hostname or "", url.port),
            url.path,
            [*_pairs(url.query), *form],
        )
        request.body = encode([*form, ("Signature", signature)])
        return request

    def _signing_parameters(self) -> dict[str, str]:
        signing = {
            "AWSAccessKeyId": self._credentials.access_key_id,
            "SignatureVersion": "2",
            "SignatureMethod": "HmacSHA256",
            "Timestamp": timestamp(self._now()),
        }
        if self._credentials.session_token:
            signing["SecurityToken"] = self._credentials.session_token
        return signing


def sign(
    secret_access_key: str,
    method: str,
    host: str,
    path: str,
    parameters: Iterable[tuple[str, str]],
    *,
    signature_method: str = "HmacSHA256",
) -> str:
    """Return the base64 signature of decoded parameters, without `Signature` itself."""
    import hmac  # noqa: PLC0415 - an idle daemon stays small: it brings OpenSSL, 4 MiB

    text = string_to_sign(method, host, path, parameters)
    digest = hmac.digest(secret_access_key.encode(), text.encode(), DIGESTS[signature_method])
    return base64.b64encode(digest).decode()


def string_to_sign(method: str, host: str, path: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return verb, host, path and canonical query, one on each line, without a final break."""
    # Code points sort like their UTF-8 bytes, which is the order that the guide requires.
    counted = sorted((name, value) for name, value in parameters if name != "Signature")
    return "\n".join((method.upper(), host.lower(), path or "/", encode(counted)))


def encode(parameters: Iterable[tuple[str, str]]) -> str:
    """Return percent-encoded parameters, RFC 3986: a space is %20; letters, digits, -_.~ stay."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)


def _pairs(form: str) -> list[tuple[str, str]]:
    """Return the decoded parameters in their order, without earlier signatures."""
    pairs = parse_qsl(form, keep_blank_values=True, errors="strict")
    return [(name, value) for name, value in pairs if name != "Signature"]
