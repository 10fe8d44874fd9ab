"""The spool on a real disk: when a file counts, and that none is lost, doubled or overwritten."""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from memory_drive import mounted, needs_root
from os_calls import failing, killed

from daemon.errors import SpoolError
from daemon.spool import dropping, spool
from daemon.spool.filing import READ_LIMIT, digest
from daemon.spool.spool import Spool

DATA = b"deviceId: HD001\n"
SETTLE = 1.0


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        """Seconds since whenever."""
        return self.now


@pytest.fixture
def clock():
    """A clock as no one can set it: it has nothing to do with the times of files."""
    return Clock(5000.0)


@pytest.fixture
def box(tmp_path, clock):
    """A spool that was looked at already, as it is for most of a daemon's life."""
    return Spool(tmp_path / "spool", SETTLE, clock)


def scan(box):
    """Every file in pending/ that may be a manifest, by name."""
    found = map(box.examine, sorted(box.names()))
    return [one for one in found if one]


def waits(box, age=lambda found: 0.0):
    """How long each file in pending/ still has to keep still."""
    return {one.name: box.wait(one, age(one)) for one in scan(box)}


def backdate(path):
    """Give a file an mtime before its ctime, however coarse the kernel's clock ticks."""
    os.utime(path, ns=(1, 1))


