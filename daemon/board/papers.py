"""Papers to read or print, each opened once in a tab of its own by an address nobody can guess.

A slip has its style inside; a browser is told here to allow nothing inline, so the style is moved
to a style sheet of its own.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from html import escape

from daemon.board.access.logins import Login
from daemon.system.clocks import Clock

SECONDS = 60.0
MAX_OPEN = 64  # papers that wait to be opened; the oldest goes first
STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
MAX_TEXT = 64 * 1024  # characters of a sticker, which has some hundred
META = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# The template escapes every quotation mark of a text, so that this is always an attribute.
INLINE = re.compile(r'(<[a-z]+ class="[^"]*)" style="([^"]*)"')
POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Paper:
    """A page and its style sheet."""

    page: str
    style: str


@dataclass(frozen=True, slots=True)
class _Ticket:
    paper: Paper
    key: str  # of the login that may open it
    until: float  # by the steady clock
    is_used: bool = False


class Papers:
    """Papers that wait to be opened. For the event loop's thread."""

    def __init__(self, steady: Clock) -> None:
        self._steady = steady
        self._tickets: dict[str, _Ticket] = {}

    def put(self, paper: Paper, login: Login) -> str:
        """Return the address at which this login can open the paper, once and for a minute."""
        while len(self._tickets) >= MAX_OPEN:
            del self._tickets[next(iter(self._tickets))]
        name = secrets.token_urlsafe(32)
        self._tickets[name] = _Ticket(paper, login.key, self._steady() + SECONDS)
        return f"/paper/{name}"

    def page(self, name: str, login: Login) -> str | None:
        """Return the page, once; None if there is none for this login."""
        ticket = self._find(name, login)
        if ticket is None or ticket.is_used:
            return None
        self._tickets[name] = _Ticket(ticket.paper, ticket.key, ticket.until, is_used=True)
        head = f'<link rel="stylesheet" href="/paper/{name}.css">'
        return ticket.paper.page.replace("</head>", f"{head}</head>", 1)

    def style(self, name: str, login: Login) -> str | None:
        """Return its style sheet, once and after the page."""
        ticket = self._find(name, login)
        if ticket is None or not ticket.is_used:
            return None
        del self._tickets[name]
        return ticket.paper.style

    def _find(self, name: str, login: Login) -> _Ticket | None:
        ticket = self._tickets.get(name)
        is_good = ticket and ticket.key == login.key and self._steady() < ticket.until
        return ticket if is_good else None


def as_page(title: str, text: str) -> Paper:
    """Return a text as a page; on paper it has nothing but the text."""
    shown = escape(text[:MAX_TEXT])
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title></head>"
        f'<body><main><h1>{escape(title)}</h1><pre dir="auto">{shown}</pre></main></body></html>'
    )
    style = (
        "html { color-scheme: light dark } h1 { font: 1rem sans-serif }"
        " pre { font: 1.2rem/1.4 monospace; white-space: pre-wrap; overflow-wrap: anywhere }"
        " @media print { h1 { display: none } body, pre { margin: 0 } @page { margin: 4mm } }"
    )
    return Paper(page, style)


def separated(html: str) -> Paper:
    """Return a page of ours without anything inline, and what it had inline as a style sheet."""
    styles = [found.group(1) for found in STYLE.finditer(html)]
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        own = names.setdefault(found.group(2), f"own-{len(names)}")
        return f'{found.group(1)} {own}"'

    page = INLINE.sub(name, META.sub("", STYLE.sub("", html)))
    rules = [f".{own} {{ {text} }}" for text, own in names.items()]
    return Paper(page, "\n".join([*styles, *rules]))
