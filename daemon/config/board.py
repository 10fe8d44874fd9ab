"""`board:` of config.yml: where the page for the bench is served, and for whom."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from daemon.documents.fields import Fields
from daemon.documents.redaction import shown
from daemon.importexport.endpoint import is_loopback

KEYS = ("listen", "hosts", "tls_certificate", "tls_key", "read_only")
ADDRESS, PORT = "127.0.0.1", 8480
MAX_HOSTS = 16
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")


@dataclass(frozen=True, slots=True)
class Board:
    """The settings of the board, checked."""

    address: str = ADDRESS
    port: int = PORT
    is_placed: bool = False  # `listen` is in the file
    hosts: tuple[str, ...] = ()  # names by which browsers reach it, besides its address
    tls_certificate: str = ""  # a PEM file; "": without TLS
    tls_key: str = ""
    is_read_only: bool = False  # the page offers no action to anyone

    @property
    def is_encrypted(self) -> bool:
        """Return whether the board itself speaks TLS."""
        return bool(self.tls_certificate)

    @property
    def listen(self) -> str:
        """Return address and port as they are written."""
        return place(self.address, self.port)


def place(address: str, port: int) -> str:
    """Return address and port as a URL has them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_local(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    return is_loopback(address)


def read(group: Fields) -> Board:
    """Return the settings; what is wrong is recorded as a fault."""
    address, port = _listen(group)
    certificate, key = (group.text(name) or "" for name in ("tls_certificate", "tls_key"))
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        if path and not path.startswith("/"):
            group.fault(name, f"expected an absolute path, got {shown(path)!r}", "start it with /")
    if bool(certificate) != bool(key):
        missing = "tls_key" if certificate else "tls_certificate"
        group.lack(f"has no {missing}", "TLS needs both tls_certificate and tls_key")
    if not is_loopback(address) and not (certificate and key):
        group.fault(
            "listen",
            f"{shown(address)} can be reached by other machines, unencrypted",
            "add tls_certificate and tls_key, or listen on 127.0.0.1",
        )
    hosts = tuple(_hosts(group)) if group.has("hosts") else ()
    is_read_only = group.flag("read_only", default=False)
    return Board(address, port, group.has("listen"), hosts, certificate, key, is_read_only)


def _listen(group: Fields) -> tuple[str, int]:
    text = group.text("listen")
    if text is None:
        return ADDRESS, PORT
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port)
        is_good = 1 <= number <= 65535 and port.isdecimal()
    except ValueError:
        is_good = False
    if not is_good:
        remedy = "write address and port, such as 127.0.0.1:8480 or [::1]:8480"
        group.fault("listen", f"{shown(text)!r} is not an address with a port", remedy)
        return ADDRESS, PORT
    return str(address), number


def _hosts(group: Fields) -> list[str]:
    found = [one.lower() for one in group.one_or_more("hosts")]
    wrong = [one for one in found if not HOST.fullmatch(one)]
    if wrong or len(found) > MAX_HOSTS:
        what = f"{shown(wrong[0])!r} is not a host name" if wrong else "are too many"
        remedy = "write names alone, without https:// and port, such as [bench7.example.org]"
        group.fault("hosts", what, remedy)
    return found
