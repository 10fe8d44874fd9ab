"""Links and logins. A token or key is a secret: only its SHA-256 is kept and stored.

link     good once and for two minutes; opens a login of 12 hours
wall     good until it is revoked; opens logins that can only read
scrape   good until it is revoked; reads /metrics and /api/status
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from daemon.system import durable
from daemon.system.clocks import Clocks

Kind = Literal["operator", "wall", "scrape"]
KINDS: tuple[Kind, ...] = ("operator", "wall", "scrape")

LINK_SECONDS = 120.0
LOGIN_SECONDS = 12 * 3600.0
WALL_SECONDS = 365 * 24 * 3600.0
MAX_LINKS = 64  # that wait; the oldest goes first
MAX_LOGINS = 256  # of one kind; the oldest goes first
MAX_TOKENS = 64  # long-lived ones
STORE = "logins.json"
STORE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Login:
    """Someone who may read and, as an operator, act."""

    user: str  # who asked for the link
    kind: Kind
    key: str = field(repr=False)  # the SHA-256 of what each request carries
    csrf: str = field(repr=False)  # the same of what each change carries
    until: float  # seconds since the epoch
    since: float = 0.0
    token: str = field(default="", repr=False)  # the SHA-256 of the long-lived token it came from

    def has_key(self, key: str) -> bool:
        """Return whether a request carries the login's key."""
        return secrets.compare_digest(self.key, digest(key))

    def has_csrf(self, csrf: str) -> bool:
        """Return whether a request carries the login's CSRF token."""
        return secrets.compare_digest(self.csrf, digest(csrf))


@dataclass(frozen=True, slots=True)
class Opened:
    """A new login with its secrets, which are nowhere else."""

    login: Login
    cookie: str = field(repr=False)
    key: str = field(repr=False)
    csrf: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Link:
    user: str
    until: float  # by the steady clock


@dataclass(frozen=True, slots=True)
class _Token:
    user: str
    kind: Kind
    since: float  # seconds since the epoch


class Logins:
    """All links and logins; those that outlive a restart are stored in `folder` (None: none do).

    For the event loop's thread.
    """

    def __init__(self, folder: Path | None, clocks: Clocks) -> None:
        self._folder, self._clocks = folder, clocks
        self._links: dict[str, _Link] = {}
        self._tokens: dict[str, _Token] = {}
        self._logins: dict[str, Login] = {}  # by the SHA-256 of the cookie
        self._load()

    def invite(self, user: str, kind: Kind) -> str:
        """Return a new token for a person of this name."""
        token = secrets.token_urlsafe(32)
        if kind == "operator":
            _shorten(self._links, MAX_LINKS)
            until = self._clocks.steady() + LINK_SECONDS
            self._links[digest(token)] = _Link(user, until)
        else:
            _shorten(self._tokens, MAX_TOKENS)
            self._tokens[digest(token)] = _Token(user, kind, self._clocks.wall())
            self._save()
        return token

    def open(self, token: str) -> Opened | None:
        """Open a login with a link's token, which is used up, or a wall's; else return None."""
        name = digest(token)
        if link := self._links.pop(name, None):
            if self._clocks.steady() > link.until:
                return None
            return self._open(link.user, "operator", LOGIN_SECONDS)
        match self._tokens.get(name):
            case _Token(kind="wall", user=user):
                return self._open(user, "wall", WALL_SECONDS, name)
        return None

    def find(self, cookie: str) -> Login | None:
        """Return the login that a cookie names, as long as it lasts."""
        login = self._logins.get(digest(cookie))
        # A clock that was set back makes no login longer.
        now = self._clocks.wall()
        return login if login and login.since <= now + LINK_SECONDS and now < login.until else None

    def scraper(self, token: str) -> str | None:
        """Return who asked for a token for scraping; None if it is none."""
        found = self._tokens.get(digest(token))
        return found.user if found and found.kind == "scrape" else None

    def close(self, cookie: str) -> None:
        """End a login. Safe to repeat."""
        if self._logins.pop(digest(cookie), None):
            self._save()

    def revoke(self) -> int:
        """End every login, link and token; return how many there were."""
        count = len(self._links) + len(self._tokens) + len(self._logins)
        self._links, self._tokens, self._logins = {}, {}, {}
        self._save()
        return count

    def is_valid(self, login: Login) -> bool:
        """Return whether a login still lasts: it may have ended while its reader listened."""
        return any(one is login for one in self._logins.values()) and (
            self._clocks.wall() < login.until
        )

    def _open(self, user: str, kind: Kind, seconds: float, token: str = "") -> Opened:
        cookie, key, csrf = (secrets.token_urlsafe(32) for _ in range(3))
        now = self._clocks.wall()
        login = Login(user, kind, digest(key), digest(csrf), now + seconds, now, token)
        self._logins = {name: one for name, one in self._logins.items() if one.until > now}
        of_kind = {name: one for name, one in self._logins.items() if one.kind == kind}
        if len(of_kind) >= MAX_LOGINS:
            del self._logins[min(of_kind, key=lambda name: of_kind[name].since)]
        self._logins[digest(cookie)] = login
        self._save()
        return Opened(login, cookie, key, csrf)

    def _load(self) -> None:
        """Take what was stored; what cannot be read is as if it were revoked."""
        if self._folder is None:
            return
        with suppress(OSError, ValueError, TypeError, KeyError), durable.folder(self._folder) as at:
            stored = json.loads(durable.read(at, STORE, STORE_BYTES))
            tokens = {name: _Token(**one) for name, one in stored["tokens"].items()}
            logins = {name: Login(**one) for name, one in stored["logins"].items()}
            self._tokens, self._logins = tokens, logins

    def _save(self) -> None:
        if self._folder is None:
            return
        stored = {"tokens": _plain(self._tokens), "logins": _plain(self._logins)}
        with durable.folder(self._folder) as at:
            durable.replace(at, STORE, json.dumps(stored).encode(), partial=f".{STORE}.part")


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret with 256 random bits: no salt is needed."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(values: Mapping[str, _Token] | Mapping[str, Login]) -> dict[str, dict[str, object]]:
    return {name: asdict(one) for name, one in values.items()}


def _shorten(values: dict[str, _Link] | dict[str, _Token], most: int) -> None:
    """Make room for one more: the oldest goes."""
    while len(values) >= most:
        del values[next(iter(values))]
