"""What an operator does on the page, by the same functions as the commands.

No request here can cancel, update, format or configure anything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from daemon.board.access.guard import Visitor
from daemon.board.access.problem import Problem
from daemon.board.dropped import DroppedHere
from daemon.board.papers import Papers, as_page, separated
from daemon.board.view import Action
from daemon.board.watching import Hub
from daemon.config.loading import Config
from daemon.desk import manifests, orders
from daemon.desk.job_actions import JobActions
from daemon.desk.manifests import Checked
from daemon.errors import DriveprepError
from daemon.system.clocks import Clocks
from daemon.system.printable import printable

T = TypeVar("T")

MANIFEST = "application/x-driveprep-manifest"  # no form can send it: a browser asks us first
MAX_JSON = 16 * 1024  # bytes
BODY_SECONDS = 10.0
MAX_WORDS, MAX_WORD = 200, 255  # jobs that one request names, and characters of each
KEPT = 1000  # characters of a log line's details


class Actions:
    """Answers the requests that change something.

    `ring` has a new view made; `executor` runs what waits for a disk or the daemon; `hub` has the
    view that is shown.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        dropped: DroppedHere,
        papers: Papers,
        ring: Callable[[], None],
        executor: Executor,
        clocks: Clocks,
        hub: Hub,
    ) -> None:
        self._config, self._dropped, self._papers = config, dropped, papers
        self._ring, self._executor, self._clocks, self._hub = ring, executor, clocks, hub

    async def check(self, request: Request) -> Response:
        """Check a manifest; drops nothing."""
        name, data = await _upload(request)
        checked = await self._check(name, data)
        found = checked.manifest
        shown = {
            "name": name,
            "sha256": checked.sha256,
            "deviceId": printable(found.device_id) if found else None,
            "fileSystem": found.file_system if found else None,
            "good": found is not None,
            "text": "\n".join(checked.lines),
        }
        return JSONResponse(shown)

    async def drop(self, request: Request) -> Response:
        """Drop a manifest, if it is the one that was shown and has no fault."""
        name, data = await _upload(request)
        checked = await self._check(name, data)
        if request.headers.get("x-sha256", "") != checked.sha256:
            raise Problem(409, "this is not the manifest that was checked", "Check it again.")
        if checked.manifest is None:
            raise Problem(422, "the manifest has faults", "\n".join(checked.lines))
        pending = self._config().spool / "pending"
        dropped = await self._run(manifests.drop, pending, name, checked.manifest)
        if not dropped.was_there:
            await self._run(self._dropped.add, dropped.name, dropped.sha256)
        _note(request, f"{dropped.name} for {printable(dropped.device_id)} sha256 {dropped.sha256}")
        device_id = printable(dropped.device_id)
        return JSONResponse(
            {"name": dropped.name, "deviceId": device_id, "wasThere": dropped.was_there}
        )

    async def withdraw(self, request: Request) -> Response:
        """Withdraw a manifest that was dropped here."""
        body = await body_as_json(request)
        name, sha256 = _text(body, "name"), _text(body, "sha256")
        _note(request, f"{printable(name)} sha256 {printable(sha256)}")
        if (name, sha256) not in self._dropped.all():
            raise Problem(409, f"{printable(name)} was not dropped here", "Use the shell.")
        await self._run(manifests.withdraw, self._config().spool / "pending", name, sha256)
        await self._run(self._dropped.remove, name, sha256)
        return JSONResponse({"name": name})

    async def retry(self, request: Request) -> Response:
        """Have a deviceId tried again at once."""
        device_id = _text(await body_as_json(request), "deviceId")
        _note(request, printable(device_id))
        await self._run(orders.retry, self._config(), device_id)
        return JSONResponse({"deviceId": device_id})

    async def use_as_it_is(self, request: Request) -> Response:
        """Have a drive used that is not empty, if what is on it is what was shown."""
        device_id = await self._decided(request, "as-it-is")
        answer = await self._run(orders.retry_as_it_is, self._config(), device_id)
        return _carried_out(answer)

    async def confirm_drive(self, request: Request) -> Response:
        """Take a drive for the one that its job was made for, if the difference was shown."""
        device_id = await self._decided(request, "same-drive")
        confirm = partial(orders.retry, self._config(), device_id, same_drive=True)
        await self._run(confirm)
        return JSONResponse({"deviceId": device_id})

    async def _decided(self, request: Request, action: Action) -> str:
        """Return the deviceId of a drive that a person has decided about.

        Its card must offer that now, and say what the person was shown.
        """
        body = await body_as_json(request)
        device_id, shown = _text(body, "deviceId"), _text(body, "shown", limit=MAX_JSON)
        _note(request, printable(device_id))
        newest = self._hub.newest
        cards = [one for one in newest.view.cards if one.device_id == device_id] if newest else []
        if not any(action in one.actions and one.next == shown for one in cards):
            problem = f"{printable(device_id)} is no longer as it was shown"
            raise Problem(409, problem, "Read its card again, then decide.")
        return device_id

    async def dismiss(self, request: Request) -> Response:
        """Dismiss the rejections of manifests or deviceIds."""
        words = _words(request, await body_as_json(request))
        answer = await self._run(orders.dismiss, self._config(), words)
        return _carried_out(answer)

    async def ship(self, request: Request) -> Response:
        """Record that drives have left."""
        body = await body_as_json(request)
        words = _words(request, body)
        carrier, tracking = (_text(body, name, "") for name in ("carrier", "tracking"))
        if tracking and len(words) > 1:
            raise Problem(422, "a tracking number belongs to one job", "Name one job.")
        at = self._clocks.wall()
        answer = await self._run(orders.ship, self._config(), words, at, carrier, tracking)
        return _carried_out(answer)

    async def undo_shipment(self, request: Request) -> Response:
        """Record that drives are still here."""
        words = _words(request, await body_as_json(request))
        return _carried_out(await self._run(orders.undo_shipment, self._config(), words))

    async def paper(self, request: Request) -> Response:
        """Return where a job's packing slip or sticker can be opened, once."""
        body = await body_as_json(request)
        job, kind = _text(body, "job"), _text(body, "kind")
        _note(request, f"{printable(kind)} of {printable(job)}")
        login = _visitor(request).login
        if login is None:
            raise Problem(401, "there is no login")
        desk = JobActions(self._config(), _no_client)
        match kind:
            case "slip":
                _, page = await self._run(desk.slip_page, job)
                paper = separated(page)
            case "sticker":
                found, text = await self._run(desk.sticker, job)
                paper = as_page(f"Sticker {found.job_id} {printable(found.device_id)}", text)
            case _:
                hint = "Ask for slip or sticker."
                raise Problem(422, f"there is no paper {printable(kind)}", hint)
        return JSONResponse({"url": self._papers.put(paper, login)})

    async def print(self, request: Request) -> Response:
        """Have the papers of jobs printed once more."""
        words = _words(request, await body_as_json(request))
        at = self._clocks.wall()
        return _carried_out(await self._run(orders.print_papers, self._config(), words, at))

    async def _check(self, name: str, data: bytes) -> Checked:
        return await self._run(manifests.check, name, data, manifests.terms(self._config()))

    async def _run(self, function: Callable[..., T], *values: object) -> T:
        """Call a function that may wait, in a thread. Its errors become problems."""
        call = partial(function, *values)
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except DriveprepError as error:
            raise Problem(409, printable(str(error)), printable(error.hint)) from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Problem(409, f"it could not be done: {reason}", "driveprep doctor") from error
        self._ring()
        return done


