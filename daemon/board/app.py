"""The requests that the board answers.

GET  /                 the page: the same for all, without any data; ?wall for the wall
GET  /static/...       its script, style sheet and icons
POST /login            {"token"}: what the link has after its #. Sets the cookie; returns {"key",
                       "csrf", "user", "readOnly", "until"}. The page keeps key and csrf in
                       localStorage, which is bound to its origin
POST /logout           ends this login

With the cookie and the header X-Board-Key:
GET  /api/view         the View as JSON, see `view`
GET  /events           the same as server-sent events: `event: view`, `id:` counts up, `data:` is
                       the View; a comment every 10 seconds. EventSource cannot send a header: read
                       it with fetch(), in one SharedWorker for all tabs
GET  /api/waiting?q=   up to 20 waiting jobs: {"jobs": [{deviceId, manifest, since, next, ...}]}
GET  /api/status       the output of `driveprep status --json`
GET  /metrics          for Prometheus; also with `Authorization: Bearer` and a token for scraping

And with X-CSRF-Token, as application/json, {"words": [JobId or deviceId or name]}:
POST /api/retry        {"deviceId"}
POST /api/as-it-is     {"deviceId", "shown"}: use its drive although it is not empty
POST /api/same-drive   {"deviceId", "shown"}: its drive only has another USB bridge. For both, the
                       card must offer it, and `shown` is its `next`, which the person has read
POST /api/dismiss      {"words"}
POST /api/ship         {"words", "carrier", "tracking"}
POST /api/undo-shipment  {"words"}
POST /api/withdraw     {"name", "sha256"}: a manifest that was dropped here
POST /api/paper        {"job", "kind": "slip" or "sticker"}: {"url"}, good once for a minute
POST /api/print        {"words"}: the papers of these jobs, as `print` in the configuration has them
POST /api/check        the raw manifest, application/x-driveprep-manifest, at most 64 KiB, its name
                       percent-encoded in X-File-Name: {"name", "sha256", "deviceId", "faults",
                       "warnings", "text"}; text is what `driveprep check` prints
POST /api/drop         the same again, with X-Sha256 of what was shown: {"name", "deviceId",
                       "wasThere"}

An error is {"error", "hint"} with a fitting status: 401 without a login, 403 for a wrong origin,
key or csrf, 409 if it cannot be done now, 413, 415, 422 for a faulty request, 429, 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.board.access.guard import Guard, Visitor
from daemon.board.access.logins import Login, Logins
from daemon.board.access.origin import Origins
from daemon.board.access.problem import Problem
from daemon.board.actions import Actions, body_as_json
from daemon.board.events import EventStream
from daemon.board.metrics import CONTENT_TYPE
from daemon.board.papers import POLICY, Papers
from daemon.board.watching import Hub, Published
from daemon.errors import DriveprepError
from daemon.jobs.job import Job
from daemon.system.clocks import Clocks
from daemon.system.printable import printable, timestamp

Answer = TypeVar("Answer")

PAGE = Path(__file__).parent / "page"
FOUND = 20  # waiting jobs that a search shows


@dataclass(frozen=True, slots=True)
class Reports:
    """What takes a while to make; each is called in a thread."""

    status: Callable[[], Iterator[bytes]]  # the output of `status --json`
    metrics: Callable[[Published], bytes]
    waiting: Callable[[str, int], list[Job]]


@dataclass(frozen=True, slots=True)
class Board:
    """The application's parts, and the requests that change nothing."""

    hub: Hub
    logins: Logins
    origins: Origins
    papers: Papers
    reports: Reports
    actions: Actions
    executor: Executor
    clocks: Clocks

    def app(self) -> Guard:
        """Return the application."""
        act = self.actions
        changes: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/login": self.log_in,
            "/logout": self.log_out,
            "/api/check": act.check,
            "/api/drop": act.drop,
            "/api/withdraw": act.withdraw,
            "/api/retry": act.retry,
            "/api/as-it-is": act.use_as_it_is,
            "/api/same-drive": act.confirm_drive,
            "/api/dismiss": act.dismiss,
            "/api/ship": act.ship,
            "/api/undo-shipment": act.undo_shipment,
            "/api/paper": act.paper,
            "/api/print": act.print,
        }
        inner = Starlette(
            routes=[
                Route("/", self.index),
                Route("/api/view", self.view),
                Route("/api/waiting", self.waiting),
                Route("/api/status", self.status),
                Route("/events", self.events),
                Route("/metrics", self.metrics),
                Route("/paper/{name}.css", self.style),
                Route("/paper/{name}", self.paper),
                *(Route(path, answer, methods=["POST"]) for path, answer in changes.items()),
                Mount("/static", StaticFiles(directory=PAGE / "static")),
            ],
            exception_handlers={Problem: _answer},
        )
        return Guard(inner, self.origins, self.logins, self.clocks.steady)

    async def log_in(self, request: Request) -> Response:
        """Open a login with the token of a link."""
        body = await body_as_json(request)
        opened = self.logins.open(str(body.get("token", "")))
        if opened is None:
            hint = "A link is good once, and for two minutes: driveprep board --link"
            raise Problem(401, "this link is not good, or not any more", hint)
        visitor, login = _visitor(request), opened.login
        request.state.done = f" (login of {printable(login.user)}, {login.kind})"
        response = JSONResponse({**self._facts(login), "key": opened.key, "csrf": opened.csrf})
        response.set_cookie(
            self.origins.cookie(visitor.own),
            opened.cookie,
            max_age=int(login.until - self.clocks.wall()),
            path="/",
            secure=visitor.own.startswith("https:"),
            httponly=True,
            samesite="strict",
        )
        return response

    async def log_out(self, request: Request) -> Response:
        """End this login."""
        visitor = _visitor(request)
        self.logins.close(visitor.cookie)
        response = JSONResponse({})
        is_secure = visitor.own.startswith("https:")
        response.delete_cookie(self.origins.cookie(visitor.own), secure=is_secure, httponly=True)
        return response

    async def index(self, _: Request) -> Response:
        """Return the page, which has no data."""
        return HTMLResponse((PAGE / "templates" / "board.html").read_bytes())

    async def view(self, request: Request) -> Response:
        """Return the newest view."""
        data = self._newest().of(is_read_only=not _visitor(request).may_act)
        return Response(data, media_type="application/json")

    async def events(self, request: Request) -> Response:
        """Return the views as they come, as long as the login lasts."""
        visitor = _visitor(request)
        login = visitor.login
        if login is None or not self.hub.has_room(login.key):
            raise Problem(503, "too many pages listen", "Close some: all tabs share one stream.")

        def lasts() -> bool:
            return self.logins.is_valid(login)

        return EventStream(self.hub, login.key, lasts, is_read_only=not visitor.may_act)

    async def waiting(self, request: Request) -> Response:
        """Find waiting jobs."""
        text = request.query_params.get("q", "").strip()[:100]
        found = await self._run(self.reports.waiting, text, FOUND) if text else []
        return JSONResponse({"jobs": [_waiting(job) for job in found]})

    async def status(self, _: Request) -> Response:
        """Return what `driveprep status --json` prints."""
        pieces = await self._run(self.reports.status)
        return StreamingResponse(pieces, media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Return what Prometheus reads."""
        text = await self._run(self.reports.metrics, self._newest())
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    async def paper(self, request: Request) -> Response:
        """Return a paper, once."""
        login = _login(request)
        page = self.papers.page(request.path_params["name"], login)
        if page is None:
            raise Problem(404, "this paper was opened already", "Open it on the board again.")
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    async def style(self, request: Request) -> Response:
        """Return a paper's style sheet, once."""
        style = self.papers.style(request.path_params["name"], _login(request))
        if style is None:
            raise Problem(404, "there is no such style sheet")
        return Response(style, media_type="text/css")

    def _facts(self, login: Login) -> dict[str, object]:
        may_act = login.kind == "operator" and not self.origins.board.is_read_only
        user, until = printable(login.user), timestamp(login.until)
        return {"user": user, "kind": login.kind, "readOnly": not may_act, "until": until}

    def _newest(self) -> Published:
        if self.hub.newest is None:
            raise Problem(503, "nothing is read yet", "Try again in a moment.")
        return self.hub.newest

    async def _run(self, function: Callable[..., Answer], *values: object) -> Answer:
        call = asyncio.get_running_loop().run_in_executor(self.executor, function, *values)
        try:
            return await call
        except DriveprepError as error:
            raise Problem(503, printable(str(error)), printable(error.hint)) from error


async def _answer(_: Request, problem: Exception) -> Response:
    return problem.response() if isinstance(problem, Problem) else Response(status_code=500)


def _visitor(request: Request) -> Visitor:
    visitor: Visitor = request.state.visitor
    return visitor


def _login(request: Request) -> Login:
    login = _visitor(request).login
    if login is None:
        raise Problem(401, "there is no login")
    return login


def _waiting(job: Job) -> dict[str, object]:
    """Return a waiting job as a search shows it."""
    reason = job.obstacle
    return {
        "deviceId": printable(job.device_id),
        "manifest": printable(job.name),
        "since": timestamp(job.since),
        "next": printable(f"{reason.reason}. {reason.hint}") if reason else "Plug in its drive.",
        "code": (reason and reason.code) or None,
    }