def tree(folder):
    """Every file and folder below, with the contents of files; but for TAKEN while it is empty."""
    found = {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
    assert found.pop(spool.TAKEN, None) is None
    return found


# The folders


def test_folders_are_made_for_their_readers(tmp_path, clock):
    """The folders are made with their modes, and those that are there stay as they are."""
    Spool(tmp_path / "a" / "spool", SETTLE, clock)
    (tmp_path / "a" / "spool" / "pending").chmod(0o777)
    Spool(tmp_path / "a" / "spool", SETTLE, clock)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a/spool").iterdir()}
    assert modes.pop(spool.TAKEN) == 0o700
    assert modes == {"pending": 0o777, "prepared": 0o750, "rejected": 0o750, "answers": 0o750}


def test_new_until_something_was_prepared(box):
    """A spool is new until a job was filed in it, rejected manifests or not."""
    (box.pending / "a.yml").write_bytes(b"bad")
    box.reject("a.yml", digest(b"bad"), None, "reason")
    assert box.is_new()

    box.file("K7M3X-HD001", "a.yml", "", {"SIGNATURE": b"x"})
    assert not box.is_new()


# When a file counts


def test_renamed_in_counts_at_once(box, tmp_path):
    """A file that is renamed into the folder was complete before it came."""
    (tmp_path / "a.yml").write_bytes(DATA)
    backdate(tmp_path / "a.yml")

    (tmp_path / "a.yml").rename(box.pending / "a.yml")

    assert waits(box) == {"a.yml": 0}


def test_written_in_place_counts_when_it_has_kept_still(box, clock):
    """A file that grows counts only after a whole pause without a change, however one looks."""
    with (box.pending / "a.yml").open("wb") as file:
        for _ in range(5):
            file.write(b"x")
            file.flush()
            assert waits(box) == {"a.yml": SETTLE}
            clock.now += 0.9
            assert waits(box) == {"a.yml": pytest.approx(0.1)}

    clock.now += 0.2
    assert waits(box) == {"a.yml": 0}
    assert waits(box) == {"a.yml": 0}


def test_closed_counts_at_once(box):
    """A file whose writer has closed it need not keep still, until somebody writes to it again."""
    (box.pending / "a.yml").write_bytes(DATA)
    assert waits(box) == {"a.yml": SETTLE}

    box.noticed("a.yml", complete=True)
    assert waits(box) == {"a.yml": 0}

    with (box.pending / "a.yml").open("ab") as file:
        file.write(b"half")
        file.flush()
        assert waits(box) == {"a.yml": SETTLE}


def test_closed_while_empty_does_not_count(box, clock):
    """A name that was only taken, as by touch(1), is given the time to be written to."""
    (box.pending / "a.yml").touch()
    backdate(box.pending / "a.yml")
    box.noticed("a.yml", complete=True)
    assert waits(box) == {"a.yml": SETTLE}

    clock.now += SETTLE
    assert waits(box) == {"a.yml": 0}


def test_closed_names_that_are_none(box):
    """What has gone by the time it is told of, or is no manifest, is not kept in mind."""
    (box.pending / ".a.yml.part").write_bytes(DATA)

    box.noticed("gone.yml", complete=True)
    box.noticed(".a.yml.part", complete=True)

    assert box._still == {}


def test_file_completed_during_a_look_counts(box, clock, monkeypatch):
    """What the watch's thread says while the folder is looked at is not forgotten."""
    with (box.pending / "a.yml").open("wb", buffering=0) as file, ThreadPoolExecutor() as watch:

        def meanwhile():
            monkeypatch.undo()
            file.write(DATA)
            with suppress(TimeoutError):  # a look may keep the watch waiting
                watch.submit(box.noticed, "a.yml", complete=True).result(0.2)
            return clock()

        monkeypatch.setattr(box, "_clock", meanwhile)
        file.write(DATA)
        assert waits(box) == {"a.yml": SETTLE}

    assert waits(box) == {"a.yml": 0}


@pytest.mark.parametrize("now", [0.0, 5000.0, 4e9])
@pytest.mark.parametrize("mtime", [0, 4e9])
def test_other_clocks_do_not_count(tmp_path, now, mtime):
    """A half-written file never counts, whatever its own times and the server's clock say."""
    clock = Clock(now)
    box = Spool(tmp_path / "spool", SETTLE, clock)
    with (box.pending / "a.yml").open("wb") as file:
        os.utime(file.fileno(), (mtime, mtime))
        file.write(DATA)
        file.flush()
        assert waits(box) == {"a.yml": SETTLE}

    os.utime(box.pending / "a.yml", (4e9, 4e9))
    assert waits(box) == {"a.yml": SETTLE}
    clock.now += SETTLE
    assert waits(box) == {"a.yml": 0}


def test_clock_set_back(box, clock):
    """A clock that is set back does not make a file wait for ever, nor count early."""
    (box.pending / "a.yml").write_bytes(DATA)
    assert waits(box) == {"a.yml": SETTLE}

    clock.now -= 3600
    assert waits(box) == {"a.yml": SETTLE}
    clock.now += SETTLE
    assert waits(box) == {"a.yml": 0}


@pytest.mark.parametrize(
    ("age", "wait"), [(0.0, SETTLE), (0.25, 0.75), (60.0, 0.0), (-9.0, SETTLE)]
)
def test_an_old_file_counts_at_once(box, clock, age, wait):
    """What is known not to have changed for a while need not keep still for so long; once."""
    (box.pending / "a.yml").write_bytes(DATA)
    assert waits(box, lambda _: age) == {"a.yml": wait}

    (box.pending / "a.yml").write_bytes(DATA + b"x")
    assert waits(box) == {"a.yml": SETTLE}


def test_files_that_went_are_forgotten(box):
    """Nothing is kept in mind of files that have gone."""
    for number in range(10):
        (box.pending / f"{number}.yml").write_bytes(DATA)
    waits(box)
    for number in range(10):
        (box.pending / f"{number}.yml").unlink()
        assert box.examine(f"{number}.yml") is None

    assert box._still == {}


# What is found


@pytest.mark.parametrize(
    "name",
    [
        "a.yml",
        "a.yaml",
        "a.manifest",
        "a.txt",
        "A.YML",
        "ä b.Yaml",
        "a.b.yml",
        "a.bak.yml",
        "-.yml",
    ],
)
def test_names_that_count(name):
    """Manifests are known by four endings, in any case."""
    assert dropping.is_manifest_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "yml", ".yml", "a", "a.json", "a.yml.bak", "a.yml~", "a.yml.orig", "#a.yml#"),
        *(".a.yml", ".a.yml.swp", ".#a.yml", "~a.yml", "~$a.yml", "4913"),
        *("a.yml.part", "a.yml.tmp", "a.yml.swp", "a.part.yml", "a.tmp.txt", "a.PART.yml"),
        *("a.yml.crdownload", "a.yml.filepart", "a.yml.reason.txt", ".retry-HD001", ".1.part"),
    ],
)
def test_names_that_never_count(name):
    """Editors' copies, partial downloads, hidden files and our own papers are no manifests."""
    assert not dropping.is_manifest_name(name)


