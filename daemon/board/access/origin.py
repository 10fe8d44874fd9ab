"""Where a request may come from: Host, Origin and Sec-Fetch-Site, and whose forwarding counts."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers

from daemon.board.access.problem import Problem
from daemon.config.board import Board, is_local, place

SAFE = frozenset({"GET", "HEAD"})
DEFAULT_PORT = 443
COOKIE = "driveprep-board"


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of a board that listens at this place."""

    board: Board
    address: str
    port: int

    def check(self, method: str, path: str, headers: Headers) -> str:
        """Return the origin that the request is for. Raises Problem if it may not be answered."""
        host = headers.get("host", "").lower()
        if len(headers.getlist("host")) != 1 or host not in self._hosts():
            raise Problem(421, "this board has another name", f"Open {self.own}/ instead.")
        own = self._of(host)
        origin = headers.get("origin")
        if (origin is None and method not in SAFE) or origin not in {None, own}:
            raise Problem(403, "the request comes from another page", f"Use the page at {own}/.")
        if not _is_from_here(method, path, headers):
            raise Problem(403, "another site asked for this", f"Open {own}/ yourself.")
        return own

    @property
    def own(self) -> str:
        """The origin that a link leads to."""
        if self.board.hosts:
            name = self.board.hosts[0]
            is_usual = self.is_proxied or self.port == DEFAULT_PORT
            return f"https://{name}" if is_usual else f"https://{name}:{self.port}"
        return self._direct()

    @property
    def is_proxied(self) -> bool:
        """Whether a proxy on this machine, which speaks TLS, passes requests on."""
        return bool(self.board.hosts) and is_local(self.address) and not self.board.is_encrypted

    def cookie(self, own: str) -> str:
        """Return the cookie's name. It is sent to all ports of a host, so it has the port in it."""
        return f"__Host-{COOKIE}" if own.startswith("https:") else f"{COOKIE}-{self.port}"

    def client(self, own: str, peer: str, headers: Headers) -> str:
        """Return the address of who asks: the proxy's word for it where `hosts` names a proxy."""
        is_forwarded = self.is_proxied and own != self._direct() and is_local(peer)
        # A proxy appends; what is before its own word, anyone can have written.
        forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return forwarded[:64] if is_forwarded and forwarded else peer

    def _direct(self) -> str:
        scheme = "https" if self.board.is_encrypted else "http"
        return f"{scheme}://{place(self.address, self.port)}"

    def _hosts(self) -> frozenset[str]:
        named = {f"{name}:{self.port}" for name in self.board.hosts}
        if self.is_proxied or self.port == DEFAULT_PORT:
            named |= {*self.board.hosts, *(f"{name}:{DEFAULT_PORT}" for name in self.board.hosts)}
        return frozenset(named | {place(self.address, self.port)})

    def _of(self, host: str) -> str:
        if host == place(self.address, self.port):
            return self._direct()
        return f"https://{host.removesuffix(f':{DEFAULT_PORT}')}"


def _is_from_here(method: str, path: str, headers: Headers) -> bool:
    """Return whether the browser, if it says so at all, asks for our own page."""
    site = headers.get("sec-fetch-site")
    if site in {None, "same-origin"}:
        return True
    # The address bar, or a link on another site; the page itself has no data.
    is_opened = method in SAFE and headers.get("sec-fetch-mode") == "navigate"
    return is_opened and path == "/" and headers.get("sec-fetch-dest") == "document"
