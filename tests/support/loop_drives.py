"""Real drives: file systems in image files on loop devices, mounted by the kernel and ntfs-3g.

Where real drives cannot work, these tests fail if CI=true and are skipped otherwise. A loop device
is found by its image, never assumed, and only devices of our own images are ever detached. Every
device and mount is removed after its test, or by a second process if the tests are killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import private_mounts
import pytest

from daemon.drives import mounts

T = TypeVar("T")

MIB = 1024 * 1024
PATIENCE_SECONDS = 20.0  # most conditions come true within 0.2 s, but the machine may be busy
MAKE = {
    "ntfs": ["mkfs.ntfs", "-F", "-Q", "-q", "-L"],
    "vfat": ["mkfs.vfat", "-n"],
    "ext4": ["mkfs.ext4", "-F", "-q", "-L"],
}
MOUNT = {"ntfs": "ntfs-3g", "vfat": "vfat", "ext4": "ext4"}
SHOWN: dict[Path, set[str]] = {}  # the loop devices of each image that the daemon can see
PROGRAMS = ("losetup", "mount", "mkfs.ntfs", "mkfs.vfat", "mkfs.ext4", "ntfs-3g", "sfdisk", "partx")


def run(*command: str | Path) -> str:
    """Run a command and return its output. If it fails, so does the test, with its errors."""
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {os.fsdecode(done.stderr)}"
    return os.fsdecode(done.stdout).strip()


def wait_until(what: str, condition: Callable[[], T], deadline: float = PATIENCE_SECONDS) -> T:
    """Return what the condition returned when it came true. Fail the test if it does not."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.01)
    return value


def loops_of(image: Path) -> list[str]:
    """Return the loop devices that are attached to this image."""
    return [line.partition(":")[0] for line in run("losetup", "-j", image).splitlines()]


def is_mounted(place: Path) -> bool:
    """Return whether anything is mounted exactly there, even if it no longer answers."""
    return any(mount.mount_point == str(place) for mount in mounts.read())


def attach(image: Path, *options: str) -> str:
    """Attach the image to a free loop device and return that device."""
    for _ in range(20):  # another program can take the free device between find and use
        done = subprocess.run(
            ["losetup", *options, "--find", "--show", str(image)], capture_output=True, check=False
        )
        if done.returncode == 0:
            return _shown(image, os.fsdecode(done.stdout).strip())
    raise AssertionError(f"no loop device: {os.fsdecode(done.stderr)}")


def _shown(image: Path, loop: str) -> str:
    SHOWN.setdefault(image, set()).add(loop)
    private_mounts.show(loop)
    return loop


def detach(image: Path, *, wait: bool = True) -> None:
    """Detach the image from its loop devices and wait until that is done. Idempotent."""
    for loop in loops_of(image):
        subprocess.run(["losetup", "-d", loop], capture_output=True, check=False)
    for loop in SHOWN.pop(image, ()):  # those that the test itself has detached as well
        private_mounts.hide(loop)  # another run of the tests may use it next
    if wait:  # ntfs-3g closes the device a moment after the unmount
        wait_until(f"{image} is detached", lambda: not loops_of(image))


