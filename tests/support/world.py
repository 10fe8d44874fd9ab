"""A world in one process: a spool, drives that are plain folders, the emulated service, a clock.

The daemon's own rooms run in it to the point where they only wait, with `Service.run` as their
loop: a worker is done when it is started, and waiting costs nothing but the clock's time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import crash
import remains
from outside import ENDPOINT, TIMEOUT, Clock, Event, PatientBell, Shelf, Wire, Worker

from daemon.drives.drive import Drive
from daemon.drives.identity import Identity
from daemon.drives.mounts import Mount
from daemon.drives.sysfs import Device
from daemon.importexport import client, transport
from daemon.importexport.emulator import EXAMPLE
from daemon.importexport.emulator.store import Job as Made
from daemon.jobs import journal, schema
from daemon.preparation import packing_slip, steps
from daemon.preparation.intake import Intake
from daemon.preparation.polling import Following
from daemon.service import loop, retry, workers
from daemon.service.bell import Ring
from daemon.service.outcomes import Aftermath
from daemon.spool import spool

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
        self.validate_on_drop = True
        self.endpoint = ENDPOINT  # any other is really connected to
        self.durable = remains.Durable(self.folder)
        self._numbers = count(1)
        self._journal: journal.Journal | None = None

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.durable.close()
        shutil.rmtree(self.folder)

    def drop(self, name: str, data: bytes) -> None:
        """Put a manifest into pending/."""
        pending = self.spool / "pending"
        pending.mkdir(parents=True, exist_ok=True)
        spool.drop(pending, name, data)

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
        with self._in_place(), crash.listening(before or (lambda what: None)) as effects:
            effects.synced = self.durable.sync
            try:
                self._run(patience)
            except crash.Killed:
                self._bury(effects)
                raise

    def _run(self, patience: float) -> None:
        """The rooms, as `foreground.run` builds them."""
        self._journal = None
        folder = spool.Spool(self.spool, 1.0, self.clock)
        ledger = journal.Journal(self.spool, self.clock, is_new=folder.is_new())
        self._journal = ledger
        outfit = self._outfit(ledger, folder)
        bell = PatientBell(self.clock, list(self.events), patience, lambda: not ledger.unfiled())
        try:
            loop.Service(
                bell,  # type: ignore[arg-type] # as far as the service calls it
                ledger,
                folder,
                Intake(folder, ledger, self.clock),
                self.shelf,  # type: ignore[arg-type] # the same
                outfit,
                lambda: outfit,
            ).run()
        finally:
            outfit.preparation.client.close()  # changes nothing but this process
        ledger.close()

    def _outfit(self, ledger: journal.Journal, folder: spool.Spool) -> loop.Outfit:
        caller = client.Client(self.endpoint, EXAMPLE, TIMEOUT)
        path = steps.Preparation(
            journal=ledger,
            spool=folder,
            drives=self.shelf,  # type: ignore[arg-type] # as far as it is called
            client=caller,
            following=Following(ledger, caller, self.clock),
            endpoint=self.endpoint,
            access_key_id=EXAMPLE.access_key_id,
            timeout=TIMEOUT,
            clock=self.clock,
            steady=self.clock,
        )
        return loop.Outfit(path, Aftermath(ledger, self.clock), {}, False, self.validate_on_drop, 8)

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """This world in the place of the machine."""
        time = SimpleNamespace(time=self.clock, monotonic=self.clock)
        found = spool.Spool._found
        places: list[tuple[Any, str, Any]] = [
            (loop, "time", time),
            (client, "time", time),
            (retry, "random", SimpleNamespace(uniform=lambda least, most: most)),
            (workers, "threading", SimpleNamespace(Thread=Worker)),
            (steps, "is_still", self.shelf.has),
            (packing_slip, "render", _rendered),
            (spool.Spool, "_found", lambda folder, entry: _stamped(found(folder, entry), entry)),
        ]
        if self.endpoint == ENDPOINT:
            places.append((transport, "Transport", lambda *_: self.wire))
        with ExitStack() as stack:
            for target, name, value in places:
                stack.enter_context(patch.object(target, name, value))
            yield

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


RENDER = packing_slip.render
SHEETS: dict[str, str] = {}  # thousands of lives need a few sheets; each is made once


def _rendered(values: packing_slip.Slip) -> str:
    key = repr(asdict(values))
    if key not in SHEETS:
        SHEETS[key] = RENDER(values)
    return SHEETS[key]


def _stamped(found: spool.Found | None, entry: os.DirEntry[str]) -> spool.Found | None:
    """A stamp that a restored file still has, and that is finer than the kernel's ticks."""
    with suppress(OSError):
        if found and found.is_regular:
            digest = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
            return replace(found, stamp=digest[:16])
    return found
