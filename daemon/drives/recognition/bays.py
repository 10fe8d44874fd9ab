"""Named ports of the bench. A bay is known by udev's ID_PATH, so there are none without udev."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from daemon.drives.drive import Volume
from daemon.errors import DriveError
from daemon.system.printable import printable

OUTSIDE = "not in a named bay"


@dataclass(frozen=True, slots=True)
class Bays:
    """The names of ports: `bays` and `only_bays` of config.yml."""

    by_path: Mapping[str, str] = field(default_factory=dict)  # ID_PATH -> the bay's name
    only: bool = False  # whether a drive outside of them is never written to

    def of(self, volume: Volume) -> str:
        """Return the name of a volume's bay; "" if it is in none."""
        return self.by_path.get(volume.identity.path or "", "")

    def is_outside(self, volume: Volume) -> bool:
        """Return whether a volume must not be written to because of its place."""
        return self.only and not self.of(volume)

    def identities(self, volume: Volume) -> dict[str, str | int | None]:
        """Return what identifies a volume, its size in bytes and, if bays have names, its bay."""
        bay = {"bay": self.of(volume) or None} if self.by_path else {}
        return {**volume.identities(), "size": volume.device.size, **bay}

    def check(self, volume: Volume, others: Iterable[Volume]) -> None:
        """Raise DriveError unless the volume's place is clear, and one that may be used.

        `others` are all volumes of this machine: two disks cannot be in one bay.
        """
        if bay := self.of(volume):
            path, disk = volume.identity.path, volume.device.disk
            found = [one for one in others if one.identity.path == path]
            if rivals := {one.device.disk: one for one in found if one.device.disk != disk}:
                raise _shared(bay, [volume, *rivals.values()])
        elif self.only:
            raise _outside(volume)


def _shared(bay: str, volumes: Iterable[Volume]) -> DriveError:
    named = " and ".join(one.describe() for one in volumes)
    return DriveError(
        f"two disks have the path of {printable(bay)}: {named}",
        "Unplug one, or correct `bays` in config.yml: `driveprep drives` shows each disk's path.",
        code="bay-shared",
    )


def _outside(volume: Volume) -> DriveError:
    if not volume.identity.by_udev:
        return DriveError(
            f"the bay of {volume.describe()} is not known: udev has not described it",
            "Only udev knows ports. Start it (systemctl start systemd-udevd), or switch only_bays"
            " off in config.yml.",
            code="bay-unknown",
        )
    path = volume.identity.path
    where = f"its port is {printable(path)}" if path else "udev knows no port of it"
    return DriveError(
        f"{volume.describe()} is {OUTSIDE}; {where}",
        "Plug it into a named bay, or name this port under `bays` in config.yml.",
        code="not-in-bay",
    )