def _carried_out(answer: Mapping[str, Any] | None) -> Response:
    """Return the daemon's answer; without a daemon, the next one carries the order out."""
    return JSONResponse({"later": answer is None, **(answer or {})})


async def _upload(request: Request) -> tuple[str, bytes]:
    """Return a manifest's safe name and its bytes."""
    if request.headers.get("content-type", "") != MANIFEST:
        raise Problem(415, f"a manifest is sent as {MANIFEST}")
    given = unquote(request.headers.get("x-file-name", ""), errors="replace")[:MAX_WORD]
    return manifests.safe_manifest_name(given), await _body(request, manifests.LIMIT)


async def body_as_json(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request has. Raises Problem."""
    if request.headers.get("content-type", "") != "application/json":
        raise Problem(415, "expected application/json")
    try:
        body = json.loads(await _body(request, MAX_JSON))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Problem(422, "expected a JSON object")
    return body


async def _body(request: Request, limit: int) -> bytes:
    """Return a request's body. A browser says how long it is; what is too long is not read."""
    length = request.headers.get("content-length", "")
    if length and (not length.isdecimal() or int(length) > limit):
        raise Problem(413, f"more than {limit} bytes", "A manifest is a short text.")
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > limit:
                    raise Problem(413, f"more than {limit} bytes", "A manifest is a short text.")
    except TimeoutError as error:
        raise Problem(408, f"it took longer than {BODY_SECONDS:.0f} s") from error
    return bytes(data)


def _words(request: Request, body: Mapping[str, Any]) -> list[str]:
    match body.get("words"):
        case [*words] if 0 < len(words) <= MAX_WORDS and all(map(_is_word, words)):
            _note(request, " ".join(map(printable, words)))
            return words
    raise Problem(422, f"expected words: a list of up to {MAX_WORDS} texts")


def _is_word(word: object) -> bool:
    return isinstance(word, str) and 0 < len(word) <= MAX_WORD


def _text(
    body: Mapping[str, Any], name: str, default: str | None = None, limit: int = MAX_WORD
) -> str:
    text = body.get(name, default)
    if not isinstance(text, str) or len(text) > limit or (not text and default is None):
        raise Problem(422, f"expected {name}: a text of up to {limit} characters")
    return text


def _visitor(request: Request) -> Visitor:
    visitor: Visitor = request.state.visitor
    return visitor


def _note(request: Request, details: str) -> None:
    """Have details logged with the request."""
    request.state.done = f" ({details[:KEPT]})"


def _no_client() -> Any:  # noqa: ANN401 - it never returns
    raise DriveprepError("the board does not ask the service", "Use the commands.")
