"""A workstation under QEMU, emulated in software: boot it, type at it, plug USB drives in and out.

Every wait has a limit, and whatever happens the emulator is gone at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from image import OPERATOR, Image
from volatile_disk import VolatileDisk

T = TypeVar("T")

MIB = 1024 * 1024
BOOT_SECONDS = 600.0  # emulated, on a machine that has other things to do
COMMAND_SECONDS = 300.0
START = 2048  # the sector where a drive's partition begins


class ShellError(AssertionError):
    """A command in the machine ended with an error."""


def wait_for(what: str, look: Callable[[], T], seconds: float = 120) -> T:
    """What `look` returns as soon as that is true; the test fails where it never is."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return seen


class Machine:
    """One workstation, with a disk of its own over the image, in a folder of its own."""

    def __init__(self, image: Image, folder: Path, disk: VolatileDisk | None = None) -> None:
        self.folder = folder
        self.console = folder / "console.log"
        self._image = image
        self._disk = folder / "disk.qcow2"
        self._qmp = folder / "qmp"
        self._port = 0
        self._answers: Any = None
        self._gone: set[str] = set()  # drives that the emulator has let go of
        self._process: subprocess.Popen[bytes] | None = None
        self._system = f"file={self._disk},if=virtio,cache=unsafe"
        if disk:
            self._system = f"file=nbd+unix:///?socket={disk.socket},if=virtio,format=raw"
        else:
            command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk]
            _run(*command, self._disk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> float:
        """Boot it; the seconds until somebody could log in."""
        begun = time.monotonic()
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-nodefaults", "-no-user-config",
                "-machine", "q35", "-cpu", "max", "-accel", "tcg,thread=multi",
                "-smp", "2", "-m", "1536", "-display", "none", "-vga", "std",
                "-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd),
                "-append", "root=/dev/vda rw console=tty0 console=ttyS0 quiet",
                "-serial", f"file:{self.console}",
                "-qmp", f"unix:{self._qmp},server=on,wait=off",
                "-drive", self._system,
                "-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
                "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
                "-device", "qemu-xhci,id=usb,p2=15,p3=15",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self._boot()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from error
        return time.monotonic() - begun

    def told(self) -> str:
        """The end of what it wrote to its console."""
        return self.console.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """Pull its plug. Safe to repeat."""
        if self._answers:
            self._answers.close()
        self._answers = None
        if self._process:
            self._process.kill()
            self._process.wait()
        self._process = None

    def reboot(self) -> float:
        """As an administrator does it; the seconds until somebody could log in again."""
        begun, boot_id = time.monotonic(), "cat /proc/sys/kernel/random/boot_id"
        before = self.sh(boot_id)
        self.sh("systemd-run --quiet --on-active=1 systemctl reboot")  # so that this ends well
        wait_for("it is down", lambda: not self._answers_ssh(), BOOT_SECONDS)
        wait_for("somebody can log in", self._answers_ssh, BOOT_SECONDS)
        assert self.sh(boot_id) != before
        return time.monotonic() - begun

    # Typing

    def sh(self, script: str, user: str = "root", seconds: float = COMMAND_SECONDS) -> str:
        """What these shell commands print, standard error with it; ShellError shows it."""
        code, told = self.sh_code(script, user, seconds)
        if code:
            raise ShellError(f"{user}: {script}\nended with {code}:\n{told}")
        return told

    def sh_code(
        self, script: str, user: str = "root", seconds: float = COMMAND_SECONDS
    ) -> tuple[int, str]:
        """The exit code too, which may be any."""
        command = [*self._ssh(user), f"exec 2>&1; {script}"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
        return done.returncode, os.fsdecode(done.stdout).strip()

    def at_the_screen(self, script: str) -> str:
        """As `sh`, by what the operator who sits at the screen has started there."""
        return self.sh(
            f"systemd-run --user --quiet --wait --pipe --collect sh -c {shlex.quote(script)}",
            OPERATOR,
        )

    def write(self, place: str, text: str | bytes, user: str = "root") -> None:
        """Put a file there, in one rename as editors do; an old one keeps owner and mode."""
        data = text if isinstance(text, bytes) else text.encode()
        script = (
            f"new={place}.new; cat >$new"
            f" && {{ [ ! -e {place} ] || {{ chmod --reference={place} $new"
            f" && chown --reference={place} $new; }}; }} && mv $new {place}"
        )
        done = subprocess.run(
            [*self._ssh(user), script],
            input=data,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _ssh(self, user: str) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "30",
            "ControlMaster": "auto",
            "ControlPath": f"{self.folder}/ssh-%r",
            "ControlPersist": "600",
            "LogLevel": "ERROR",
            "ServerAliveInterval": "15",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        words = [f"-o{key}={value}" for key, value in options.items()]
        key = str(self._image.key)
        return ["ssh", "-F", "/dev/null", "-i", key, *words, "-p", str(self._port),
                f"{user}@127.0.0.1"]  # fmt: skip

    def _answers_ssh(self) -> bool:
        assert self._process.poll() is None, "the emulator has ended"
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.sh_code("true", seconds=60)[0] == 0
        return False

    def _boot(self) -> None:
        self._greet()
        told = self.ask("human-monitor-command", **{"command-line": "info usernet"})
        self._port = int(re.search(r"HOST_FORWARD\D+\d+\s+127\.0\.0\.1\s+(\d+)", told)[1])
        wait_for("somebody can log in", self._answers_ssh, BOOT_SECONDS)

    # Plugging

    def plug(self, drive: Path | VolatileDisk, name: str, serial: str) -> None:
        """Plug this drive into the USB port, under this name."""
        file: dict[str, object] = {"driver": "file", "filename": str(drive)}
        if isinstance(drive, VolatileDisk):
            file = {"driver": "nbd", "server": {"type": "unix", "path": str(drive.socket)}}
        self.ask("blockdev-add", **{"node-name": name, "driver": "raw", "file": file})
        self.ask("device_add", driver="usb-storage", bus="usb.0", drive=name, id=name,
                 serial=serial)  # fmt: skip

    def unplug(self, name: str) -> None:
        """Pull the drive, without asking anybody in the machine."""
        self._gone.discard(name)
        self.ask("device_del", id=name)
        wait_for(f"{name} is gone", lambda: self._is_gone(name))
        self.ask("blockdev-del", **{"node-name": name})

    def _is_gone(self, name: str) -> bool:
        self.ask("query-status")  # what happened meanwhile is told before the answer
        return name in self._gone

    def ask(self, command: str, **arguments: object) -> Any:
        """What the emulator's monitor answers."""
        question = {"execute": command, "arguments": arguments}
        self._answers.write(json.dumps(question).encode() + b"\n")
        return next(self._replies())

    def _replies(self) -> Iterator[Any]:
        for line in self._answers:
            answer = json.loads(line)
            assert "error" not in answer, answer["error"]
            if answer.get("event") == "DEVICE_DELETED":
                self._gone.add(answer["data"].get("device", ""))
            if "return" in answer:
                yield answer["return"]
        raise AssertionError("the emulator has hung up")

    def _greet(self) -> None:
        monitor = socket.socket(socket.AF_UNIX)
        monitor.settimeout(60)
        wait_for("the monitor listens", lambda: _connects(monitor, self._qmp))
        self._answers = monitor.makefile("rwb", buffering=0)
        monitor.close()  # as far as this name goes; the file keeps it open
        self._answers.readline()
        self.ask("qmp_capabilities")


def ntfs_drive(file: Path, label: str, size: int = 16 * MIB) -> Path:
    """An image of a drive: a partition table, and one NTFS partition with this label."""
    partition = file.with_suffix(".partition")
    with partition.open("wb") as made:
        made.truncate(size)
    _run("mkfs.ntfs", "-F", "-Q", "-q", "-L", label, "-p", START, "-H", 255, "-S", 63, partition)
    with file.open("wb") as made:
        made.truncate(START * 512 + size)
    _run("sfdisk", "-q", file, given=f"label: dos\nstart={START}, type=7\n")
    _run(
        "dd", f"if={partition}", f"of={file}", f"seek={START}", "conv=notrunc,sparse", "status=none"
    )
    partition.unlink()
    return file


def _connects(monitor: socket.socket, place: Path) -> bool:
    with contextlib.suppress(OSError):
        monitor.connect(str(place))
        return True
    return False


def _run(*command: object, given: str = "") -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