def test_scan_tells_what_is_no_file(box):
    """Links, folders and FIFOs are found, and told from plain files; in the order of names."""
    (box.pending / "d.yml").write_bytes(DATA)
    (box.pending / "c.yml").symlink_to("d.yml")
    (box.pending / "b.yml").mkdir()
    os.mkfifo(box.pending / "a.yml")

    found = [(one.name, one.is_regular) for one in scan(box)]
    assert found == [("a.yml", False), ("b.yml", False), ("c.yml", False), ("d.yml", True)]
    for name in ("a.yml", "b.yml", "c.yml"):
        with pytest.raises(SpoolError, match=r"regular|symbolic"):
            box.read(name)


def test_stamp_changes_with_the_file(box):
    """Every change of contents, name or place shows in the stamp; a look does not."""
    path = box.pending / "a.yml"
    path.write_bytes(DATA)
    stamps = [scan(box)[0].stamp]
    assert scan(box)[0].stamp == stamps[0]

    for change in (
        lambda: path.write_bytes(DATA + b"x"),
        lambda: backdate(path),
        lambda: (path.rename(box.path / "away"), (box.path / "away").rename(path)),
        lambda: (path.unlink(), path.write_bytes(DATA)),
    ):
        change()
        stamps.append(scan(box)[0].stamp)

    assert len(set(stamps)) == 5


def test_read_is_cut(box):
    """A file is read just as far as shows that it is too long."""
    (box.pending / "a.yml").write_bytes(b"x" * (READ_LIMIT + 1000))

    assert len(box.read("a.yml")) == READ_LIMIT == 64 * 1024 + 1


# Rejected


def test_reject_moves_and_tells(box):
    """The manifest itself goes to rejected/, its reason beside it."""
    (box.pending / "a.yml").write_bytes(DATA)
    inode = (box.pending / "a.yml").stat().st_ino

    assert box.reject("a.yml", digest(DATA), b"other", "why") == "a.yml"

    assert tree(box.path / "rejected") == {"a.yml": DATA, "a.yml.reason.txt": b"why"}
    assert (box.path / "rejected/a.yml").stat().st_ino == inode
    assert tree(box.pending) == {}


def test_reject_the_same_file_again(box):
    """A bad file that is dropped again gets a number, and so does its reason; nothing is lost."""
    for number in (1, 2, 3):
        (box.pending / "a.b.yml").write_bytes(DATA)
        box.reject("a.b.yml", digest(DATA), None, f"why {number}")

    assert tree(box.path / "rejected") == {
        "a.b.yml": DATA,
        "a.b.yml.reason.txt": b"why 1",
        "a.b-2.yml": DATA,
        "a.b-2.yml.reason.txt": b"why 2",
        "a.b-3.yml": DATA,
        "a.b-3.yml.reason.txt": b"why 3",
    }


def test_reject_twice_is_once(box):
    """The same call again changes nothing, not even where a new file has the name by then."""
    (box.pending / "a.yml").write_bytes(DATA)
    box.reject("a.yml", digest(DATA), None, "why")
    (box.pending / "a.yml").write_bytes(b"corrected")

    for sha256 in (digest(DATA), ""):
        assert box.reject("a.yml", sha256, DATA, "why") == "a.yml"

    assert tree(box.path / "rejected") == {"a.yml": DATA, "a.yml.reason.txt": b"why"}
    assert tree(box.pending) == {"a.yml": b"corrected"}


def test_reject_of_what_has_changed(box):
    """A file that was edited meanwhile stays in pending/; what was rejected is written instead."""
    (box.pending / "a.yml").write_bytes(b"edited")

    box.reject("a.yml", digest(DATA), DATA, "why")

    assert tree(box.path / "rejected") == {"a.yml": DATA, "a.yml.reason.txt": b"why"}
    assert (box.path / "rejected/a.yml").stat().st_mode & 0o777 == 0o600  # it may hold a password
    assert tree(box.pending) == {"a.yml": b"edited"}


