"""Real drives: file systems in image files on loop devices, mounted by the kernel and ntfs-3g.

A machine where that cannot work fails these tests in CI (CI=true) and skips them elsewhere. Loop
devices are found, never assumed, and only those of our own images are ever detached.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.drives import mounts

MIB = 1024 * 1024
MAKE = {
    "ntfs": ["mkfs.ntfs", "-F", "-Q", "-q", "-L"],
    "vfat": ["mkfs.vfat", "-n"],
    "ext4": ["mkfs.ext4", "-F", "-q", "-L"],
}
MOUNT = {"ntfs": "ntfs-3g", "vfat": "vfat", "ext4": "ext4"}


def run(*command: str | Path) -> str:
    """What the command prints; its failure shows what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {os.fsdecode(done.stderr)}"
    return os.fsdecode(done.stdout).strip()


def wait_until(what: str, is_so: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition; the test fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def loops_of(image: Path) -> list[str]:
    """The loop devices that show this image."""
    return [line.partition(":")[0] for line in run("losetup", "-j", image).splitlines()]


def is_mounted(place: Path) -> bool:
    """Whether something is mounted exactly there, be it as dead as it may."""
    return any(mount.mount_point == str(place) for mount in mounts.read())


def attach(image: Path, *options: str) -> str:
    """A free loop device that now shows the image."""
    for _ in range(20):  # another program can take the free device between find and use
        done = subprocess.run(
            ["losetup", *options, "--find", "--show", str(image)], capture_output=True, check=False
        )
        if done.returncode == 0:
            return os.fsdecode(done.stdout).strip()
    raise AssertionError(f"no loop device: {os.fsdecode(done.stderr)}")


def detach(image: Path, *, wait: bool = True) -> None:
    """Take the image off its loop devices, and wait until it is. Idempotent."""
    for loop in loops_of(image):
        subprocess.run(["losetup", "-d", loop], capture_output=True, check=False)
    if wait:  # ntfs-3g lets go of the device a moment after the unmount
        wait_until(f"{image} is detached", lambda: not loops_of(image))


@dataclass
class RealDrive:
    """A file system on a loop device, or on a partition of one."""

    image: Path
    device: str
    file_system: str
    label: str
    mount_point: Path
    places: list[Path] = field(default_factory=list)  # all that was mounted for it, in order

    def mount(self, *options: str) -> RealDrive:
        """Mount it at its mount point, with these `-o` options."""
        self.mount_point.mkdir(parents=True, exist_ok=True)
        chosen = ["-o", ",".join(options)] if options else []
        command = ["mount", "-t", MOUNT[self.file_system], *chosen, self.device, self.mount_point]
        done = subprocess.run(command, capture_output=True, check=False)
        told = os.fsdecode(done.stderr)
        if "unknown filesystem type 'vfat'" in told:
            pytest.skip("this kernel was built without vfat")
        assert done.returncode == 0, told
        self.places.append(self.mount_point)
        return self

    def bind(self, place: Path, folder: str = ".") -> None:
        """Show the drive's folder at another place too."""
        place.mkdir(parents=True)
        run("mount", "--bind", self.mount_point / folder, place)
        self.places.append(place)

    def cover(self, place: Path) -> None:
        """Hide what is at this place behind a new, empty memory file system."""
        run("mount", "-t", "tmpfs", "driveprep-test", place)
        self.places.append(place)

    def unmount(self, *, lazily: bool = False) -> None:
        """Unmount all of it, last first. Idempotent."""
        while self.places:
            place = self.places[-1]
            if is_mounted(place):
                run("umount", *(["--lazy"] if lazily else []), place)
            self.places.pop()  # not before: what is busy stays ours to clean up

    def make(self, label: str) -> None:
        """A new file system on the same medium: another label, another UUID."""
        run(*MAKE[self.file_system], label, self.device)
        self.label = label

    def pull(self) -> None:
        """Unmounted without asking, and gone. Idempotent."""
        self.unmount(lazily=True)
        detach(self.image)

    def replug(self, other: RealDrive) -> None:
        """Pull it, and plug `other`'s image in at the same loop device, unless that is taken."""
        loop = self.device
        self.pull()
        other.pull()
        done = subprocess.run(["losetup", loop, str(other.image)], capture_output=True, check=False)
        other.device = loop if done.returncode == 0 else attach(other.image)


Plug = Callable[..., RealDrive]


@pytest.fixture(scope="session")
def real_drives_work() -> None:
    """Stop here where this machine has no loop devices, no FUSE or no ntfs-3g."""
    programs = [
        "losetup",
        "mount",
        "mkfs.ntfs",
        "mkfs.vfat",
        "mkfs.ext4",
        "ntfs-3g",
        "sfdisk",
        "partx",
    ]
    missing = [program for program in programs if not shutil.which(program)]
    if os.geteuid() != 0:
        missing.append("root's rights")
    missing += [node for node in ("/dev/fuse", "/dev/loop-control") if not Path(node).exists()]
    if missing:
        reason = f"real drives need {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def plug(tmp_path: Path, real_drives_work: None) -> Iterator[Plug]:
    """Make drives: `plug("HD001", file_system="ntfs")`. All are gone after the test."""
    drives: list[RealDrive] = []
    images: list[Path] = []

    def plug(label: str, file_system: str = "ntfs", *, read_only: bool = False) -> RealDrive:
        image = tmp_path / f"{len(images)}.img"
        images.append(image)
        with image.open("wb") as file:
            file.truncate(4 * MIB)
        run(*MAKE[file_system], label, image)
        device = attach(image, *(["--read-only"] if read_only else []))
        place = tmp_path / "media" / f"{len(drives)}"
        drives.append(RealDrive(image, device, file_system, label, place))
        return drives[-1]

    yield plug
    _remove(drives, images)


@pytest.fixture
def plug_disk(tmp_path: Path, real_drives_work: None) -> Iterator[Callable[..., list[RealDrive]]]:
    """Make one disk of several partitions: `plug_disk(("ntfs", "HD001"), ("vfat", "EFI"))`."""
    drives: list[RealDrive] = []
    images: list[Path] = []

    def plug_disk(*contents: tuple[str, str]) -> list[RealDrive]:
        image = tmp_path / f"disk{len(images)}.img"
        images.append(image)
        with image.open("wb") as file:
            file.truncate((len(contents) * 4 + 2) * MIB)
        table = "label: gpt\n" + "size=4MiB\n" * len(contents)
        subprocess.run(
            ["sfdisk", "-q", "--no-tell-kernel", str(image)], input=table.encode(), check=True
        )
        loop = attach(image, "--partscan")
        run("partx", "--update", loop)  # a kernel can be built without any partition table's format
        for number, (file_system, label) in enumerate(contents, 1):
            device = _partition(loop, number, tmp_path)
            run(*MAKE[file_system], label, device)
            place = tmp_path / "media" / f"disk{len(drives)}"
            drives.append(RealDrive(image, device, file_system, label, place))
        return drives[-len(contents) :]

    yield plug_disk
    _remove(drives, images)


def _partition(loop: str, number: int, folder: Path) -> str:
    """The partition's node; made by hand where /dev is no devtmpfs and udev does not run."""
    name = f"{Path(loop).name}p{number}"
    facts = Path("/sys/class/block", name, "dev")
    wait_until(f"the kernel shows {name}", facts.exists)
    node = Path("/dev", name)
    if not node.exists():
        node = folder / name
        major, minor = facts.read_text().split(":")
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(int(major), int(minor)))
    return str(node)


def _remove(drives: list[RealDrive], images: list[Path]) -> None:
    """Take every drive and every image away, whichever of them the test got to make."""
    for drive in reversed(drives):
        drive.unmount(lazily=True)
    for image in images:
        detach(image, wait=False)
    for image in images:
        detach(image)
