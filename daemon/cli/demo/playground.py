"""`driveprep demo --keep`: a station to try things on, in one folder, until `demo --stop`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import psutil

from daemon.cli.demo.station import (
    MANIFEST,
    STEP_SECONDS,
    Station,
    check_machine,
    command,
)
from daemon.errors import DriveprepError

DEVICE_IDS = ("HD001", "HD002", "HD003")
PROCESSES = "processes.json"  # marks a folder as a playground
STARTED = """\
{folder} is a station of its own: emulator and daemon are running.

   {folder}/config.yml      export DRIVEPREP_CONFIG={folder}/config.yml
   {folder}/template.yml    the guide's manifest
   {folder}/HD001.img       the drives HD001, HD002 and HD003, which are still empty;
   {folder}/mnt             mount -t ntfs-3g -o loop {folder}/HD001.img {folder}/mnt
   {folder}/run.log         what the daemon reports
   {folder}/emulator.log    what the service on this machine reports

driveprep demo --stop {folder}    ends and removes all of it\
"""


def keep(folder: Path) -> None:
    """Make a playground in a new folder, and leave it running. Raises DriveprepError."""
    check_machine()
    folder = folder.absolute()
    try:
        folder.mkdir()
    except FileExistsError as error:
        hint = f"Name another folder; a playground ends with: driveprep demo --stop {folder}"
        raise DriveprepError(f"{folder} already exists", hint) from error
    station = Station(folder)
    try:
        _fill(station)
    except BaseException:
        station.stop()
        shutil.rmtree(folder)
        raise
    click.echo(STARTED.format(folder=folder))


def stop(folder: Path) -> None:
    """End and remove a playground, with everything that is mounted of it. Raises DriveprepError."""
    folder = folder.absolute()
    if not (folder / PROCESSES).is_file():
        raise DriveprepError(f"{folder} is not a playground", "Name one that `demo --keep` made.")
    processes = list(_running(folder))
    for process in processes:
        process.terminate()
    psutil.wait_procs(processes, STEP_SECONDS)
    for image in folder.glob("*.img"):
        _detach(image)
    shutil.rmtree(folder)
    click.echo(f"{folder} is gone")


def _fill(station: Station) -> None:
    (station.folder / "mnt").mkdir()
    (station.folder / "template.yml").write_text(MANIFEST)
    station.start_emulator()
    station.start_daemon({device_id: station.make_image(device_id) for device_id in DEVICE_IDS})
    numbers = [process.pid for process in station.processes.values()]
    (station.folder / PROCESSES).write_text(json.dumps(numbers))


def _running(folder: Path) -> Iterator[psutil.Process]:
    """Yield its processes that still run. Another one may have got the number meanwhile."""
    for number in json.loads((folder / PROCESSES).read_bytes()):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(number)
            if any(word.startswith(f"{folder}/") for word in process.cmdline()):
                yield process


def _detach(image: Path) -> None:
    """Unmount a drive, wherever it is mounted, and free its loop device."""
    devices = command("losetup", "--noheadings", "--output", "NAME", "--associated", str(image))
    for device in devices.split():
        mounted = [
            one.mountpoint for one in psutil.disk_partitions(all=True) if one.device == device
        ]
        for place in mounted:
            command("umount", place)
        with suppress(DriveprepError):  # `mount -o loop` has freed it at the unmount
            command("losetup", "--detach", device)
