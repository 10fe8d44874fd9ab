"""A world in one process: a spool, drives that are plain folders, the emulated service, a clock.

The daemon runs in it as `build` wires it, to the point where it only waits: a worker has finished
when it is started, and waiting costs nothing but the clock's time.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import crash
import remains
from outside import ENDPOINT, TIMEOUT, Clock, Event, PatientBell, Shelf, Wire, Worker

from daemon.config.loading import Config
from daemon.config.pool import Pool
from daemon.drives.drive import Drive
from daemon.drives.identity import Identity
from daemon.drives.mounts import Mount
from daemon.drives.sysfs import Device
from daemon.importexport.client import Client
from daemon.importexport.emulator import EXAMPLE
from daemon.importexport.emulator.store import Job as Made
from daemon.importexport.transport import Transport
from daemon.jobs import schema
from daemon.jobs.journal import Journal
from daemon.service.bell import Ring
from daemon.service.build import Outside, build
from daemon.spool.dropping import drop
from daemon.spool.spool import Found, Spool
from daemon.system.clocks import Clocks

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text("utf-8")


def manifest(device_id: str = "HD001", prefix: str = "logs/", city: str = "Berlin") -> bytes:
    """The guide's manifest for a deviceId; with another `prefix` it is another text."""
    text = GUIDE.replace("HD001", device_id).replace("Your City", city)
    return f"logPrefix:{prefix}\n{text}".encode()


@dataclass(frozen=True)
class Photo:
    """All that is left of a world when its daemon is gone."""

    files: Mapping[str, bytes | None]  # contents by path; None is a folder
    made: tuple[Made, ...]
    mounted: tuple[Drive, ...]
    now: float


