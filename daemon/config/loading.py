"""config.yml as typed values. The layer that wires the parts passes on what each one needs.

The keys and their defaults are described in config.example.yml.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from daemon.config import board, credentials, pool, printing
from daemon.config.printing import PrintCommand
from daemon.documents import nodes, reader
from daemon.documents.fields import Fields, Findings
from daemon.documents.redaction import shown
from daemon.documents.text import MAX_BYTES, refusal
from daemon.drives.recognition import Recognition
from daemon.drives.recognition.bays import Bays
from daemon.errors import ConfigError, DocumentError, Fault
from daemon.importexport import endpoint
from daemon.importexport.credentials import Credentials

ENDPOINT = "https://importexport.amazonaws.com"
SPOOL = "/var/lib/driveprep"  # systemd's StateDirectory
REQUESTS, MAX_REQUESTS = 32, 256
WORKERS, MAX_WORKERS = 8, 64
TIMEOUT_SECONDS = 15.0
DAILY_LIMIT, MAX_DAILY_LIMIT = 50, 100_000  # the guide's "Guidelines and limitations"
SHIP_WITHIN_DAYS = 3.0
DAY = 24 * 3600.0  # seconds
MAX_STATION = 64  # characters; a host name has as many, HOST_NAME_MAX
MAX_BAY = 32  # characters of a bay's name
DEVICE_KEYS = ("label", "serial", "wwn", "uuid", "partuuid")
EVENTS = (
    "accepted",
    "warning",
    "prepared",
    "rejected",
    "obstacle",
    "terminal",
    "unshipped",
    "service",
    "pool",
)
KEYS = (
    "endpoint", "credentials", "spool", "devices", "require_mapping", "validate_on_drop",
    "settle", "requests", "workers", "timeout", "eject", "hooks", "ca_bundle", "station",
    "ship_within", "bays", "only_bays", "require_empty", "daily_limit", "print", "board", "pool",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked."""

    endpoint: str
    credentials: Credentials
    spool: Path
    devices: Mapping[str, Mapping[str, str]]  # deviceId -> label, serial, wwn, uuid, partuuid
    require_mapping: bool  # a deviceId without an entry in devices matches no drive
    validate_on_drop: bool
    settle: float | None  # seconds; None: 1 on local, 5 on network file systems
    requests: int  # jobs that are under way at the service at once
    workers: int  # drives that are read or written at once
    timeout: float  # seconds, of one request
    eject: bool
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # event -> command, words
    station: str = ""  # this machine's name in receipts and exports
    ship_within: float = SHIP_WITHIN_DAYS * DAY  # seconds after a drive is signed
    bays: Mapping[str, str] = field(default_factory=dict)  # udev's ID_PATH -> name
    only_bays: bool = False  # a drive outside of them is never written to
    require_empty: bool = False  # a drive with anything on it waits for a person
    daily_limit: int = DAILY_LIMIT  # jobs that the service makes for the account on a day
    print: Mapping[str, PrintCommand] = field(default_factory=dict)  # by the kind of paper
    board: board.Board = field(default_factory=board.Board)  # a process of its own
    pool: pool.Pool = field(default_factory=pool.Pool)  # shared by several stations
    ca_bundle: str = ""  # a file or folder of certificate authorities; "": the machine's
    files: frozenset[Path] = field(default=frozenset(), compare=False)  # read for it
    warnings: tuple[Fault, ...] = field(default=(), compare=False)

    @property
    def recognition(self) -> Recognition:
        """Return the rules by which drives are recognised."""
        bays = Bays(self.bays, self.only_bays)
        return Recognition(self.devices, self.require_mapping, bays)


def load(path: Path, environment: Mapping[str, str], *, with_credentials: bool = True) -> Config:
    """Return the configuration in a file. `environment` is used for credentials only.

    Without `with_credentials` they are not looked for, and are empty: an operator must not read
    them. Raises ConfigError with all faults at once, in the order of the text.
    """
    data, mode = _read(path)
    root = _root(data, path)
    files = _files(root, path, environment)
    findings = Findings(str(path))
    top = Fields(root, KEYS, findings)
    account = _credentials(top, path, mode, environment) if with_credentials else None
    config = Config(
        endpoint=_endpoint(top),
        credentials=account or Credentials(_public_key(top), ""),  # not asked for, or a fault
        spool=Path(_absolute(top, "spool", top.text("spool") or SPOOL)),
        devices=_devices(top),
        require_mapping=top.flag("require_mapping", default=False),
        validate_on_drop=top.flag("validate_on_drop", default=True),
        settle=top.number("settle", 0, 3600),
        requests=_count(top, "requests", REQUESTS, MAX_REQUESTS),
        workers=_count(top, "workers", WORKERS, MAX_WORKERS),
        timeout=top.number("timeout", 1, 300) or TIMEOUT_SECONDS,
        eject=top.flag("eject", default=False),
        hooks=_hooks(top),
        station=_station(top),
        ship_within=(top.number("ship_within", 0.01, 30) or SHIP_WITHIN_DAYS) * DAY,
        bays=_bays(top),
        only_bays=top.flag("only_bays", default=False),
        require_empty=top.flag("require_empty", default=False),
        daily_limit=_count(top, "daily_limit", DAILY_LIMIT, MAX_DAILY_LIMIT),
        print=printing.commands(top, path.absolute().parent),
        board=_board(top),
        pool=_pool(top),
        ca_bundle=_ca_bundle(top),
        files=files,
    )
    _refuse_unknown(top)
    if findings.faults:
        raise _refusal(findings, files)
    return replace(config, warnings=findings.ordered_warnings())


def _refusal(findings: Findings, files: frozenset[Path]) -> DocumentError:
    error = refusal(findings.faults, ConfigError)
    if isinstance(error, ConfigError):
        error.files = files
    return error


