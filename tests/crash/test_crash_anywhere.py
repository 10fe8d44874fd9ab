"""Killed before every effect on the world, and again before every effect of each recovery.

At each effect the world is photographed twice: as a SIGKILL would leave it, and as a power cut
would, in the worst case. From each photograph a new daemon starts, and is photographed in turn,
until no crash leads to a world that was not seen before. What holds at the end of each of these
lives therefore holds after any number of crashes, at any effects.
"""

import json
from hashlib import sha256
from itertools import count
from pathlib import Path

import crash
import pytest
import remains
from everywhere import crash_everywhere, key, life
from world import World, manifest

from daemon.importexport.emulator import Emulator

NAME = "hd1.yml"


@pytest.fixture
def world():
    """A world with nothing in it."""
    with World() as world:
        yield world


def check_prepared(world, dropped, drive, device_id="HD001"):
    """One job, its SIGNATURE on the drive and nothing else, its papers filed, all done."""
    made = [job for job in world.made() if job.manifest.encode() == dropped]
    assert len(made) == 1, made
    (job,) = made
    signature = (
        f"version:2.0\nsigningMethod:HmacSHA1\njobId:{job.job_id}\nsignature:{job.signature}\n"
    ).encode()
    assert remains.tree(drive) == {"SIGNATURE": signature}
    spool = remains.tree(world.spool)
    folder = f"prepared/{job.job_id}-{device_id}"
    assert spool[f"{folder}/manifest.yml"] == dropped
    assert spool[f"{folder}/SIGNATURE"] == signature
    assert json.loads(spool[f"{folder}/receipt.json"])["jobId"] == job.job_id
    assert sum(data == dropped for data in spool.values()) == 1
    assert sum(data == signature for data in spool.values()) == 1
    assert not [name for name in spool if name.startswith(("pending/", "rejected/"))]
    assert not [name for name in spool if "part" in name]
    row = world.rows()[-1]
    assert (row["state"], row["job_id"], row["filed"]) == ("Signed", job.job_id, 1)
    assert row["manifest"] is None


def check_rejected(world, dropped):
    """No job, nothing on a drive; the manifest and its one reason under rejected/, all done."""
    assert world.made() == ()
    assert not any(remains.tree(world.media).values())
    spool = remains.tree(world.spool)
    papers = {name: data for name, data in spool.items() if name.startswith("rejected/")}
    assert papers.keys() == {f"rejected/{NAME}", f"rejected/{NAME}.reason.txt"}
    assert papers[f"rejected/{NAME}"] == dropped
    assert papers[f"rejected/{NAME}.reason.txt"]
    assert not [name for name in spool if name.startswith(("pending/", "prepared/"))]
    (row,) = world.rows()
    assert (row["state"], row["filed"], row["manifest"]) == ("Rejected", 1, None)


def test_a_dropped_manifest_and_a_drive_make_one_job_whatever_breaks(world):
    """The main job, from the drop until it is filed."""
    drive = world.plug_in("HD001")
    world.drop(NAME, manifest())

    tally = crash_everywhere(world, lambda: check_prepared(world, manifest(), drive))

    print(tally)
    assert tally.singles > 50
    assert tally.pairs > 1000


def test_a_manifest_checked_before_its_drive_comes_is_prepared_once(world):
    """ValidateOnly first, the drive later: the same end."""
    drive = world.new_drive("HD001")
    world.events.append(lambda: world.mount(drive))
    world.drop(NAME, manifest())

    tally = crash_everywhere(world, lambda: check_prepared(world, manifest(), drive.mount_point))

    print(tally)
    assert tally.pairs > 1000


@pytest.mark.parametrize("validate", [True, False])
def test_a_manifest_that_the_service_refuses_is_rejected_once(world, validate):
    """At ValidateOnly or at CreateJob: one rejected manifest with one reason, and no job."""
    refused = manifest(city="PO Box 7")
    world.validate_on_drop = validate
    if not validate:
        world.plug_in("HD001")
    world.drop(NAME, refused)

    tally = crash_everywhere(world, lambda: check_rejected(world, refused))

    print(tally)
    assert tally.pairs > 200


def test_a_manifest_with_a_fault_is_rejected_once(world):
    """The service is never asked."""
    world.drop(NAME, b"deviceId: HD001\n")

    tally = crash_everywhere(world, lambda: check_rejected(world, b"deviceId: HD001\n"))

    print(tally)
    assert tally.pairs > 200