def test_reject_of_what_has_gone(box):
    """Of a file that has gone, and whose text nobody has, only the reason is filed."""
    box.reject("a.yml", digest(DATA), None, "why")

    assert tree(box.path) == {
        "pending": None,
        "prepared": None,
        "answers": None,
        "rejected": None,
        "rejected/a.yml.reason.txt": b"why",
    }


@pytest.mark.parametrize("kind", ["folder", "link", "fifo"])
def test_reject_of_what_is_no_file(box, kind):
    """A folder, link or FIFO is moved as it is, with all that is in it."""
    path = box.pending / "a.yml"
    if kind == "folder":
        (path / "sub").mkdir(parents=True)
        (path / "sub" / "file").write_bytes(DATA)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)
    before = path.lstat()

    box.reject("a.yml", "", None, "not a file")

    assert (box.path / "rejected/a.yml").lstat().st_ino == before.st_ino
    assert os.listdir(box.pending) == []


def test_reject_spares_a_good_file_of_that_name(box):
    """Where what could not be read was replaced by a file that can, the file stays."""
    (box.pending / "a.yml").write_bytes(DATA)

    box.reject("a.yml", "", None, "not a file")

    assert tree(box.pending) == {"a.yml": DATA}


def test_reject_where_names_are_taken(box):
    """Neither a manifest nor a reason, nor a folder with either name, is ever overwritten."""
    rejected = box.path / "rejected"
    (rejected / "a.yml").write_bytes(b"an orphan")
    (rejected / "a-2.yml.reason.txt").mkdir()
    (rejected / "a-3.yml.reason.txt").write_bytes(b"another reason")
    (box.pending / "a.yml").write_bytes(DATA)

    assert box.reject("a.yml", digest(DATA), None, "why") == "a-4.yml"
    assert tree(rejected) == {
        "a.yml": b"an orphan",
        "a-2.yml.reason.txt": None,
        "a-3.yml.reason.txt": b"another reason",
        "a-4.yml": DATA,
        "a-4.yml.reason.txt": b"why",
    }


def test_reject_of_a_long_reason(box):
    """A reason of any length is known again."""
    reason = "many faults\n" * 200_000

    places = [box.reject("a.yml", digest(DATA), DATA, reason) for _ in range(2)]

    assert places == ["a.yml", "a.yml"]


@pytest.mark.parametrize("name", ["x" * 251 + ".yml", "ä" * 123 + ".manifest", "\udcff\udcfe.yml"])
def test_reject_of_odd_names(box, name):
    """A name that is too long for its reason, or no UTF-8, is spelled so that both can be filed."""
    for number in (1, 2):
        (box.pending / name).write_bytes(DATA)
        place = box.reject(name, digest(DATA), None, f"why {number}")
        place.encode()
        assert (box.path / "rejected" / place).read_bytes() == DATA
        assert (box.path / "rejected" / f"{place}.reason.txt").read_text() == f"why {number}"

    assert len(os.listdir(box.path / "rejected")) == 4
    assert os.listdir(box.pending) == []


def test_reject_from_many_threads(box):
    """Workers that reject files of one name at once take different numbers."""
    with ThreadPoolExecutor(8) as pool:
        places = list(
            pool.map(lambda n: box.reject("a.yml", digest(b"%d" % n), b"%d" % n, f"{n}"), range(40))
        )

    assert len(set(places)) == 40
    for number, place in enumerate(places):
        assert (box.path / "rejected" / place).read_text() == str(number)
        assert (box.path / "rejected" / f"{place}.reason.txt").read_text() == str(number)


# Death at every call


def die_everywhere(act, check, path):
    """Kill `act` before each of its calls; then call it again, and `check` what is there.

    Returns the number of calls.
    """
    start = tempfile.mkdtemp(dir=path.parent)
    shutil.copytree(path, start, dirs_exist_ok=True, symlinks=True)
    for number in count(1):
        came_so_far = killed(act, number)
        act()
        check()
        if not came_so_far:
            return number - 1
        shutil.rmtree(path)
        shutil.copytree(start, path, symlinks=True)
    raise AssertionError("numbers never end")


