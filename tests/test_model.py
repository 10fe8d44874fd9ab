"""Any order of events at the workstation, with crashes and faults between: the rules always hold.

Runs the same examples every time; `HYPOTHESIS_PROFILE=long` tries many more, new ones each time.
"""

import os
from contextlib import suppress
from pathlib import Path

import crash
import remains
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from world import World, manifest

NAMES = st.sampled_from(["a.yml", "b.yml", "c.yml"])
TEXTS = st.builds(
    manifest,
    st.sampled_from(["HD001", "HD002"]),
    st.sampled_from(["one/", "two/"]),
    st.sampled_from(["Berlin", "Berlin", "PO Box 7"]),  # the service refuses the last
)
DRIVES = st.sampled_from(["HD001 A", "HD001 B", "HD002 C"])  # label and serial
FAULTS = ["unreachable", "lost", "late", "unanswered", "500", "500 done", "portal"]
REFUSALS = ["Throttling", "RequestExpired", "InternalFailure"]
FOREIGN = b"version:2.0\nsigningMethod:HmacSHA1\njobId:ZZZZZ\nsignature:AAAA=\n"


class Workstation(RuleBasedStateMachine):
    """An operator, three drives, a service with bad days, and a daemon that gets killed."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.owed: set[bytes] = set()  # manifests that must be somewhere
        self.drives = {}
        for name in ("HD001 A", "HD001 B", "HD002 C"):
            self.drives[name] = self.world.new_drive(*name.split())

    def teardown(self) -> None:
        """The end of the world."""
        self.world.__exit__()

    # The operator

    @rule(name=NAMES, text=TEXTS, at_once=st.booleans())
    def drop(self, name, text, at_once):
        """Drop a manifest, or replace the one that lies there."""
        self._take_back(name)
        path = self._pending(name)
        if at_once:
            self.world.drop(name, text)
        else:
            path.write_bytes(text)
        self.owed.add(text)

    @rule(name=NAMES)
    def delete(self, name):
        """Take a manifest out of pending/."""
        self._take_back(name)

    @rule(name=NAMES, new=NAMES)
    def rename(self, name, new):
        """Give a manifest another name, over whatever has it."""
        if name != new and self._pending(name).exists():
            text = self._pending(name).read_bytes()
            self._take_back(new)
            self._pending(name).rename(self._pending(new))
            self.owed.add(text)

    @rule(name=DRIVES)
    def mount(self, name):
        """Plug a drive in."""
        self.world.mount(self.drives[name])

    @rule(name=DRIVES)
    def unmount(self, name):
        """Pull a drive out."""
        self.world.unmount(self.drives[name])

    @rule(name=DRIVES)
    def replug_while_running(self, name):
        """The next daemon sees a drive come, or go, as soon as it is idle."""
        drive, shelf = self.drives[name], self.world.shelf
        self.world.events[:] = [
            lambda: (self.world.unmount if shelf.has(drive) else self.world.mount)(drive)
        ]

    @rule(name=DRIVES, foreign=st.booleans())
    def meddle(self, name, foreign):
        """Remove SIGNATURE from a drive by hand, or put one there that is not ours."""
        self._signature(name).unlink(missing_ok=True)
        if foreign:
            self._signature(name).write_bytes(FOREIGN)

    # The service

    @rule(faults=st.lists(st.sampled_from(["", *FAULTS, *REFUSALS]), min_size=1, max_size=4))
    def break_down(self, faults):
        """The next requests fail, each in its own way; "" is one that does not."""
        self.world.wire.faults[:] = faults

    @rule(code=st.sampled_from(["Complete", "Canceled"]))
    @precondition(lambda self: self._open())
    def end_job(self, code):
        """The service is done with a job."""
        changes = {"progress_code": code, "is_canceled": code == "Canceled"}
        self.world.wire.service.move(self._open()[0].job_id, **changes)

    # The daemon

    @rule(seconds=st.sampled_from([0.0, 1.0, 20.0, 100.0]))
    def live(self, seconds):
        """The daemon runs for a while."""
        self.world.live(patience=seconds)

    @rule(number=st.integers(0, 90))
    def live_until_killed(self, number):
        """The daemon is killed before one of its effects."""
        heard = 0

        def before(what):
            nonlocal heard
            if heard == number:
                raise crash.Killed(what)
            heard += 1

        with suppress(crash.Killed):
            self.world.live(before, patience=100.0)

    @rule()
    def settle(self):
        """No more faults, and time passes: what can be done is done, the rest says why not."""
        self.world.wire.faults.clear()
        self.world.events.clear()
        self.world.live(patience=2000.0)

        for row in self.world.rows():
            if not row["filed"]:
                assert row["state"] in {"Pending", "Submitted"}, row
                assert row["obstacle"], row
                assert not self._can_go_on(row), row

    # What always holds

    @invariant()
    def a_device_has_one_open_job(self):
        """At the service, which is the one to ask."""
        devices = [job.device_id for job in self._open()]
        assert len(devices) == len(set(devices)), devices

    @invariant()
    def a_signature_is_that_of_a_job_for_this_drive(self):
        """Of any job of this deviceId; a foreign one is never replaced, no twin gets the same."""
        signed = {
            name: files["SIGNATURE"]
            for name in self.drives
            for files in [remains.tree(self._signature(name).parent)]
            if files.keys() <= {"SIGNATURE", ".SIGNATURE.driveprep"} and "SIGNATURE" in files
        }
        ours = {name: data for name, data in signed.items() if data != FOREIGN}
        assert len(set(ours.values())) == len(ours)
        for name, data in ours.items():
            assert data in {
                text(job) for job in self.world.made() if name.startswith(job.device_id)
            }

    @invariant()
    def no_manifest_is_lost(self):
        """It is in pending/, in the journal, in prepared/ or in rejected/."""
        kept = {row["manifest"] for row in self.world.rows()}
        missing = self.owed - kept - set(self.world.files().values())
        assert not missing, missing

    def _pending(self, name: str) -> Path:
        (self.world.spool / "pending").mkdir(parents=True, exist_ok=True)
        return self.world.spool / "pending" / name

    def _signature(self, name: str) -> Path:
        return Path(self.drives[name].mount_point) / "SIGNATURE"

    def _take_back(self, name: str) -> None:
        """Delete a manifest. From then on only one that the service has is still owed."""
        if not self._pending(name).exists():
            return
        text = self._pending(name).read_bytes()
        self._pending(name).unlink()
        others = {path.read_bytes() for path in self._pending("").iterdir()}
        has_come_far = any(
            row["manifest"] == text and row["state"] in {"Submitted", "Signed", "Rejected"}
            for row in self.world.rows()
        )
        if text not in others and not has_come_far:
            self.owed.discard(text)

    def _open(self):
        """The service's jobs that are not over."""
        return [job for job in self.world.made() if job.progress_code == "Pending"]

    def _can_go_on(self, row) -> bool:
        """Whether nothing that the operator or the service would have to change is in its way."""
        device_id = row["device_id"]
        rivals = [
            other
            for other in self.world.rows()
            if (other["device_id"], other["state"], other["filed"]) == (device_id, "Pending", 0)
        ]
        is_alone = len(rivals) == 1 and device_id not in {job.device_id for job in self._open()}
        drives = [name for name in self.drives if name.startswith(device_id)]
        mounted = [name for name in drives if self.world.shelf.has(self.drives[name])]
        return is_alone and len(mounted) == 1 and not self._signature(mounted[0]).exists()


def text(job) -> bytes:
    """The SIGNATURE of a job of the emulated service."""
    keys = ("version:2.0", "signingMethod:HmacSHA1", f"jobId:{job.job_id}")
    return "\n".join([*keys, f"signature:{job.signature}", ""]).encode()


IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TestWorkstation = Workstation.TestCase
TestWorkstation.__doc__ = Workstation.__doc__
TestWorkstation.settings = settings(
    max_examples=2000 if IS_LONG else 60,
    stateful_step_count=50 if IS_LONG else 30,
    derandomize=not IS_LONG,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