def test_a_returned_drive_is_prepared_anew_once(world):
    """The old job is over; its SIGNATURE on the drive is ours, and gives way to the new one."""
    drive = world.plug_in("HD001")
    world.drop(NAME, manifest())
    world.live()
    world.wire.service.move(world.made()[0].job_id, progress_code="Complete")
    world.drop(NAME, manifest(prefix="again/"))

    def check():
        check_prepared(world, manifest(prefix="again/"), drive)
        assert len(world.made()) == 2
        assert world.files()["spool/prepared/J0001-HD001/manifest.yml"] == manifest()

    tally = crash_everywhere(world, check)

    print(tally)
    assert tally.pairs > 1000


def test_a_kill_leaves_what_the_photograph_showed(world):
    """Killed in earnest: whatever runs on its way out changes nothing any more."""
    world.plug_in("HD001")
    world.drop(NAME, manifest())
    start = world.photo()
    album = life(world, start)

    for number, (what, killed, _) in enumerate(album):
        world.restore(start)
        with pytest.raises(crash.Killed):
            world.live(kill_at(number))
        assert key(world.photo()) == key(killed), what


def test_a_kill_before_each_effect_with_a_service_on_a_real_wire(world):
    """Over HTTP, with the emulator: killed once before each effect, then one job."""
    drive = world.plug_in("HD001")
    start = world.photo()
    for number in count():
        dropped = manifest(prefix=f"{number}/")
        world.restore(start)
        world.drop(NAME, dropped)
        with Emulator(clock=world.clock) as emulator:
            world.endpoint = emulator.endpoint
            world.made = lambda emulator=emulator: emulator.jobs
            try:
                world.live(kill_at(number))
                break
            except crash.Killed:
                world.live()
            check_prepared(world, dropped, drive)

    assert number > 50


def test_a_drive_pulled_before_each_effect_is_signed_when_it_comes_back(world):
    """Another drive at its mount point gets nothing; in the end there is one job."""
    root = world.plug_in("HD001")
    (drive,) = world.shelf.mounted()
    world.drop(NAME, manifest())
    start = world.photo()

    for number, (what, *_) in enumerate(life(world, start)):
        world.restore(start)
        world.live(at(number, lambda: pull(world, drive)), patience=100.0)
        assert remains.tree(root) == {}, what
        root.rmdir()
        root.with_name("pulled").rename(root)
        world.mount(drive)
        world.live()
        check_prepared(world, manifest(), root)


def test_a_manifest_edited_before_each_effect_makes_one_job_of_one_text(world):
    """The old text or the new one, never the one under the other's name; neither is lost."""
    world.plug_in("HD001")
    world.drop(NAME, manifest())
    start, edited = world.photo(), manifest(prefix="edited/")

    for number, (what, *_) in enumerate(life(world, start)):
        world.restore(start)
        world.live(at(number, lambda: edit(world, edited)), patience=100.0)
        (job,) = world.made()
        (row,) = [row for row in world.rows() if row["job_id"] == job.job_id]
        assert row["sha256"] == sha256(job.manifest.encode()).hexdigest(), what
        assert {job.manifest.encode(), edited} <= set(world.files().values()), what


def test_a_manifest_edited_at_the_instant_it_is_taken_away_is_not_lost(world):
    """What is removed from pending/ is what was read there, or nothing."""
    world.plug_in("HD001")
    world.drop(NAME, manifest())
    edited = manifest(prefix="edited/")

    def before(what):
        if what == f"os.rename {world.spool}/pending/{NAME} {world.spool}/.taken/{NAME}":
            edit(world, edited)

    world.live(before, patience=100.0)

    assert edited in world.files().values()


def at(number, act):
    """Do something before effect `number`, counted from 0."""
    heard = count()

    def before(what):
        if next(heard) == number:
            act()

    return before


def kill_at(number):
    """Kill before effect `number`, counted from 0."""

    def kill():
        raise crash.Killed

    return at(number, kill)


def pull(world, drive):
    """Exchange a drive for an empty one at the same mount point."""
    world.unmount(drive)
    Path(drive.mount_point).rename(world.media / "pulled")
    Path(drive.mount_point).mkdir()


def edit(world, data):
    """Put a manifest in the place of the one in pending/, or there anew, as editors do."""
    (world.spool / "new").write_bytes(data)
    (world.spool / "new").rename(world.spool / "pending" / NAME)