def test_reject_after_any_death(box):
    """Wherever a process dies: in the end one copy of the manifest, one reason, no litter."""
    (box.pending / "a.yml").write_bytes(DATA)
    done = {"pending": None, "prepared": None, "answers": None, "rejected": None}
    done |= {"rejected/a.yml": DATA, "rejected/a.yml.reason.txt": b"why"}

    def check():
        assert tree(box.path) == done

    calls = die_everywhere(lambda: box.reject("a.yml", digest(DATA), DATA, "why"), check, box.path)
    assert calls > 8


def test_reject_of_the_journaled_text_after_any_death(box):
    """The same where the file has gone and its text is written, never half of it."""
    (box.pending / "a.yml").write_bytes(b"edited")
    done = {
        "pending": None,
        "prepared": None,
        "answers": None,
        "rejected": None,
        "pending/a.yml": b"edited",
    }
    done |= {"rejected/a.yml": DATA, "rejected/a.yml.reason.txt": b"why"}

    def check():
        assert tree(box.path) == done

    calls = die_everywhere(lambda: box.reject("a.yml", digest(DATA), DATA, "why"), check, box.path)
    assert calls > 12


def test_file_after_any_death(box):
    """Wherever a process dies: in the end one folder of papers, whole, and no manifest pending."""
    files = {"manifest.yml": DATA, "SIGNATURE": b"signed", "receipt.json": b"{}"}
    (box.pending / "a.yml").write_bytes(DATA)
    done = {
        "pending": None,
        "prepared": None,
        "answers": None,
        "rejected": None,
        "prepared/K7M3X-HD001": None,
    }
    done |= {f"prepared/K7M3X-HD001/{name}": data for name, data in files.items()}

    def check():
        assert tree(box.path) == done

    calls = die_everywhere(
        lambda: box.file("K7M3X-HD001", "a.yml", digest(DATA), files), check, box.path
    )
    assert calls > 20


def test_drop_after_any_death(box):
    """Whoever drops a file and dies leaves all of it under its name, or nothing that counts."""
    (box.pending / "other.yml").write_bytes(b"other")

    for number in count(1):
        came_so_far = killed(lambda: dropping.drop(box.pending, "a.yml", DATA), number)
        left = {one.name: box.read(one.name) for one in scan(box)}
        assert left in ({"other.yml": b"other"}, {"other.yml": b"other", "a.yml": DATA})
        (box.pending / "a.yml").unlink(missing_ok=True)
        if not came_so_far:
            break

    assert number > 8


# Prepared


def test_file_puts_the_papers_away(box):
    """The papers get a folder that others may not read, and the manifest leaves pending/."""
    (box.pending / "a.yml").write_bytes(DATA)

    place = box.file("K7M3X-HD001", "a.yml", digest(DATA), {"manifest.yml": DATA})

    assert place == box.path / "prepared" / "K7M3X-HD001"
    assert tree(place) == {"manifest.yml": DATA}
    assert place.stat().st_mode & 0o777 == 0o750
    assert (place / "manifest.yml").stat().st_mode & 0o777 == 0o640
    assert tree(box.pending) == {}


def test_file_twice_is_once(box):
    """The same papers are filed once, also where somebody has put more beside them."""
    for _ in range(2):
        place = box.file("K7M3X-HD001", "a.yml", digest(DATA), {"manifest.yml": DATA})
        (place / "note").write_text("on the shelf")

    assert os.listdir(box.path / "prepared") == ["K7M3X-HD001"]


def test_file_leaves_what_has_changed(box):
    """A manifest that was edited after its submission stays in pending/: it is another one."""
    (box.pending / "a.yml").write_bytes(b"edited")

    box.file("K7M3X-HD001", "a.yml", digest(DATA), {"manifest.yml": DATA})

    assert tree(box.pending) == {"a.yml": b"edited"}


