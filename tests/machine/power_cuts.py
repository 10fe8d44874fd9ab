"""Power cuts of the whole workstation: system disk and drives lose what was not flushed.

The service is on another machine (this one) and keeps its jobs. In the end there are as many jobs
as manifests, and each drive's raw medium has its SIGNATURE.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import sources
from day import INSTALL, INSTALL_SECONDS, KEEP_SECRET, MANIFEST, SECRET, SETTINGS, job, prepared
from image import OPERATOR, image
from machine import START, Machine, ntfs_drive, wait_for
from volatile_disk import VolatileDisk

from daemon.importexport.emulator import Emulator

pytestmark = pytest.mark.timeout(7200)

DRIVES = 3  # in each round
LONGEST = 60.0  # seconds until a cut; preparing takes most of them, emulated
NAMES = ("debian-13", "debian-13-backports")
# ntfs-3g is the same in both; the newer kernel has `ntfs` in the place of ntfs3.
DRIVERS = {"debian-13": ("ntfs-3g", "ntfs3"), "debian-13-backports": ("ntfs",)}


class Station:
    """A workstation whose power can be cut, with the service at the other end of a tunnel."""

    def __init__(self, name: str, folder: Path, service: Emulator) -> None:
        self.folder, self.service = folder, service
        self.base = image(name)
        system = folder / "system.img"
        subprocess.run(["cp", "--sparse=always", self.base.disk, system], check=True)
        self.system = VolatileDisk(system, folder / "system")
        self.machine = Machine(self.base, folder, self.system)
        self.drives: dict[str, VolatileDisk] = {}  # by label; those that are plugged in
        self._tunnel: subprocess.Popen[bytes] | None = None
        self._chance = random.Random(14)

    def boot(self) -> None:
        """Switch it on, and plug in again what was plugged in."""
        print(f"booted in {self.machine.start():.0f} s")
        self._open_tunnel()
        for label, drive in self.drives.items():
            self.machine.plug(drive, label, f"WD-{label}")

    def plug(self, label: str) -> None:
        """Plug in a new drive."""
        file = ntfs_drive(self.folder / f"{label}.img", label)
        self.drives[label] = VolatileDisk(file, self.folder / f"{label}.socket")
        self.machine.plug(self.drives[label], label, f"WD-{label}")

    def cut(self, kept: float = 0.5) -> int:
        """Cut the power of all; return how many blocks the caches had."""
        self._close_tunnel()
        self.machine.kill()
        disks = [self.system, *self.drives.values()]
        return sum(disk.cut(self._chance, kept) for disk in disks)

    def pull(self, label: str) -> bytes:
        """Pull a drive without asking anybody; return the SIGNATURE on its raw medium."""
        drive = self.drives.pop(label)
        drive.cut(self._chance, 0.0)
        self.machine.unplug(label)
        drive.close()
        return on_medium(drive.file)

    def submit(self, label: str) -> None:
        """Drop a manifest for that drive."""
        self.machine.write(f"{label}.yml", MANIFEST.format(device_id=label), OPERATOR)
        self.machine.sh(f"driveprep submit {label}.yml", OPERATOR)

    def close(self) -> None:
        """Switch it off for good."""
        self._close_tunnel()
        self.machine.kill()
        for disk in [self.system, *self.drives.values()]:
            disk.close()

    def _open_tunnel(self) -> None:
        port = self.service.endpoint.rpartition(":")[2]
        command = self.machine._ssh("root")
        command[-1:] = ["-S", "none", "-N", "-R", f"127.0.0.1:8470:127.0.0.1:{port}", command[-1]]
        self._tunnel = subprocess.Popen(command)

    def _close_tunnel(self) -> None:
        if self._tunnel:
            self._tunnel.kill()
            self._tunnel.wait()
        self._tunnel = None


def on_medium(file: Path) -> bytes:
    """Return SIGNATURE as ntfs-3g's tools read it from a raw medium; b"" if there is none.

    The file's own record must have the name that its folder has: ntfs3 writes the two apart.
    """
    partition = file.with_suffix(".partition")
    with file.open("rb") as disk, partition.open("wb") as part:
        disk.seek(START * 512)
        shutil.copyfileobj(disk, part)
    command = ["ntfsinfo", "-f", "-F", "SIGNATURE", partition]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    names = re.findall(r"Filename:\s+'([^']*)'", told)
    assert set(names) <= {"SIGNATURE"}, names
    command = ["ntfscat", "-f", partition, "SIGNATURE"]
    return subprocess.run(command, capture_output=True, check=False).stdout


def signature_of(service: Emulator, label: str) -> bytes:
    """Return what SIGNATURE must be, for the one job of a drive."""
    (made,) = [one for one in service.jobs if one.device_id == label]
    lines = ["version:2.0", "signingMethod:HmacSHA1", f"jobId:{made.job_id}"]
    return "\n".join([*lines, f"signature:{made.signature}", ""]).encode()


@pytest.fixture(scope="module", params=NAMES)
def station(request, tmp_path_factory) -> Iterator[Station]:
    """A workstation with driveprep installed, and drives mounted as they are plugged in."""
    tmp_path = tmp_path_factory.mktemp("station")
    with ExitStack() as stack:
        service = stack.enter_context(Emulator())
        one = Station(request.param, tmp_path, service)
        stack.callback(one.close)
        one.boot()
        one.machine.write("/root/sources.tar", sources(tmp_path, one.base.python))
        one.machine.sh("tar -xf sources.tar")
        one.machine.sh(f"{INSTALL} --automount", seconds=INSTALL_SECONDS)
        one.machine.sh(f"usermod -aG driveprep {OPERATOR}")
        one.machine.write("/etc/driveprep/config.yml", SETTINGS.replace("120", "20"))
        one.machine.sh(f"echo {SECRET} | {KEEP_SECRET}")
        one.machine.sh("systemctl restart driveprep; sync")
        yield one


def test_safe_to_remove_is_safe(station: Station, request) -> None:
    """The power fails right after these words; nothing that was not flushed is kept."""
    name = request.node.callspec.params["station"]
    for driver in DRIVERS[name]:
        label = f"HD{driver.upper().replace('-', '')}"
        station.machine.sh("systemctl stop driveprep")
        station.plug(label)
        link = f"/dev/disk/by-label/{label}"
        wait_for(
            "udev knows it", lambda link=link: station.machine.sh_code(f"test -b {link}")[0] == 0
        )
        station.machine.sh(f"modprobe {driver} 2>/dev/null; mkdir -p /mnt/{label}")
        own = "" if driver == "ntfs-3g" else "-i"  # mount.ntfs(8) is ntfs-3g
        station.machine.sh(f"mount {own} -t {driver} {link} /mnt/{label}")
        station.submit(label)
        told = f"grep -m 1 '{label}.*safe to remove' <(journalctl -o cat -fn 0 2>/dev/null)"
        start = "(sleep 1; systemctl start driveprep) >/dev/null 2>&1 &"
        station.machine.sh(f"{start} {told}")
        station.cut(kept=0.0)
        drive = station.drives.pop(label)
        drive.close()
        assert on_medium(drive.file) == signature_of(station.service, label), driver
        print(f"{name}: {driver}: SIGNATURE is on the medium")
        station.boot()
        wait_for("it is filed", lambda label=label: job(station.machine, label)["safeToRemove"])


def test_the_power_fails_again_and_again(station: Station, request) -> None:
    """At any moment: one job for each manifest, the right SIGNATURE, the service up by itself."""
    cuts, jobs_before = request.config.getoption("cuts"), len(station.service.jobs)
    chance, labels, lost = random.Random(38), [], 0
    for cut in range(cuts):
        new = [f"HD{cut}{number:02}" for number in range(DRIVES)]
        labels += new
        for label in new:
            station.submit(label)
            station.plug(label)
        time.sleep(chance.uniform(0, LONGEST))  # the power waits for nothing
        lost += station.cut()
        station.boot()
        for label in new:
            prepared(station.machine, label)
        for label in new:
            assert station.pull(label) == signature_of(station.service, label), label
        print(f"cut {cut + 1}: {len(labels)} manifests, {lost} blocks were in the caches")
    assert len(station.service.jobs) - jobs_before == len(labels)
    assert lost > 0
