"""The last scan of the drives, repeated no more often than a job needs it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from daemon.drives.drive import Drive, Unmounted
from daemon.drives.inventory import Drives
from daemon.drives.recognition import Recognition, absence
from daemon.drives.recognition.resemblance import Spellings
from daemon.jobs.job import Identities
from daemon.jobs.worklist import Worklist
from daemon.preparation.pairing import Pairing
from daemon.service.bell import Ring

BRIEF = frozenset({("", "")})  # no obstacle names a drive that cannot be read


class Survey:
    """Remembers the last scan of the drives. For the main loop's thread only."""

    def __init__(self, drives: Drives) -> None:
        self._inventory = drives
        self._drives: Sequence[Drive] = ()
        self._present: Sequence[Unmounted] = ()  # devices that could be mounted
        self._is_waited_for = False  # whether a job waited for a drive at the last scan
        # Of the drives at the last choice, what the obstacles of absent drives name:
        self._troubled: frozenset[tuple[str, str]] = frozenset()
        self._undescribed: frozenset[str] = frozenset()  # nodes of those that udev says nothing of
        self._names: frozenset[str] = frozenset()  # labels and serials
        self._spellings = Spellings()  # of the deviceIds that jobs wait for
        self._pending = Ring.NOTHING  # drive events not yet followed by a scan

    def refresh(self, ring: Ring, jobs: Worklist) -> None:
        """Scan again if `ring` concerns the drives. Without jobs, a timer alone causes no scan."""
        self._pending |= ring & (Ring.MOUNTS | Ring.DISKS | Ring.TIMER)
        reasons = self._pending if jobs else self._pending & Ring.MOUNTS
        if reasons:
            # A message of udev can complete what is known of a drive.
            ask_again = bool(reasons & (Ring.DISKS | Ring.TIMER))
            self._drives = self._inventory.mounted(ask_again=ask_again)
        # Ambiguity is judged over all drives: a twin need not be mounted.
        is_waited_for = bool(jobs.names)
        if reasons or is_waited_for != self._is_waited_for:
            ask_again = Ring.TIMER in reasons
            self._present = self._inventory.present(ask_again=ask_again) if is_waited_for else ()
        self._is_waited_for = is_waited_for
        self._pending &= ~reasons

    @property
    def drives(self) -> Sequence[Drive]:
        """The mounted drives of the last scan."""
        return self._drives

    def seen(self, recognition: Recognition) -> dict[str, Identities]:
        """Return the identities of the mounted drives, by each deviceId that they answer to."""
        return {
            device_id: recognition.bays.identities(drive)
            for drive in self._drives
            for device_id in recognition.device_ids(drive)
        }

    def pairing(self, jobs: Worklist, recognition: Recognition) -> Pairing:
        """Return the jobs together with the drives of the last scan."""
        return Pairing(jobs.names, self._drives, self._present, recognition)

    def here(self, pairing: Pairing, changed: Collection[str] = ()) -> Collection[str]:
        """Return the deviceIds whose jobs the drives of the last scan concern.

        Those that have a drive, those whose jobs have `changed`, and those whose obstacle would be
        another one now, since it names drives that have come, gone or changed.
        """
        for device_id in changed:
            self._respell(device_id, pairing)
        news = pairing.here().union(changed, self._mapped_news(pairing), self._similar_news())
        volumes = [*self._drives, *self._present]
        troubled = frozenset(
            absence.unreadable(one) for one in volumes if absence.is_unreadable(one)
        )
        if pairing.is_brief:
            troubled = BRIEF
        is_news, self._troubled = troubled != self._troubled, troubled
        return set(pairing.names) if is_news else news

    def _respell(self, device_id: str, pairing: Pairing) -> None:
        if device_id in pairing.names:
            self._spellings.add(device_id)
        else:
            self._spellings.discard(device_id)

    def _mapped_news(self, pairing: Pairing) -> set[str]:
        """Return the names under `devices` if the drives without udev's description changed."""
        volumes = [*self._drives, *self._present]
        undescribed = frozenset(one.device.node for one in volumes if not one.identity.by_udev)
        is_news, self._undescribed = undescribed != self._undescribed, undescribed
        mapped = pairing.recognition.devices
        return {one for one in mapped if one in pairing.names} if is_news else set()

    def _similar_news(self) -> set[str]:
        """Return the names that a new drive's label or serial nearly fits."""
        volumes = [*self._drives, *self._present]
        both = [name for one in volumes for name in (one.identity.label, one.identity.serial)]
        names = frozenset(name for name in both if name)
        new, self._names = names - self._names, names
        return self._spellings.similar(new)
