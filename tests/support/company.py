"""Three stations of one pool, their drives, and all that can go wrong between them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import postgres
from apart import APART, mount_at, unmount_lazily, unplug
from as_operator import new_device_id
from daemon_process import DaemonProcess
from loop_drives import Plug, RealDrive, drivers_of, wait_until
from pool_line import PoolLine
from stations import ServiceClock, assert_done

from daemon.importexport.emulator import Emulator

STATIONS = 3
# A station's own clock, wrong by so much; its monotonic one goes on as usual. Not by faketime(1),
# which would stay in between.
FAKED = ("env", "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
AHEAD, BEHIND = (*FAKED, "FAKETIME=+40m"), (*FAKED, "FAKETIME=-40m")
CLOCKS = ((), AHEAD, BEHIND)
LONG_SECONDS = 11.0  # longer than a claim is taken for confirmed, and than any timeout here
WINDOW_SECONDS = 15 * 60.0  # of the service, for a request's Timestamp
ANSWERS = ("cut-before", "cut-after", "hang-after", "500-after")
AFTER_SECONDS = 60.0  # until a station that was taken over has noticed


class Company:
    """Faults are its methods; each leaves behind what can go on by itself, and drives mounted.

    The database is in `folder`, whose path is short, since a socket's has at most 107 bytes.
    """

    def __init__(
        self,
        folder: Path,
        machines: Path,
        service: Emulator,
        clock: ServiceClock,
        plug: Plug,
        chance: random.Random,
    ) -> None:
        self.folder, self.service, self.clock, self.plug = folder, service, clock, plug
        self.chance = chance
        self.drives: dict[str, RealDrive] = {}
        self.place: dict[str, DaemonProcess] = {}  # deviceId -> where its drive is mounted
        self.servers = [postgres.Postgres(folder / "pg0").make()]
        self.line = PoolLine(folder / "line", self.servers[0])
        self.stations: list[DaemonProcess] = []
        self.dump = folder / "dump"
        self._names = 0
        for _ in range(STATIONS):
            daemon = DaemonProcess(
                machines / f"machine-{len(self.stations)}",
                service.endpoint,
                pool={"address": self.line.url},
                timeout=2,
            )
            daemon.prefix = (*APART, *CLOCKS[len(self.stations)])
            if not self.stations:
                assert_done(daemon.command("pool", "init"))
            self.stations.append(daemon)
            self._join(daemon)
        self.server.dump(self.dump)

    @property
    def server(self) -> postgres.Postgres:
        """The database server of now."""
        return self.servers[-1]

    def faults(self) -> dict[str, Callable[[], None]]:
        """Return all faults, by their names."""
        return {
            "kill": self.kill,
            "freeze": self.freeze,
            "take over": self.take_over,
            "crash": self.crash,
            "cut": self.cut,
            "fail over": self.fail_over,
            "restore": self.restore,
            "lost answer": self.lose_an_answer,
            "clock": self.change_the_clock,
            "move": self.move,
            "drop again": self.drop_again,
            "back up": self.back_up,
        }

    def close(self) -> None:
        """End everything. Safe to repeat."""
        for daemon in self.stations:
            if daemon.is_running:
                os.kill(daemon.pid, signal.SIGCONT)
                daemon.kill()
        for device_id in list(self.place):  # another one may have the loop device of the others now
            self._unplug(device_id)
        self.line.stop()
        for server in self.servers:
            server.stop("immediate")

    def new_job(self) -> str:
        """Drop a manifest at one station or at two, and mount its drive at one."""
        device_id = new_device_id()
        self.drives[device_id] = self.plug(device_id)
        for daemon in self.chance.sample(self.stations, self.chance.choice([1, 1, 2])):
            daemon.drop(device_id)
        self._mount(device_id, self.chance.choice(self.stations))
        return device_id

    def until_prepared(self, device_id: str, seconds: float) -> None:
        """Wait until papers were filed for it."""

        def is_prepared() -> bool:
            if not drivers_of(self.drives[device_id]):  # an operator mounts it again
                self._mount(device_id, self.place[device_id])
            return self.is_prepared(device_id)

        try:
            wait_until("papers are filed", is_prepared, seconds)
        except AssertionError:
            told = [self._told(one, device_id) for one in self.stations]
            raise AssertionError("\n\n".join([f"{device_id} is not prepared", *told])) from None

    def take_away(self, device_id: str) -> Path:
        """Unplug a drive for good; return where it is mounted, for this process only."""
        self._unplug(device_id)
        return self.drives[device_id].mount().mount_point

    def is_prepared(self, device_id: str) -> bool:
        """Whether papers were filed for it."""
        return any(one.papers(device_id) for one in self.stations)

    # Faults

    def kill(self) -> None:
        """A station is switched off and on again; its drives are mounted again."""
        self._restart(self.chance.choice(self.stations))

    def freeze(self) -> None:
        """A station stands still for a while."""
        one = self.chance.choice(self.stations)
        os.kill(one.pid, signal.SIGSTOP)
        time.sleep(self._while())  # what a frozen process waits for is time
        os.kill(one.pid, signal.SIGCONT)

    def take_over(self) -> None:
        """A station stands still, is taken over, thaws, notices, and becomes a new member."""
        lost, other = self.chance.sample(self.stations, 2)
        os.kill(lost.pid, signal.SIGSTOP)
        self._take_over(_name_of(lost), other)
        time.sleep(self._while())
        if self.chance.random() < 0.5:
            for device_id in self._drives_at(lost):
                self._mount(device_id, other)
        os.kill(lost.pid, signal.SIGCONT)
        lost.until("it has noticed", lambda: "was taken over by" in _pool_of(lost), AFTER_SECONDS)
        lost.until("nothing is open", lambda: not _open_jobs(lost), AFTER_SECONDS)
        lost.stop()
        assert_done(lost.command("pool", "leave"))
        self._join(lost)
        self._remount(lost)

    def crash(self) -> None:
        """The database server crashes, or is stopped, and starts again."""
        self.server.stop(self.chance.choice(["immediate", "fast"]))
        time.sleep(self.chance.uniform(0, 1))
        self.server.start()

    def cut(self) -> None:
        """The database cannot be reached for a while."""
        self.line.cut()
        time.sleep(self.chance.uniform(0.1, 3))
        self.line.mend()

    def fail_over(self) -> None:
        """A standby that has not received the last commits becomes the primary."""
        standby = self.server.standby(self.folder / f"pg{len(self.servers)}")
        standby.receive_no_more()
        self.new_job()
        time.sleep(self.chance.uniform(0, 0.5))
        self.line.cut()
        self.server.stop("immediate")
        standby.promote()
        self.servers.append(standby)
        self.line.server = standby
        self.line.mend()

    def restore(self) -> None:
        """The database is what it was some time ago; who has left since is taken over again."""
        self.line.cut()
        self.server.restore(self.dump)
        self.line.mend()
        query = "SELECT name FROM driveprep.station WHERE successor IS NULL"
        names = {name for (name,) in self.server.ask(query)}
        for name in names - {_name_of(one) for one in self.stations}:
            self._take_over(name, self.stations[0])

    def back_up(self) -> None:
        """Nothing goes wrong; the database is dumped."""
        self.server.dump(self.dump)

    def lose_an_answer(self) -> None:
        """The next answer of the service is lost, or no use."""
        self.service.faults.add(self.chance.choice(ANSWERS))

    def change_the_clock(self) -> None:
        """The service's clock is ahead of all stations' by more, up to more than its window."""
        self.clock.ahead += self.chance.uniform(0, 1.2 * WINDOW_SECONDS)

    def move(self) -> None:
        """A drive is unplugged, at any moment, and plugged in at another station."""
        if unprepared := [one for one in self.drives if not self.is_prepared(one)]:
            device_id = self.chance.choice(unprepared)
            others = [one for one in self.stations if one is not self.place[device_id]]
            self._mount(device_id, self.chance.choice(others))

    def drop_again(self) -> None:
        """Manifests are dropped once more, wherever their jobs are by now."""
        for daemon in self.stations:
            daemon.drop(self.chance.choice(list(self.drives)))

    # How it goes on

    def _while(self) -> float:
        return self.chance.choice([self.chance.uniform(0.2, 3), LONG_SECONDS])

    def _mount(self, device_id: str, daemon: DaemonProcess) -> None:
        drive = self.drives[device_id]
        self._unplug(device_id)
        wait_until(f"{device_id} can be mounted", lambda: _is_mounted(daemon, drive))
        self.place[device_id] = daemon

    def _unplug(self, device_id: str) -> None:
        """Without a proper unmount: the station may be writing."""
        drive, daemon = self.drives[device_id], self.place.pop(device_id, None)
        if daemon and daemon.is_running:
            unmount_lazily(daemon, drive)
        unplug(drive)

    def _drives_at(self, daemon: DaemonProcess) -> list[str]:
        return [device_id for device_id, place in self.place.items() if place is daemon]

    def _remount(self, daemon: DaemonProcess) -> None:
        for device_id in self._drives_at(daemon):
            self._mount(device_id, daemon)

    def _restart(self, daemon: DaemonProcess) -> None:
        daemon.kill()
        daemon.start()
        self._remount(daemon)

    def _told(self, daemon: DaemonProcess, device_id: str) -> str:
        lines = [line for line in daemon.log.splitlines() if device_id in line or "pool" in line]
        here = "its drive is here" if self.place[device_id] is daemon else ""
        return "\n".join([f"{_name_of(daemon)}: {here}", *lines[-12:]])

    def _take_over(self, name: str, daemon: DaemonProcess) -> None:
        """Tried again: a station that joined after a dump has first to say so."""
        command = ("pool", "take-over", name, "--yes")
        wait_until(f"{name} is taken over", lambda: daemon.command(*command).returncode == 0)

    def _join(self, daemon: DaemonProcess) -> None:
        self._names += 1
        assert_done(daemon.command("pool", "join", f"bench-{self._names}"))
        daemon.start()


def _is_mounted(daemon: DaemonProcess, drive: RealDrive) -> bool:
    with suppress(AssertionError):  # it is still in use
        mount_at(daemon, drive)
        return True
    return False


def _name_of(daemon: DaemonProcess) -> str:
    return str(daemon.status()["station"])


def _pool_of(daemon: DaemonProcess) -> str:
    return str(daemon.status()["daemon"].get("pool"))


def _open_jobs(daemon: DaemonProcess) -> list[str]:
    open_states = ("Submitting", "Submitted")
    return [job["deviceId"] for job in daemon.status()["jobs"] if job["state"] in open_states]
