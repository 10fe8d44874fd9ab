"""The sockets of the board: given by systemd or made here; and whose socket holds a port."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from daemon.config.board import Board, is_local, place
from daemon.errors import ConfigError, DriveprepError

FIRST = 3  # sd_listen_fds(3)
SYSTEM_CONTROL = Path("/run/driveprep-board/control")  # of driveprep-board.socket
CONTROL = "control"
LISTENING = "0A"  # proc_net(5)
PEER = struct.Struct("3i")  # struct ucred of unix(7): process, user, group


@dataclass(frozen=True, slots=True)
class Sockets:
    """What the board listens on."""

    page: socket.socket
    control: socket.socket

    @property
    def place(self) -> tuple[str, int]:
        """Address and port of the page."""
        address, port, *_ = self.page.getsockname()
        return str(address), int(port)


def take(board: Board, config_path: Path, environment: Mapping[str, str]) -> Sockets:
    """Return systemd's sockets, or new ones without it.

    Raises ConfigError if they contradict the configuration, DriveprepError if the port is taken.
    """
    found = _inherited(environment)
    if not found:
        return Sockets(_listen(board), _control(folder(config_path, environment)))
    pages = [one for one in found if one.family in {socket.AF_INET, socket.AF_INET6}]
    controls = [one for one in found if one.family == socket.AF_UNIX]
    if len(pages) != 1 or len(controls) != 1:
        raise ConfigError(
            f"systemd gave {len(pages)} addresses and {len(controls)} control sockets",
            hint="Compare driveprep-board.socket with the one of the package.",
        )
    sockets = Sockets(pages[0], controls[0])
    _check(board, *sockets.place)
    return sockets


def folder(config_path: Path, environment: Mapping[str, str]) -> Path:
    """Return the private folder of a board without systemd; one for each configuration."""
    base = environment.get("XDG_RUNTIME_DIR")
    above = Path(base) if base else Path(f"/run/user/{os.getuid()}")
    if not above.is_dir():
        above = Path("/tmp")  # noqa: S108 - whose folder it is, is checked
    number = sha256(os.fsencode(config_path.resolve())).hexdigest()[:16]
    return above / f"driveprep-board-{os.getuid()}-{number}"


def is_private(place: Path) -> bool:
    """Return whether it is a folder that only this user can change or read."""
    try:
        status = place.stat(follow_symlinks=False)
    except OSError:
        return False
    is_ours = status.st_uid == os.getuid() and not status.st_mode & 0o077
    return is_ours and stat.S_ISDIR(status.st_mode)


def peer(connection: socket.socket) -> int:
    """Return the user id of the process at the other end of a Unix socket."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    return int(PEER.unpack(data)[1])


def inode(one: socket.socket) -> int:
    """Return the number by which /proc/net names a socket, in any network namespace."""
    return os.fstat(one.fileno()).st_ino


def holders(address: str, port: int) -> set[int]:
    """Return the numbers of the sockets that take connections to this address and port."""
    wanted = {_hexadecimal(address)}
    wanted |= {"0" * 8, "0" * 32}  # any address
    if ":" not in address:  # an IPv6 socket can hold an IPv4 address
        wanted.add(_hexadecimal(f"::ffff:{address}"))
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):  # without IPv6
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
            for fields in map(str.split, lines):
                local, _, number = fields[1].partition(":")
                if fields[3] == LISTENING and int(number, 16) == port and local in wanted:
                    found.add(int(fields[9]))
    return found


def _hexadecimal(address: str) -> str:
    """Return an address as /proc/net/tcp writes it: words of 32 bits in the machine's order."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words)


def _inherited(environment: Mapping[str, str]) -> list[socket.socket]:
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environment.get("LISTEN_FDS", "0"))
    found = [socket.socket(fileno=number) for number in range(FIRST, FIRST + count)]
    for one in found:
        one.set_inheritable(False)
    return found


def _check(board: Board, address: str, port: int) -> None:
    if board.is_placed and (board.address, board.port) != (address, port):
        raise ConfigError(
            f"board.listen is {board.listen}, but driveprep-board.socket listens on"
            f" {place(address, port)}",
            hint="Delete board.listen, or change both: systemctl edit driveprep-board.socket",
        )
    if not is_local(address) and not board.is_encrypted:
        raise ConfigError(
            f"driveprep-board.socket listens on {place(address, port)}, which other machines can"
            " reach, unencrypted",
            hint="Add board.tls_certificate and board.tls_key, or listen on 127.0.0.1.",
        )


def _listen(board: Board) -> socket.socket:
    family = socket.AF_INET6 if ":" in board.address else socket.AF_INET
    try:
        return socket.create_server((board.address, board.port), family=family, backlog=64)
    except OSError as error:
        raise DriveprepError(
            f"the board cannot listen on {board.listen}: {error.strerror}",
            "Another program holds that port; see `ss -ltnp`, or set board.listen.",
        ) from error


def _control(place: Path) -> socket.socket:
    place.mkdir(mode=0o700, exist_ok=True)
    if not is_private(place):
        raise DriveprepError(f"{place} is not a private folder of this user", "Remove it.")
    path = place / CONTROL
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    path.chmod(0o600)
    made.listen(16)
    return made
