"""`driveprep demo`: the main job on a real NTFS image, shown step by step, then cleaned up.

Emulator and daemon are real processes, the drive is a loop device mounted with ntfs-3g. What is
shown is read back from the drive, the spool and the service, never assumed.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from daemon.cli.demo.station import (
    ACCOUNT,
    MANIFEST,
    STEP_SECONDS,
    Station,
    check_machine,
    command,
)
from daemon.importexport.client import Client

DEVICE_ID = "HD001"


def run() -> None:
    """Run the whole story. Raises DriveprepError where this machine cannot; leaves nothing."""
    check_machine()
    # Ctrl-C and SIGTERM end the story early, but never without the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as clean_up:
        folder = Path(clean_up.enter_context(tempfile.TemporaryDirectory(prefix="driveprep-demo-")))
        station = Station(folder)
        clean_up.callback(station.stop)
        _Story(clean_up, station).run()
    _heading("Everything that the demo made is gone again.")


class _Story:
    """One demo in one temporary folder; what it mounts goes on the clean-up's stack."""

    def __init__(self, clean_up: ExitStack, station: Station) -> None:
        self._clean_up = clean_up
        self._station = station
        self._pending = station.spool / "pending"
        self._mount_point = station.folder / DEVICE_ID

    def run(self) -> None:
        station, signature = self._station, self._mount_point / "SIGNATURE"
        _heading("1. A service on this machine that speaks the API (driveprep emulator)")
        station.start_emulator()
        _detail(f"listens on {station.endpoint}")

        _heading("2. The daemon (driveprep run)")
        station.start_daemon({DEVICE_ID: station.make_image(DEVICE_ID)})
        _detail(f"watches {self._pending}")

        _heading("3. The operator drops the guide's example manifest into pending/")
        partial = self._pending / ".HD001.yml.part"
        partial.write_text(MANIFEST)
        partial.rename(self._pending / "HD001.yml")
        job = station.until("the manifest is taken in", lambda: station.job("Pending"))
        _detail(f"job for {job['deviceId']}: {job['state']}; {job['obstacle'] or 'being checked'}")

        _heading("4. The operator plugs in the drive HD001 (NTFS on a loop device)")
        device = self._attach()
        self._mount(device)
        mounted_at = time.monotonic()
        _detail(f"{device} is mounted at {self._mount_point}")
        station.until("SIGNATURE is on the drive", signature.exists)
        _detail(f"SIGNATURE was there {time.monotonic() - mounted_at:.2f} s later")
        job = station.until("the papers are filed", self._filed)

        _heading("5. What there is now")
        _quote("SIGNATURE, in the drive's root", signature.read_text())
        _quote("ship it to", str(job["shippingAddress"]))
        _detail("in the spool:")
        for paper in sorted((station.spool / "prepared").rglob("*")):
            _detail(f"   {paper.relative_to(station.spool)}")
        jobs = list(Client(station.endpoint, ACCOUNT, STEP_SECONDS).list_jobs())
        _detail(f"jobs at the service: {len(jobs)} ({', '.join(one.job_id for one in jobs)})")

    def _attach(self) -> str:
        device = command("losetup", "--find", "--show", str(self._station.image(DEVICE_ID)))
        self._clean_up.callback(command, "losetup", "--detach", device)
        return device

    def _mount(self, device: str) -> None:
        self._mount_point.mkdir()
        command("mount", "-t", "ntfs-3g", device, str(self._mount_point))
        self._clean_up.callback(command, "umount", str(self._mount_point))

    def _filed(self) -> dict[str, object] | None:
        is_filed = not any(self._pending.iterdir())
        return self._station.job("Signed") if is_filed else None


def _heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _detail(text: str) -> None:
    click.echo(f"   {text}")


def _quote(title: str, text: str) -> None:
    _detail(f"{title}:")
    for line in text.splitlines():
        _detail(f"   | {line}")
