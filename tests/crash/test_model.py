"""Any order of events at the workstation, with crashes and faults between: the rules always hold.

Runs the same examples every time; `HYPOTHESIS_PROFILE=long` tries many more, new ones each time.
"""

import json
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

import crash
import remains
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from outside import LATE_SECONDS, Event
from world import World, manifest

from daemon.preparation.polling import POLL_SECONDS

# What is written twice or thrice happens as much more often; without luck nothing gets anywhere.
DEVICES = ["HD001", "HD001", "HD002"]
CITIES = ["Berlin"] * 5 + ["PO Box 7"]  # the service refuses the last
FAULTS = ["unreachable", "lost", "late", "unanswered", "500", "500 done", "portal", "late"]
REFUSALS = ["Throttling", "RequestExpired", "InternalFailure"]
OPERATIONS = ["CreateJob", "CreateJob", "ValidateOnly", "ListJobs", "GetStatus", ""]
DEATHS = ["request", "answer", "sqlite COMMIT", "os.rename", "os.", "open"]
DRIVES = ["HD001 A", "HD001 A", "HD001 B", "HD002 C"]  # label and serial
FOREIGN = b"version:2.0\nsigningMethod:HmacSHA1\njobId:ZZZZZ\nsignature:AAAA=\n"


class Workstation(RuleBasedStateMachine):
    """An operator, three drives, a service with bad days, and a daemon that gets killed."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.owed: set[bytes] = set()  # manifests that must be somewhere
        self.foreign: set[str] = set()  # drives with a SIGNATURE that nobody may touch
        self.drives = {name: self.world.new_drive(*name.split()) for name in sorted({*DRIVES})}

    def teardown(self) -> None:
        """Whatever has happened, it comes to a good end."""
        with self.world:
            self.settle()
            self.a_device_has_one_open_job()
            self.a_signature_is_that_of_the_job_for_this_drive()
            self.no_manifest_is_lost()

    # The operator

    @initialize(names=st.sampled_from([["HD001 A"], ["HD001 A", "HD002 C"], []]))
    def plug_in(self, names):
        """Some drives are there from the start, and one manifest."""
        for name in names:
            self.world.mount(self.drives[name])
        self.drop("HD001", "first/", "Berlin", "", at_once=True)

    @rule(
        device_id=st.sampled_from(DEVICES),
        prefix=st.sampled_from(["first/", "second/"]),
        city=st.sampled_from(CITIES),
        suffix=st.sampled_from(["", "", "", " again"]),
        at_once=st.booleans(),
    )
    def drop(self, device_id, prefix, city, suffix, at_once):
        """Drop a manifest, or replace the one that lies there."""
        path = self._pending(f"{device_id}{suffix}.yml")
        text = manifest(device_id, prefix, city)
        self._take_back(path)
        if at_once:
            self.world.drop(path.name, text)
        else:
            path.write_bytes(text)
        self.owed.add(text)

    @rule(device_id=st.sampled_from(DEVICES), suffix=st.sampled_from(["", " again"]))
    def delete(self, device_id, suffix):
        """Take a manifest out of pending/."""
        self._take_back(self._pending(f"{device_id}{suffix}.yml"))

    @rule(device_id=st.sampled_from(DEVICES))
    def rename(self, device_id):
        """Give a manifest another name, over whatever has it."""
        old, new = self._pending(f"{device_id}.yml"), self._pending(f"{device_id} again.yml")
        if old.exists():
            self._take_back(new)
            self.owed.add(old.read_bytes())
            old.rename(new)

    @rule(name=st.sampled_from(DRIVES), while_running=st.booleans())
    def plug(self, name, while_running):
        """Mount a drive in place of its twin; at once, or when the next daemon is idle."""

        def come():
            for twin in self.drives.values():
                if twin.identity.label == self.drives[name].identity.label:
                    self.world.unmount(twin)
            return self.world.mount(self.drives[name])

        self._happen(come, while_running)

    @rule(name=st.sampled_from(DRIVES), while_running=st.booleans())
    def pull(self, name, while_running):
        """Pull a drive out; at once, or when the next daemon is idle."""
        self._happen(lambda: self.world.unmount(self.drives[name]), while_running)

    @rule()
    def confuse(self):
        """Two drives of one name are there."""
        self.world.mount(self.drives["HD001 A"])
        self.world.mount(self.drives["HD001 B"])

    @rule(name=st.sampled_from(DRIVES), data=st.sampled_from([b"", b"", FOREIGN]))
    def meddle(self, name, data):
        """Remove SIGNATURE from a drive by hand, or put one there that is not ours."""
        self._signature(name).unlink(missing_ok=True)
        self.foreign.discard(name)
        if data:
            self._signature(name).write_bytes(data)
            self.foreign.add(name)

    # The service

    @rule(codes=st.sampled_from(["Complete", "Canceled"]))
    @precondition(lambda self: self._open())
    def end_job(self, codes):
        """The service is done with its latest job."""
        changes = {"progress_code": codes, "is_canceled": codes == "Canceled"}
        self.world.wire.service.move(self._open()[-1].job_id, **changes)

    # The daemon

    @rule(seconds=st.sampled_from([0.0, 6.0, 100.0]))
    def live(self, seconds):
        """The daemon runs for a while."""
        self.world.live(patience=seconds)

    @rule(
        operation=st.sampled_from(OPERATIONS),
        fault=st.sampled_from([*FAULTS, *REFUSALS]),
        times=st.sampled_from([1, 1, 2, 5]),
        seconds=st.sampled_from([0.0, 6.0, 100.0]),
    )
    def live_with_faults(self, operation, fault, times, seconds):
        """Requests fail; the next daemon meets what is left of the faults."""
        self.world.wire.faults[:] = [(operation, fault)] * times
        self.world.live(patience=seconds)

    @rule(death=st.sampled_from(DEATHS), number=st.integers(0, 9))
    def live_until_killed(self, death, number):
        """The daemon is killed before one of its effects."""
        heard = count()

        def before(what):
            if what.startswith(death) and next(heard) == number:
                raise crash.Killed(what)

        with suppress(crash.Killed):
            self.world.live(before, patience=6.0)

    @rule(
        name=st.sampled_from(DRIVES),
        prefix=st.sampled_from(["first/", "second/"]),
        fault=st.sampled_from(["", *FAULTS]),
        death=st.sampled_from(["", *DEATHS]),
        number=st.integers(0, 5),
    )
    def start_a_job(self, name, prefix, fault, death, number):
        """A manifest and its one drive are there, nothing is in the way, and something breaks."""
        device_id = self.drives[name].identity.label
        for job in self._open():
            if job.device_id == device_id:
                self.world.wire.service.move(job.job_id, progress_code="Complete")
                self.world.clock.now += 2 * POLL_SECONDS
                self.settle()
        self.plug(name, while_running=False)
        self.delete(device_id, " again")
        self.drop(device_id, prefix, "Berlin", "", at_once=True)
        self.world.wire.faults[:] = [("CreateJob", fault)]
        if death:
            self.live_until_killed(death, number)
        else:
            self.live(0.0)

    @rule()
    def settle(self):
        """No more faults, and time passes: what can be done is done, the rest says why not."""
        self.world.wire.faults.clear()
        self.world.live(patience=700.0)
        self.world.clock.now += LATE_SECONDS

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
    def a_signature_is_that_of_the_job_for_this_drive(self):
        """Never that of another device's job, nor a twin's; a foreign one is never touched."""
        made_for = {
            row["job_id"]: json.loads(row["fields"])["drive"]["serial"]
            for row in self.world.rows()
            if row["job_id"] and row["state"] != "Rejected"
        }
        for name, drive in self.drives.items():
            files = remains.tree(drive.mount_point)
            assert files.keys() <= {"SIGNATURE", ".SIGNATURE.driveprep"}
            data = files.get("SIGNATURE")
            if name in self.foreign:
                assert data == FOREIGN
            elif data:
                (job,) = [job for job in self.world.made() if text(job) == data]
                assert job.device_id == drive.identity.label
                # Of a job that ended before it was known to be signed, the drive is not kept.
                assert made_for.get(job.job_id, drive.identity.serial) == drive.identity.serial

    @invariant()
    def no_manifest_is_lost(self):
        """It is in pending/, in the journal, in prepared/ or in rejected/."""
        kept = {row["manifest"] for row in self.world.rows()}
        missing = self.owed - kept - set(self.world.files().values())
        assert not missing, missing

    def _happen(self, event: Event, while_running: bool) -> None:
        self.world.events.clear()
        if while_running:
            self.world.events.append(event)
        else:
            event()

    def _pending(self, name: str) -> Path:
        (self.world.spool / "pending").mkdir(parents=True, exist_ok=True)
        return self.world.spool / "pending" / name

    def _signature(self, name: str) -> Path:
        return Path(self.drives[name].mount_point) / "SIGNATURE"

    def _take_back(self, path: Path) -> None:
        """Delete a manifest. From then on only one that the service has is still owed."""
        if not path.exists():
            return
        text = path.read_bytes()
        path.unlink()
        others = {path.read_bytes() for path in path.parent.iterdir()}
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
    max_examples=2000 if IS_LONG else 100,
    stateful_step_count=50 if IS_LONG else 20,
    derandomize=not IS_LONG,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
