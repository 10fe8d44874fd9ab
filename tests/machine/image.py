"""The image of a freshly installed workstation: made once by debootstrap, kept in a cache folder.

Nothing of driveprep is in it, and no run writes to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

OPERATOR = "olga"
UBUNTU = "http://archive.ubuntu.com/ubuntu"
SIZE = "4G"  # sparse

# What a desktop has and driveprep or its test asks for; the rest comes with these.
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "udev", "dbus", "kmod", "initramfs-tools",
    "openssh-server", "sudo", "polkitd", "udisks2", "ntfs-3g", "fdisk", "python3", "python3-venv",
    "man-db", "dbus-user-session", "zstd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Distribution:
    """What makes one distribution's image."""

    name: str
    suite: str
    mirror: str
    components: str
    kernel: tuple[str, ...]
    python: str  # its version, for which the wheels are
    keyring: tuple[str, str] = ("", "")  # a package with the archive's keys, and its SHA-256
    extra_suite: str = ""  # from which the kernel comes


UBUNTU_KEYS = (
    f"{UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb",
    "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8",
)
DEBIAN = "http://deb.debian.org/debian"
DISTRIBUTIONS = {
    one.name: one
    for one in (
        Distribution(
            "debian-12",
            "bookworm",
            DEBIAN,
            "main",
            ("linux-image-amd64",),
            "3.11",
        ),
        Distribution("debian-13", "trixie", DEBIAN, "main", ("linux-image-amd64",), "3.13"),
        # The kernel that brings the new driver `ntfs`.
        Distribution(
            "debian-13-backports",
            "trixie",
            DEBIAN,
            "main",
            ("linux-image-7.3.4+deb13-amd64",),
            "3.13",
            extra_suite="trixie-backports",
        ),
        Distribution(
            "ubuntu-24.04",
            "noble",
            UBUNTU,
            "main,universe",
            # linux-image-generic without half a gigabyte of firmware; with usb-storage and ntfs3.
            ("linux-image-6.8.0-31-generic", "linux-modules-extra-6.8.0-31-generic"),
            "3.12",
            UBUNTU_KEYS,
        ),
        Distribution(
            "ubuntu-26.04",
            "resolute",
            UBUNTU,
            "main,universe",
            ("linux-image-7.0.0-14-generic", "linux-modules-7.0.0-14-generic"),
            "3.14",
            UBUNTU_KEYS,
        ),
    )
}

FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 0\n",
    "etc/hostname": "workstation\n",
    "etc/hosts": "127.0.0.1 localhost workstation\n",
    "etc/systemd/network/10-wired.network": (
        "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
    ),
    # Somebody sits at the screen: to polkit only such a person is at the machine.
    "etc/systemd/system/getty@tty1.service.d/autologin.conf": (
        "[Service]\nExecStart=\n"
        f"ExecStart=-/sbin/agetty --autologin {OPERATOR} --noclear %I linux\n"
    ),
    # Emulated, a large initramfs costs a quarter of a minute.
    "etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=gzip\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
    "etc/ssh/sshd_config.d/machine.conf": "UseDNS no\nMaxSessions 40\n",
}

SETTLE = f"""
set -eu
export DEBIAN_FRONTEND=noninteractive
useradd --create-home --shell /bin/bash {OPERATOR}
for home in /root /home/{OPERATOR}; do
    install -d -m 700 $home/.ssh
    install -m 600 /key.pub $home/.ssh/authorized_keys
done
chown -R {OPERATOR}:{OPERATOR} /home/{OPERATOR}/.ssh
rm /key.pub
systemctl --quiet enable systemd-networkd ssh
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer man-db.timer \\
    systemd-networkd-wait-online.service systemd-timesyncd.service
update-initramfs -u -k all >/dev/null
apt-get clean
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A bootable disk, its kernel, and the key that opens it."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path
    python: str


def cache() -> Path:
    """The folder in which images are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "driveprep-machine")


def image(name: str) -> Image:
    """The image of this distribution, which is made if it is not there. Safe to repeat."""
    distribution = DISTRIBUTIONS[name]
    recipe = repr((distribution, PACKAGES, FILES, SETTLE, SIZE))
    folder = cache() / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    made = Image(
        folder / "disk.img",
        folder / "vmlinuz",
        folder / "initrd.img",
        folder / "key",
        distribution.python,
    )
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be making it
        if not folder.exists():
            new = folder.with_name(f"{folder.name}.new")
            _remove(new)
            new.mkdir()
            try:
                _make(distribution, new)
            finally:
                _remove(new / "tree")
            new.rename(folder)
    return made


def _make(distribution: Distribution, folder: Path) -> None:
    tree, key = folder / "tree", folder / "key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "driveprep-machine", "-f", key)
    late = distribution.extra_suite  # debootstrap mixes suites, but not their dependencies
    packages = ",".join(PACKAGES if late else (*PACKAGES, *distribution.kernel))
    _run(
        "debootstrap",
        "--variant=minbase",
        f"--components={distribution.components}",
        f"--include={packages}",
        *_keys(distribution, folder),
        distribution.suite,
        tree,
        distribution.mirror,
        # All of Ubuntu is bootstrapped alike; an older debootstrap does not know each name.
        *(["gutsy"] if distribution.mirror == UBUNTU else []),
    )
    for place, text in FILES.items():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text(text)
    shutil.copy(key.with_suffix(".pub"), tree / "key.pub")
    if late:
        kernel = " ".join(distribution.kernel)
        source = f"deb {distribution.mirror} {late} {distribution.components}"
        install = f"apt-get -q update && apt-get -q install -y -t {late} {kernel}"
        (tree / "etc/apt/sources.list.d/late.list").write_text(f"{source}\n")
        shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
        _run("chroot", tree, "/bin/sh", "-c", f"export DEBIAN_FRONTEND=noninteractive; {install}")
    _run("chroot", tree, "/bin/sh", "-c", SETTLE)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(max((tree / "boot").glob(f"{name}-*")), folder / name)
    _run("mkfs.ext4", "-q", "-F", "-d", tree, folder / "disk.img", SIZE)


def _keys(distribution: Distribution, folder: Path) -> list[str]:
    """The option that names the archive's keys; Debian has its own, but not Ubuntu's."""
    address, digest = distribution.keyring
    if not address:
        return []
    package = folder / "keyring.deb"
    with urllib.request.urlopen(address, timeout=60) as answer:
        package.write_bytes(answer.read())
    assert hashlib.sha256(package.read_bytes()).hexdigest() == digest, address
    _run("dpkg-deb", "-x", package, folder / "keyring")
    return [f"--keyring={folder}/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg"]


def _remove(folder: Path) -> None:
    """With all that is below it, but nothing that debootstrap left mounted there. Idempotent."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    mounted = [line.split(" ")[1] for line in lines]
    for place in sorted((one for one in mounted if one.startswith(f"{folder}/")), reverse=True):
        _run("umount", "--lazy", place)
    _run("rm", "-rf", "--one-file-system", folder)


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}"
