"""`driveprep new`: forty manifests from one template, or none."""

import time

import pytest
from person import GUIDE, prepare

from daemon.jobs.job import NewJob, Pending

TEMPLATE = GUIDE.read_bytes()


@pytest.fixture
def template(tmp_path):
    """The guide's manifest, with a comment of the operator's."""
    place = tmp_path / "template.yml"
    place.write_bytes(TEMPLATE.replace(b"fileSystem:NTFS", b"fileSystem:NTFS   # always"))
    return place


def names(folder):
    """Return what is in a folder."""
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def test_a_range_becomes_manifests(person, ledger, template, tmp_path):
    """Each is the template but for its deviceId, byte for byte."""
    into = tmp_path / "new" / "batch"
    done = person.types("new", template, "--device", "HD001..HD040", "--into", into)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{into}: 40 manifests: HD001.yml to HD040.yml\n")
    assert names(into) == [f"HD{number:03}.yml" for number in range(1, 41)]
    for place in into.iterdir():
        device_id = place.stem.encode()
        assert place.read_bytes() == template.read_bytes().replace(b"HD001", device_id)


def test_a_spreadsheets_list_goes_to_the_spool(person, ledger, template, tmp_path):
    """As Excel saves it: semicolons, a byte order mark, CRLF, quoted cells, empty last rows."""
    listing = tmp_path / "list.csv"
    listing.write_bytes(
        b"\xef\xbb\xbfdeviceId;operations[0].exportBucket;returnAddress.city\r\n"
        b'HD001;data-1;"K\xc3\xb6ln; Deutz"\r\nHD002;;\r\n;;\r\n;;\r\n'
    )
    done = person.types("new", template, "--csv", listing, "--submit")

    assert done.returncode == 0, done.stderr
    pending = person.spool / "pending"
    assert names(pending) == ["HD001.yml", "HD002.yml"]
    text = (pending / "HD001.yml").read_text()
    assert 'city:"Köln; Deutz"\n' in text
    assert "exportBucket:data-1\n" in text


def test_all_faults_at_once_and_nothing_is_written(person, ledger, service, template, tmp_path):
    """Of list and template, of drives with an open job and of names that are taken."""
    job = prepare(ledger, service, person, "HD600")
    ledger.add(
        [
            NewJob(
                device_id="HD601",
                file_system="NTFS",
                name="by-hand.yml",
                sha256="x",
                state=Pending("1"),
                since=time.time(),
            )
        ]
    )
    (person.spool / "pending" / "HD602.yml").write_bytes(b"")
    template.write_bytes(template.read_bytes().replace(b"city:Your City", b"cty:Your City"))
    listing = tmp_path / "list.csv"
    listing.write_text(
        "deviceId,fileSystm\nHD600,\nHD601,\nHD602,\nHD603,FAT\nHD603,\nHD 604,\nHD_604,\n"
    )
    done = person.types("new", template, "--csv", listing, "--submit")

    assert done.returncode == 65
    assert f"list.csv:2:1: deviceId: HD600 already has the open job {job.job_id}" in done.stderr
    assert "list.csv:3:1: deviceId: HD601 already waits in the manifest by-hand.yml" in done.stderr
    assert (
        "list.csv:1:10: fileSystm: is not a key of the template; did you mean fileSystem, at"
        in (done.stderr)
    )
    assert f"list.csv:5:7: fileSystem ({template}:4:12): expected NTFS or EXT4" in done.stderr
    assert "list.csv:6:1: deviceId: HD603 is already on line 5" in done.stderr
    assert f"{template}:13:5: returnAddress.city: is missing; did you mean cty" in done.stderr
    assert names(person.spool / "pending") == ["HD602.yml"]


def test_a_file_name_that_is_taken(person, ledger, template, tmp_path):
    """A file that is there stays; two deviceIds that make the same name are reported."""
    into = tmp_path / "batch"
    into.mkdir()
    (into / "HD002.yml").write_text("mine")
    listing = tmp_path / "list.csv"
    listing.write_text("deviceId\nHD001\nHD002\nHD 3\nHD_3\n")
    done = person.types("new", template, "--csv", listing, "--into", into)

    assert done.returncode == 65
    assert f"list.csv:3:1: deviceId: HD002 needs the file {into}/HD002.yml" in done.stderr
    assert "list.csv:5:1: deviceId: another deviceId of the list makes the same file name" in (
        done.stderr
    )
    assert names(into) == ["HD002.yml"]
    assert (into / "HD002.yml").read_text() == "mine"


def test_a_list_that_is_not_utf_8(person, ledger, template, tmp_path):
    """It is refused with the sentence how to save it."""
    listing = tmp_path / "list.csv"
    listing.write_bytes("deviceId;returnAddress.city\nHD001;Köln\n".encode("cp1252"))
    done = person.types("new", template, "--csv", listing, "--submit")

    assert done.returncode == 65
    assert "list.csv:2:8: byte 0xf6 is not UTF-8; save the list again, in Excel as" in done.stderr
    assert names(person.spool / "pending") == []


def test_ranges_that_are_none(person, ledger, template):
    """A reversed one is a fault, and so is a deviceId that is there twice."""
    done = person.types("new", template, "--device", "HD040..HD001,HD7,HD7", "--submit")

    assert done.returncode == 65
    assert "--device:1:1: HD040..HD001: runs backwards; write HD001..HD040" in done.stderr
    assert "--device:1:18: deviceId: HD7 is already on line 1" in done.stderr


def test_a_folder_needs_no_configuration(person, template, tmp_path):
    """It is only said that the jobs were not compared."""
    person.config.unlink()
    done = person.types("new", template, "--device", "HD001", "--into", tmp_path / "batch")

    assert done.returncode == 0
    assert "not compared with the jobs of this machine" in done.stderr
    assert names(tmp_path / "batch") == ["HD001.yml"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--device", "HD001"],
        ["--submit"],
        ["--device", "HD001", "--csv", "l.csv", "--submit"],
        ["--device", "HD001", "--into", "x", "--submit"],
    ],
)
def test_wrong_use_is_64(person, template, words):
    """One source of deviceIds and one target: any other use is told."""
    assert person.types("new", template, *words).returncode == 64


def test_what_cannot_be_written_leaves_nothing(person, template, tmp_path):
    """A target that is no folder, or below one that does not exist."""
    (tmp_path / "file").write_text("")
    below = person.types("new", template, "--device", "HD001", "--into", tmp_path / "file" / "x")
    no_spool = person.types("new", template, "--device", "HD001", "--submit")

    assert (below.returncode, no_spool.returncode) == (75, 75)
    assert "cannot write into" in below.stderr
    assert "systemctl start driveprep" in no_spool.stderr
    assert not person.spool.exists()
