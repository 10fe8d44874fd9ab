"""The control socket, by which the command asks the running board for links.

Its mode decides who may ask: the group driveprep. A request is one line of JSON, and so is its
answer; nothing else can be asked for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pwd
import socket
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.board.access import sockets
from daemon.board.access.logins import KINDS, Logins
from daemon.board.access.origin import Origins
from daemon.board.access.sockets import CONTROL, SYSTEM_CONTROL
from daemon.config.board import place
from daemon.errors import DriveprepError
from daemon.system.printable import printable

log = logging.getLogger("daemon.board")

SECONDS = 5.0  # for a request and its answer
START_SECONDS = 60.0  # the same for who asks: systemd may have to start the board for it
MAX_BYTES = 4096

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Control:
    """The board's end."""

    logins: Logins
    origins: Origins
    inode: int  # of the socket that serves the page
    revoked: Callable[[], None]  # is called when all logins have ended

    async def serve(self, listener: socket.socket) -> asyncio.AbstractServer:
        """Begin to answer."""
        return await asyncio.start_unix_server(self._answer, sock=listener, limit=MAX_BYTES)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            user = _name(sockets.peer(writer.get_extra_info("socket")))
            line = await asyncio.wait_for(reader.readline(), SECONDS)
            writer.write(json.dumps(self._done(user, json.loads(line))).encode() + b"\n")
            await asyncio.wait_for(writer.drain(), SECONDS)
        writer.close()

    def _done(self, user: str, request: object) -> Answer:
        origins = self.origins
        here = {"inode": self.inode, "address": origins.address, "port": origins.port}
        match request:
            case {"do": "where"}:
                return here
            case {"do": "invite", "kind": str(kind)} if kind in KINDS:
                log.info("link for %s asked for by %s", kind, printable(user))
                token = self.logins.invite(user, next(one for one in KINDS if one == kind))
                return {**here, "origin": origins.own, "token": token}
            case {"do": "revoke"}:
                count = self.logins.revoke()
                self.revoked()
                log.info("%s logins and links revoked by %s", count, printable(user))
                return {"revoked": count}
        return {"error": "this request is not known"}


def invite(config_path: Path, environment: Mapping[str, str], kind: str) -> Answer:
    """Return {"origin", "token"} from the running board. Raises DriveprepError.

    Refuses if another program's socket holds the board's port: the token would go to it.
    """
    where = _ask(config_path, environment, {"do": "where"})
    found = sockets.holders(where["address"], where["port"])
    if found != {where["inode"]}:
        raise DriveprepError(
            f"another program listens on {place(where['address'], where['port'])}, or the board"
            " does not: no link is made",
            "See whose it is: ss -ltnp. Then: systemctl restart driveprep-board.socket",
            code="port-not-ours",
        )
    return _ask(config_path, environment, {"do": "invite", "kind": kind})


def revoke(config_path: Path, environment: Mapping[str, str]) -> int:
    """End all logins, links and tokens; return how many there were. Raises DriveprepError."""
    return int(_ask(config_path, environment, {"do": "revoke"})["revoked"])


def _ask(config_path: Path, environment: Mapping[str, str], request: Answer) -> Answer:
    own = sockets.folder(config_path, environment)
    path = own / CONTROL if sockets.is_private(own) else SYSTEM_CONTROL
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            connection.settimeout(START_SECONDS)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer: Answer = json.loads(connection.makefile("rb").readline(MAX_BYTES * 4))
    except PermissionError as error:
        hint = "Join the group driveprep: sudo usermod -aG driveprep NAME; then log in again."
        raise DriveprepError("only members of the group driveprep get links", hint) from error
    except (OSError, ValueError) as error:
        hint = "Start it: systemctl start driveprep-board.socket, or `driveprep board`."
        raise DriveprepError(f"the board does not answer: {error}", hint) from error
    if "error" in answer:
        raise DriveprepError(answer["error"], "Use the command of the board's version.")
    return answer


def _name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"