def _files(root: nodes.Mapping, path: Path, environment: Mapping[str, str]) -> frozenset[Path]:
    """Return the files that are read: the configuration, and that of its secret. Any may miss."""
    group = root.plain().get("credentials")
    given = group if isinstance(group, dict) else {}
    path = path.absolute()
    return frozenset({path, *credentials.files(given, path.parent, environment)})


def _read(path: Path) -> tuple[bytes, int]:
    """Return the bytes of the file and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1), os.fstat(file.fileno()).st_mode
    except FileNotFoundError as error:
        hint = "copy config.example.yml there, or name another file with --config"
        raise ConfigError(f"{path} does not exist", hint=hint) from error
    except OSError as error:
        hint = (
            "use sudo, or join the group driveprep (sudo usermod -aG driveprep NAME); if you were"
            " just added, log out and in again"
        )
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from error


def _root(data: bytes, path: Path) -> nodes.Mapping:
    try:
        return reader.read(data, str(path))
    except DocumentError as error:
        raise ConfigError(str(error), error.faults, error.hint) from error


def _credentials(
    top: Fields, path: Path, mode: int, environment: Mapping[str, str]
) -> Credentials | None:
    group = top.group("credentials", credentials.KEYS)
    if group is None and top.has("credentials"):
        return None  # it has a fault
    group = group or Fields(nodes.Mapping((), 1, 1), credentials.KEYS, top.findings, "credentials")
    _refuse_unknown(group)
    try:
        if group.has("secret_access_key") or group.has("session_token"):
            credentials.refuse_if_open_to_all(path, mode)
            key = "secret_access_key" if group.has("secret_access_key") else "session_token"
            credentials.warn_if_shared(group, key, path)
        return credentials.find(group, path.parent, environment)
    except ConfigError as error:
        group.lack(str(error), error.hint)
        return None


def _public_key(top: Fields) -> str:
    """Return the access key id, which is no secret, if the file has it."""
    group = top.group("credentials", credentials.KEYS) if top.has("credentials") else None
    return (group.optional("access_key_id") if group else None) or ""


def _endpoint(top: Fields) -> str:
    url = top.text("endpoint") or ENDPOINT
    if found := endpoint.fault(url):
        top.fault("endpoint", *found)
    return url


def _absolute(fields: Fields, key: str, path: str) -> str:
    if not path.startswith("/"):
        fields.fault(key, f"expected an absolute path, got {shown(path)!r}", "start it with /")
    return path


def _station(top: Fields) -> str:
    station = top.text("station") or socket.gethostname()
    if len(station) > MAX_STATION or not station.isprintable():
        top.fault("station", "is not a short name", f"write at most {MAX_STATION} characters")
    return station


def _ca_bundle(top: Fields) -> str:
    path = top.text("ca_bundle") or ""
    if path and not Path(_absolute(top, "ca_bundle", path)).exists():
        top.fault(
            "ca_bundle", f"{shown(path)} does not exist", "name a PEM file, or delete the key"
        )
    return path


def _board(top: Fields) -> board.Board:
    group = top.group("board", board.KEYS)
    if group is None:
        return board.Board()
    _refuse_unknown(group)
    return board.read(group)


def _pool(top: Fields) -> pool.Pool:
    group = top.group("pool", pool.KEYS)
    if group is None:
        return pool.Pool()
    _refuse_unknown(group)
    return pool.read(group)


def _count(top: Fields, key: str, default: int, most: int) -> int:
    count = top.number(key, 1, most)
    if count is not None and not count.is_integer():
        top.fault(key, "expected a whole number", f"write a number from 1 to {most}")
    return default if count is None else int(count)


def _devices(top: Fields) -> dict[str, dict[str, str]]:
    devices: dict[str, dict[str, str]] = {}
    seen: dict[frozenset[tuple[str, str]], str] = {}
    for device_id, entry in top.groups_by_name("devices", DEVICE_KEYS):
        _refuse_unknown(entry)
        keys = {key: text for key in DEVICE_KEYS if (text := entry.text(key)) is not None}
        twin = seen.setdefault(frozenset(keys.items()), device_id)
        if not keys:
            entry.lack("has no keys", f"add one of {', '.join(DEVICE_KEYS)}")
        elif twin != device_id:
            problem = f"has the same keys as {shown(twin)}"
            entry.lack(problem, "add a key in which they differ")
        devices[device_id] = keys
    return devices


def _bays(top: Fields) -> dict[str, str]:
    """Return the names of ports. One name can have several, one port has one name."""
    group = top.group("bays")
    bays: dict[str, str] = {}
    for name in group.names if group else ():
        if group is None or not _is_bay(group, name):
            continue
        for path in group.one_or_more(name):
            if (other := bays.setdefault(path, name)) != name:
                group.fault(name, f"has the path of {shown(other)}", "name each path once")
    if top.flag("only_bays", default=False) and not bays:
        top.fault("only_bays", "no bay has a name", "add `bays`, or write only_bays: false")
    return bays


def _is_bay(group: Fields, name: str) -> bool:
    if len(name) <= MAX_BAY and name.isprintable() and name.strip():
        return True
    group.fault(name, "is not a short name", f"write at most {MAX_BAY} characters")
    return False


def _hooks(top: Fields) -> dict[str, tuple[str, ...]]:
    group = top.group("hooks", EVENTS)
    if group is None:
        return {}
    _refuse_unknown(group)
    hooks = {event: words for event in EVENTS if (words := group.texts(event))}
    for event, words in hooks.items():
        _absolute(group, event, words[0])
    return hooks


def _refuse_unknown(fields: Fields) -> None:
    for key, path, remedy in fields.unknown():
        fields.findings.fault(key, path, "is not a known key", remedy)