@pytest.mark.parametrize("taken", ["papers", "fewer", "file", "link"])
def test_file_overwrites_nothing(box, taken):
    """What has the name of the new papers is kept under another one."""
    prepared = box.path / "prepared"
    place = prepared / "K7M3X-HD001"
    if taken == "file":
        place.write_bytes(b"a file")
    elif taken == "link":
        place.symlink_to("elsewhere")
    else:
        place.mkdir()
        (place / "manifest.yml").write_bytes(b"before" if taken == "papers" else DATA)
    (prepared / "K7M3X-HD001-before").mkdir()
    kept = {
        name.replace("HD001", "HD001-before-2", 1): data
        for name, data in tree(prepared).items()
        if name.split("/")[0] == "K7M3X-HD001"
    }

    new = {"manifest.yml": DATA, "slip.html": b"slip"}
    filed = box.file("K7M3X-HD001", "a.yml", "", new)

    assert filed == place
    whole = {"K7M3X-HD001": None, "K7M3X-HD001-before": None}
    papers = {f"K7M3X-HD001/{name}": data for name, data in new.items()}
    assert tree(prepared) == kept | whole | papers


def test_file_is_idempotent_after_an_update(box):
    """Papers that were set aside before a crash stay so; only one folder is set aside."""
    box.file("K7M3X-HD001", "a.yml", "", {"manifest.yml": b"before"})
    papers = box.path / "prepared" / "K7M3X-HD001"
    papers.rename(papers.with_name("K7M3X-HD001-before"))

    for _ in range(2):
        box.file("K7M3X-HD001", "a.yml", "", {"manifest.yml": DATA})

    assert tree(box.path / "prepared") == {
        "K7M3X-HD001": None,
        "K7M3X-HD001/manifest.yml": DATA,
        "K7M3X-HD001-before": None,
        "K7M3X-HD001-before/manifest.yml": b"before",
    }


def test_paper(box):
    """A paper is read again; one that somebody has removed is missing."""
    box.file("K7M3X-HD001", "a.yml", "", {"manifest.yml": DATA})

    assert box.paper("K7M3X-HD001", "manifest.yml") == DATA
    assert box.paper("K7M3X-HD001", "slip.html") is None
    assert box.paper("K7M3X-HD002", "manifest.yml") is None


# The front door's side


def test_drop_is_whole_and_counts_at_once(box):
    """A dropped file is complete as it appears, and nothing else is left."""
    place = dropping.drop(box.pending, "a.yml", DATA)

    assert place == box.pending / "a.yml"
    assert tree(box.pending) == {"a.yml": DATA}
    box.noticed("a.yml", complete=True)  # as the watch says, where one tick of the clock saw it all
    assert waits(box) == {"a.yml": 0}


@pytest.mark.parametrize("name", ["a.yml", "x" * 251 + ".yml"])
def test_drop_takes_no_taken_name(box, name):
    """A name that is taken stays with what has it."""
    dropping.drop(box.pending, name, DATA)

    with pytest.raises(FileExistsError):
        dropping.drop(box.pending, name, b"other")

    assert tree(box.pending) == {name: DATA}


def test_several_are_dropped_or_none(box):
    """Where one name is taken, none of the others is used, and nothing else is left."""
    (box.pending / "b.yml").write_bytes(b"other")
    before = tree(box.pending)

    with pytest.raises(FileExistsError):
        dropping.drop_all(box.pending, {"a.yml": DATA, "b.yml": DATA, "c.yml": DATA})
    assert tree(box.pending) == before

    dropping.drop_all(box.pending, {"a.yml": DATA, "c.yml": b"x"})
    assert tree(box.pending) == before | {"a.yml": DATA, "c.yml": b"x"}


@pytest.mark.parametrize("number", range(1, 16))
def test_several_are_dropped_or_none_when_the_disk_is_full(box, number):
    """Whichever call fails, no manifest is left that the operator does not know of."""
    files = {"a.yml": DATA, "b.yml": DATA}
    try:
        with failing(number):
            dropping.drop_all(box.pending, files)
    except OSError:
        assert scan(box) == []
    else:
        assert files.items() <= tree(box.pending).items()
        assert [one.name for one in scan(box)] == ["a.yml", "b.yml"]


def test_retry_is_told_once(box):
    """Word of a deviceId reaches the daemon once, however often it was left."""
    for device_id in ("HD001", "HD001", "HD/../Ä 2%", "Ä" * 40):
        dropping.ask_to_retry(box.pending, device_id)

    assert scan(box) == []
    assert sorted(box.retries(box.names())) == ["HD/../Ä 2%", "HD001", "Ä" * 40]
    assert box.retries(box.names()) == []
    assert os.listdir(box.pending) == []


