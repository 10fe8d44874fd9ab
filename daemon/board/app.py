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
POST /api/dismiss      {"words"}
POST /api/ship         {"words", "carrier", "tracking"}
POST /api/undo-shipment  {"words"}
POST /api/withdraw     {"name", "sha256"}: a manifest that was dropped here
POST /api/paper        {"job", "kind": "slip" or "sticker"}: {"url"}, good once for a minute
POST /api/check        the raw manifest, application/x-driveprep-manifest, at most 64 KiB, its name
                       percent-encoded in X-File-Name: {"name", "sha256", "deviceId", "faults",
                       "warnings", "text"}; text is what `driveprep check` prints
POST /api/drop         the same again, with X-Sha256 of what was shown: {"name", "deviceId",
                       "wasThere"}

An error is {"error", "hint"} with a fitting status: 401 without a login, 403 for a wrong origin,
key or csrf, 409 if it cannot be done now, 413, 415, 422 for a faulty request, 429, 503.
"""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.board.events import EventStream
from daemon.board.watching import Hub

PAGE = Path(__file__).parent / "page"


def make(hub: Hub) -> Starlette:
    """Return the application."""

    async def index(_: Request) -> Response:
        return HTMLResponse((PAGE / "templates" / "board.html").read_bytes())

    async def view(_: Request) -> Response:
        newest = hub.newest
        if newest is None:
            return JSONResponse({"error": "not read yet", "hint": "Try again."}, 503)
        return Response(newest.of(is_read_only=False), media_type="application/json")

    async def events(_: Request) -> Response:
        return EventStream(hub, is_read_only=False)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/api/view", view),
            Route("/events", events),
            Mount("/static", StaticFiles(directory=PAGE / "static")),
        ]
    )