class World:
    """One spool, one service, some drives. All that lasts of it is in one folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="driveprep-", dir=remains.FAST))
        self.spool = self.folder / "spool"
        self.media = self.folder / "media"
        self.media.mkdir()
        self.clock = Clock()
        self.shelf = Shelf()
        self.wire = Wire(self.clock)
        self.events: list[Event] = []  # in each life of the daemon, as soon as it is idle
        self.on_timer = lambda: None  # what the daemon does on each timer besides its scans
        self.validate_on_drop = True
        self.pool = Pool()
        self.endpoint = ENDPOINT  # any other is really connected to
        self.durable = remains.Durable(self.folder)
        self._numbers = count(1)
        self._journal: Journal | None = None

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.durable.close()
        shutil.rmtree(self.folder)

    def drop(self, name: str, data: bytes) -> None:
        """Put a manifest into pending/."""
        pending = self.spool / "pending"
        pending.mkdir(parents=True, exist_ok=True)
        drop(pending, name, data)

    def new_drive(self, label: str, serial: str = "", place: str = "") -> Drive:
        """A formatted drive, its root a folder of its own; it is not mounted yet."""
        number = next(self._numbers)
        folder = self.media / (place or f"{label}{serial}")
        folder.mkdir(parents=True, exist_ok=True)
        device_number = folder.stat().st_dev
        node = f"/dev/sd{number}"
        return Drive(
            Device(device_number, node, number, number, 1 << 30, is_write_protected=False),
            Identity(file_system="ntfs", label=label, uuid=serial or None, serial=serial or None),
            Mount(number, 27, device_number, "/", str(folder), "rw", "fuseblk", node, "rw"),
        )

    def plug_in(self, label: str, serial: str = "") -> Path:
        """Mount a new drive; its root."""
        drive = self.new_drive(label, serial)
        self.mount(drive)
        return Path(drive.mount_point)

    def mount(self, drive: Drive) -> Ring:
        """Mount a drive if it is not mounted, and ring. Idempotent."""
        if not self.shelf.has(drive):
            self.shelf.drives.append(drive)
        return Ring.MOUNTS

    def unmount(self, drive: Drive) -> Ring:
        """Pull a drive out, and ring. Idempotent."""
        self.shelf.drives[:] = [other for other in self.shelf.drives if other != drive]
        return Ring.MOUNTS

    def made(self) -> tuple[Made, ...]:
        """The service's jobs, oldest first."""
        self.wire.land()
        return self.wire.service.jobs()

    def rows(self) -> list[dict[str, Any]]:
        """The journal, as it lies on the disk."""
        return remains.rows(self.files())

    def files(self) -> dict[str, bytes | None]:
        """All that lies in the world's folder."""
        return remains.tree(self.folder)

    def photo(self) -> Photo:
        """What a SIGKILL would leave now."""
        return Photo(self.files(), self.made(), self.shelf.mounted(), self.clock.now)

    def photo_after_power_cut(self) -> Photo:
        """What a power cut would leave now, if all is lost that can be: whatever is not synced."""
        return replace(self.photo(), files=self.durable.files())

    def restore(self, photo: Photo) -> None:
        """Go back to that moment, with no daemon running."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        for name, data in sorted(photo.files.items()):
            if data is None:
                (self.folder / name).mkdir()
            else:
                (self.folder / name).write_bytes(data)
        self.shelf.drives[:] = photo.mounted
        self.clock.now = photo.now
        self.wire.hold(photo.made)

    def live(self, before: crash.Before | None = None, *, patience: float = 3600.0) -> None:
        """Start the daemon, and stop it when no job is left or `patience` seconds have passed.

        `before` hears each effect; where it raises Killed, the daemon is gone as by a SIGKILL.
        """
        self.durable.begin()
        with crash.listening(before or (lambda what: None)) as effects:
            effects.synced = self.durable.sync
            try:
                self._run(patience)
            except crash.Killed:
                self._bury(effects)
                raise

    def is_at_rest(self, ledger: Journal, started_at: float) -> bool:
        """Return whether a daemon that waits, and was started then, has nothing left to do."""
        del started_at
        return not ledger.unfiled()

    def _run(self, patience: float) -> None:
        """The daemon's own wiring, with this world outside of it."""
        self._journal = None
        folder = _Spool(self.spool, 1.0, self.clock)
        ledger = Journal(self.spool, self.clock, is_new=folder.is_new())
        self._journal = ledger
        at_rest = partial(self.is_at_rest, ledger, self.clock.now)
        bell = PatientBell(self.clock, list(self.events), patience, at_rest)
        settings = self._settings()
        clients: list[Client] = []
        outside = Outside(
            Clocks(self.clock, self.clock),
            self.shelf,  # type: ignore[arg-type] # as far as the daemon calls it
            lambda settings, clocks: clients.append(self._client(settings)) or clients[-1],
            Worker,
            lambda least, most: most,
        )
        try:
            build(settings, self._settings, bell, folder, ledger, outside, self.on_timer).run()
        finally:
            for client in clients:
                client.close()  # changes nothing but this process
        ledger.close()

    def _settings(self) -> Config:
        return Config(
            endpoint=self.endpoint,
            credentials=EXAMPLE,
            spool=self.spool,
            devices={},
            require_mapping=False,
            validate_on_drop=self.validate_on_drop,
            settle=None,
            requests=8,
            workers=8,
            timeout=TIMEOUT,
            eject=False,
            pool=self.pool,
        )

    def _client(self, settings: Config) -> Client:
        opened = (lambda *_: self.wire) if self.endpoint == ENDPOINT else Transport
        return Client(
            settings.endpoint,
            settings.credentials,
            settings.timeout,
            clock=self.clock,
            transport=lambda *place: crash.heard(opened(*place)),
        )

    def _bury(self, effects: crash.Effects) -> None:
        left = {path: path.read_bytes() for path in self.spool.glob(f"{schema.NAME}*")}
        effects.bury()
        if self._journal:
            self._journal.close()
        for path in self.spool.glob(f"{schema.NAME}*"):
            path.unlink()
        for path, data in left.items():
            if not path.name.endswith("-shm"):
                path.write_bytes(data)


class _Spool(Spool):
    """A spool whose stamps a restored file still has, and finer than the kernel's ticks."""

    def take_noticed(self) -> list[str]:
        """Everything that is there, or was, as if each event named it; at the start nothing."""
        before, self._listed = self._listed, self.names()
        return [] if before is None else list({*before, *self._listed})

    _listed: list[str] | None = None

    def _found(self, name: str) -> Found | None:
        found = super()._found(name)
        with suppress(OSError):
            if found and found.is_regular:
                digest = hashlib.sha256((self.pending / name).read_bytes()).hexdigest()
                return replace(found, stamp=digest[:16])
        return found