def test_retry_of_strangers(box):
    """A folder that is named like such a word is no word; any other ending is a deviceId."""
    (box.pending / ".retry-folder").mkdir()
    (box.pending / ".retry-zz%zz\udcff").touch()

    assert [device_id[:5] for device_id in box.retries(box.names())] == ["zz%zz"]
    assert box.retries(box.names()) == []
    assert os.listdir(box.pending) == [".retry-folder"]


# A pending/ on another file system, such as a network folder


@needs_root
def test_pending_may_be_a_mount_of_its_own(tmp_path, clock):
    """What cannot be renamed out of pending/ is copied out; an edit is still given back."""
    (tmp_path / "spool").mkdir()
    with mounted(tmp_path / "spool" / "pending"):
        box = Spool(tmp_path / "spool", SETTLE, clock)
        for name in ("good.yml", "bad.yml"):
            (box.pending / name).write_bytes(DATA)

        box.file("K7M3X-HD001", "good.yml", digest(DATA), {"manifest.yml": DATA})
        box.reject("bad.yml", digest(DATA), None, "why")
        (box.path / spool.TAKEN / "left.yml").write_bytes(DATA)
        (box.pending / "left.yml").write_bytes(b"another by now")
        Spool(tmp_path / "spool", SETTLE, clock)

        assert tree(box.pending) == {"left.yml": b"another by now", "left-2.yml": DATA}
        assert tree(box.path / "rejected") == {"bad.yml": DATA, "bad.yml.reason.txt": b"why"}
        assert (box.path / "prepared/K7M3X-HD001/manifest.yml").read_bytes() == DATA


def test_what_was_taken_is_given_back_beside_a_folder(box, clock):
    """A folder that got its name meanwhile is not the same file."""
    (box.path / spool.TAKEN / "left.yml").write_bytes(DATA)
    (box.pending / "left.yml").mkdir()

    Spool(box.path, SETTLE, clock)

    assert (box.pending / "left-2.yml").read_bytes() == DATA
    assert os.listdir(box.path / spool.TAKEN) == []


# Any name


PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=60)


@given(PARTS, st.sampled_from(dropping.SUFFIXES))
@example("..", ".yml")
@example("\n\x1b[2J", ".txt")
@example("-rf *", ".yaml")
def test_any_name_stays_in_its_folder(stem, suffix):
    """Whatever a file is called, it is found if it counts, rejected twice, and never elsewhere."""
    name = stem + suffix
    with tempfile.TemporaryDirectory() as folder:
        box = Spool(Path(folder) / "spool", SETTLE, Clock(0.0))
        for number in (1, 2):
            (box.pending / name).write_bytes(DATA)
            counts = [one.name for one in scan(box)]
            assert counts == ([name] if dropping.is_manifest_name(name) else [])
            box.reject(name, digest(DATA), None, f"why {number}")

        filed = tree(box.path / "rejected")
        assert sorted(filed.values()) == [DATA, DATA, b"why 1", b"why 2"]
        assert {"/" in name for name in filed} == {False}
        assert tree(Path(folder)).keys() - {f"spool/rejected/{name}" for name in filed} == {
            "spool",
            f"spool/{spool.TAKEN}",
            *(f"spool/{name}" for name in spool.FOLDERS),
        }


@given(st.text(), st.text())
@example("..", "../../etc")
@example("/", ".")
def test_any_ids_make_one_safe_folder_name(job_id, device_id):
    """Whatever the service and the manifest say, the papers' folder is one plain name."""
    name = f"{dropping.safe_name(job_id)}-{dropping.safe_name(device_id)}"

    assert Path(name).name == name
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert len(name) <= 129
    assert dropping.safe_name(dropping.safe_name(job_id)) == dropping.safe_name(job_id)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_device_id_can_be_tried_again(device_id):
    """Any deviceId can be asked for, and is told as it was asked."""
    with tempfile.TemporaryDirectory() as folder:
        box = Spool(Path(folder), SETTLE, Clock(0.0))
        dropping.ask_to_retry(box.pending, device_id)

        assert box.retries(box.names()) == [device_id]