@dataclass
class RealDrive:
    """A file system on a loop device, or on a partition of one."""

    image: Path
    device: str
    file_system: str
    label: str
    mount_point: Path
    places: list[Path] = field(default_factory=list)  # everything mounted for it, in order

    def mount(self, *options: str) -> RealDrive:
        """Mount it at its mount point with these `-o` options."""
        self.mount_point.mkdir(parents=True, exist_ok=True)
        chosen = ["-o", ",".join(options)] if options else []
        command = ["mount", "-t", MOUNT[self.file_system], *chosen, self.device, self.mount_point]
        done = subprocess.run(command, capture_output=True, check=False)
        errors = os.fsdecode(done.stderr)
        if "unknown filesystem type 'vfat'" in errors:
            pytest.skip("this kernel was built without vfat")
        assert done.returncode == 0, errors
        self.places.append(self.mount_point)
        return self

    def bind(self, place: Path, folder: str = ".") -> None:
        """Mount a folder of the drive at another place too."""
        place.mkdir(parents=True)
        run("mount", "--bind", self.mount_point / folder, place)
        self.places.append(place)

    def cover(self, place: Path) -> None:
        """Mount a new, empty memory file system over this place."""
        run("mount", "-t", "tmpfs", private_mounts.SOURCE, place)
        self.places.append(place)

    def unmount(self, *, lazily: bool = False) -> None:
        """Unmount it everywhere, in reverse order. Idempotent."""
        while self.places:
            place = self.places[-1]
            if is_mounted(place):
                run("umount", *(["--lazy"] if lazily else []), place)
            self.places.pop()  # only now, so that a busy mount is cleaned up after the test

    def make(self, label: str) -> None:
        """Make a new file system on the same medium, with this label and another UUID."""
        run(*MAKE[self.file_system], label, self.device)
        self.label = label

    def pull(self) -> None:
        """Unplug it without a proper unmount. Idempotent."""
        self.unmount(lazily=True)
        detach(self.image)

    def replug(self, other: RealDrive) -> None:
        """Unplug it and attach `other`'s image to the same loop device, unless that is taken."""
        loop = self.device
        self.pull()
        other.pull()
        done = subprocess.run(["losetup", loop, str(other.image)], capture_output=True, check=False)
        is_taken = done.returncode != 0
        other.device = attach(other.image) if is_taken else _shown(other.image, loop)


Plug = Callable[..., RealDrive]


@pytest.fixture(scope="session")
def real_drives_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stop here if this machine has no loop devices, no FUSE or no ntfs-3g."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if os.geteuid() != 0:
        missing.append("root's rights")
    missing += [node for node in ("/dev/fuse", "/dev/loop-control") if not Path(node).exists()]
    if missing:
        reason = f"real drives need {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = [sys.executable, __file__, str(tmp_path_factory.getbasetemp())]
    janitor = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    yield
    janitor.communicate()
    assert janitor.returncode == 0


@pytest.fixture
def plug(tmp_path: Path, real_drives_work: None) -> Iterator[Plug]:
    """Make drives: `plug("HD001", file_system="ntfs")`. They are all removed after the test."""
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
    """Make one disk with several partitions: `plug_disk(("ntfs", "HD001"), ("vfat", "EFI"))`."""
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
        run("partx", "--update", loop)  # some kernels are built without any partition table format
        for number, (file_system, label) in enumerate(contents, 1):
            device = _partition(loop, number, tmp_path)
            run(*MAKE[file_system], label, device)
            place = tmp_path / "media" / f"disk{len(drives)}"
            drives.append(RealDrive(image, device, file_system, label, place))
        return drives[-len(contents) :]

    yield plug_disk
    _remove(drives, images)


def _partition(loop: str, number: int, folder: Path) -> str:
    """Return the partition's node. It is made here if /dev is not a devtmpfs and udev is absent."""
    name = f"{Path(loop).name}p{number}"
    attributes = Path("/sys/block", Path(loop).name, name, "dev")
    wait_until(f"the kernel shows {name}", attributes.exists)
    node = Path("/dev", name)
    if not node.exists():
        node = folder / name
        major, minor = attributes.read_text().split(":")
        os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(int(major), int(minor)))
    private_mounts.show(str(node))
    return str(node)


def _remove(drives: list[RealDrive], images: list[Path]) -> None:
    """Unmount every drive and detach every image, no matter how far the test got."""
    for drive in reversed(drives):
        drive.unmount(lazily=True)
    for image in images:
        detach(image, wait=False)
    for image in images:
        detach(image)


def clean(folder: Path) -> None:
    """Unmount everything below the folder, and detach every image below it. Idempotent."""
    for mount in reversed(mounts.read()):
        if Path(mount.mount_point).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", mount.mount_point], check=False)
    for attribute in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            image = Path(os.fsdecode(attribute.read_bytes().rstrip(b"\n")))
        except OSError:  # just detached
            continue
        if image.is_relative_to(folder):
            loop = f"/dev/{attribute.parts[-3]}"
            subprocess.run(["losetup", "-d", loop], check=False)
            private_mounts.hide(loop)


if __name__ == "__main__":
    sys.stdin.read()  # ends with the tests, however they end
    clean(Path(sys.argv[1]))


def drivers_of(drive) -> list[int]:
    """Return the ntfs-3g processes that serve a drive."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"ntfs-3g") and drive.device.encode() in words:
                found.append(int(entry.name))
    return found
