"""What a usable endpoint of the service is, and how it is named in a request."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def fault(endpoint: str) -> tuple[str, str] | None:
    """Return what is wrong with an endpoint's URL and what to write instead, or None."""
    try:
        url = urlsplit(endpoint)
        is_whole = bool(url.hostname) and url.scheme in {"http", "https"} and url.port != 0
    except ValueError:  # of a bad port or a bad IPv6 address
        is_whole = False
    if not is_whole or not endpoint.isascii() or " " in endpoint:
        return "is not the URL of a service", "write it like https://importexport.amazonaws.com"
    if "@" in url.netloc:  # it may be a password: never shown
        return "contains a name or a password", "write them below `credentials:`"
    if url.query or url.fragment:
        return "continues after the path", "delete everything from ? or # on"
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        return (
            "would send signed requests over the network unencrypted",
            "write https://; http:// is allowed for loopback addresses only",
        )
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is certain to be this machine.

    Names such as `x.localhost` are not: RFC 6761 asks resolvers to answer them with a loopback
    address, but not every resolver does.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_trial(endpoint: str) -> bool:
    """Return whether a usable endpoint is on this machine, such as `driveprep emulator`."""
    return is_loopback(urlsplit(endpoint).hostname or "")


def host_header(scheme: str, hostname: str, port: int | None) -> str:
    """Return the Host header as HTTP clients send it: lower case, without a default port."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    is_default = port is None or port == _DEFAULT_PORTS.get(scheme)
    return (host if is_default else f"{host}:{port}").lower()
