"""Checks every request before anything answers it, and adds the headers that browsers obey.

What is not named here needs a login and its key; what is not GET needs a CSRF token as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.board.access.logins import Login, Logins
from daemon.board.access.origin import SAFE, Origins
from daemon.board.access.problem import Problem
from daemon.board.access.rates import Bucket, Buckets
from daemon.system.clocks import Clock
from daemon.system.printable import printable

log = logging.getLogger("daemon.board")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
MAX_PATH = 2048  # bytes, with the query
# Requests a second and at once: of everyone without a login together, and of one login.
UNKNOWN, KNOWN = (100.0, 400.0), (40.0, 400.0)
SCRAPED = frozenset({"/metrics", "/api/status"})
KEY, CSRF = "x-board-key", "x-csrf-token"
LOG_IN, LOG_OUT = "/login", "/logout"
NO_LOGIN = "Ask for a new link: driveprep board --link"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a request comes from. `login` is None where none is needed."""

    own: str  # the origin that was asked
    address: str
    cookie: str
    login: Login | None
    may_act: bool


class Guard:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, origins: Origins, logins: Logins, steady: Clock) -> None:
        self._app, self._origins, self._logins = app, origins, logins
        self._unknown = Bucket(*UNKNOWN, steady)
        self._known = Buckets(*KNOWN, steady)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            visitor = self._admit(scope)
            scope.setdefault("state", {})["visitor"] = visitor
            await self._app(scope, receive, send_guarded)
        except Problem as problem:
            await problem.response()(scope, receive, send_guarded)
        if scope["method"] not in SAFE and status != 429:
            self._note(scope, status)

    def _admit(self, scope: Scope) -> Visitor:
        """Return who asks. Raises Problem if the request may not be answered."""
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MAX_PATH:
            raise Problem(414, "the address is too long")
        own = self._origins.check(method, path, headers)
        peer = scope["client"][0] if scope.get("client") else ""
        address = self._origins.client(own, peer, headers)
        cookie = _cookie(headers, self._origins.cookie(own))
        login = self._logins.find(cookie) if cookie else None
        self._limit(login if login and login.has_key(headers.get(KEY, "")) else None)
        if _is_public(method, path):
            return Visitor(own, address, cookie, login, may_act=False)
        if path in SCRAPED and (user := self._scraper(headers)):
            return Visitor(own, f"{address} ({user})", "", None, may_act=False)
        return self._admit_login(scope, headers, Visitor(own, address, cookie, login, False))

    def _admit_login(self, scope: Scope, headers: Headers, visitor: Visitor) -> Visitor:
        method, path, login = scope["method"], scope["path"], visitor.login
        if login is None:
            raise Problem(401, "there is no login", NO_LOGIN)
        # A paper is opened in a tab of its own, which sends no header: its address is the key.
        is_ticket = method in SAFE and path.startswith("/paper/")
        if not is_ticket and not login.has_key(headers.get(KEY, "")):
            raise Problem(401, "the page has no key for this login", NO_LOGIN)
        may_act = login.kind == "operator" and not self._origins.board.is_read_only
        if method not in SAFE:
            if not login.has_csrf(headers.get(CSRF, "")):
                raise Problem(403, "the request has no CSRF token", "Load the page again.")
            if not may_act and path != LOG_OUT:
                raise Problem(403, "this login can only read", NO_LOGIN)
        return Visitor(visitor.own, visitor.address, visitor.cookie, login, may_act)

    def _limit(self, login: Login | None) -> None:
        is_allowed = self._known.take(login.key) if login else self._unknown.take()
        if not is_allowed:
            raise Problem(429, "too many requests", "Wait a moment.")

    def _scraper(self, headers: Headers) -> str | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return self._logins.scraper(token.strip()) if scheme.lower() == "bearer" else None

    def _note(self, scope: Scope, status: int) -> None:
        """Log a request that would change something, with the person who asked for the link."""
        visitor: Visitor | None = scope.get("state", {}).get("visitor")
        login = visitor.login if visitor else None
        who = printable(login.user) if login else "no one known"
        address = visitor.address if visitor else (scope.get("client") or ("?",))[0]
        details = scope.get("state", {}).get("done", "")
        path = printable(scope["path"][:100])
        log.info("%s %s by %s from %s: %s%s", scope["method"], path, who, address, status, details)


def _is_public(method: str, path: str) -> bool:
    """Return whether a request needs no login: the page has no data, and a link opens a login."""
    is_page = method in SAFE and (path in {"/", "/favicon.ico"} or path.startswith("/static/"))
    return is_page or (method == "POST" and path == LOG_IN)


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
