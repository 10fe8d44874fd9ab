"""Manifests from one template and a list: what is made of them, and everything that is wrong."""

from pathlib import Path

import pytest

from daemon.documents import table
from daemon.documents.fields import Findings
from daemon.manifest import rules
from daemon.manifest.series import Series

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()
PLACEHOLDERS = GUIDE.replace(b"HD001", b"[WD-0001]").replace(b"Your Name", b"***Your Name***")


def series(rows, template=GUIDE, taken=None):
    """Fill the template with every row of a list."""
    findings = Findings("l.csv")
    made = Series(template, "t.yml", table.read(rows.encode(), findings), findings, taken or {})
    for row in made.rows:
        made.fill(row)
    return made


def faults(rows, template=GUIDE, taken=None):
    """Return the faults as the operator reads them."""
    return [str(fault) for fault in series(rows, template, taken).faults()]


def test_only_the_values_of_the_list_differ():
    """Each manifest is the template but for the cells; an empty cell leaves its value."""
    made = series(
        "deviceId;returnAddress.city;operations[0].exportBucket\nHD1;Ulm;\nHD2;;my-data\n"
    )
    one, two = [manifest.data for manifest, _ in made.manifests]

    assert one == GUIDE.replace(b"HD001", b"HD1").replace(b"Your City", b"Ulm")
    assert two == GUIDE.replace(b"HD001", b"HD2").replace(
        b"Bucket:mybucket\nr", b"Bucket:my-data\nr"
    )
    assert made.faults() == ()


def test_values_mean_what_the_list_says():
    """Also those that YAML would take for numbers, truths, comments or keys."""
    values = ["02142", "NO", "a: b", "c # d", "- e", "[f]", "'g'", '"h"', "i\\", "ä*", "12:30"]
    rows = [
        f'HD{number};"{value.replace(chr(34), chr(34) * 2)}"' for number, value in enumerate(values)
    ]
    made = series("\n".join(["deviceId;returnAddress.city", *rows]))

    assert not made.faults()
    assert [one.return_address["city"] for one, _ in made.manifests] == values
    for manifest, _ in made.manifests:
        assert not [one for one in manifest.warnings if one.key == "returnAddress.city"]


def test_placeholders_of_the_template_are_filled():
    """Also those that are no YAML."""
    made = series("deviceId;returnAddress.name\nHD1;Ann Lee\n", PLACEHOLDERS)
    ((manifest, _),) = made.manifests

    assert manifest.data == GUIDE.replace(b"HD001", b"HD1").replace(b"Your Name", b"Ann Lee")


def test_a_placeholder_that_stays_is_a_fault_beside_all_others():
    """Of the template, or of the cell that is empty; the values of the list are checked, too."""
    listed, left = faults("deviceId;fileSystem\nHD1;ntfs\nHD2;\n", PLACEHOLDERS)
    assert listed.startswith("l.csv:2:5: fileSystem (t.yml:4:12): expected NTFS or EXT4")
    assert left.startswith("t.yml:9:10: returnAddress.name: is still the template's placeholder")
    (fault,) = faults("deviceId;returnAddress.name\nHD1;Ann\nHD2;\n", PLACEHOLDERS)
    assert fault.startswith("l.csv:3:5: returnAddress.name (t.yml:9:10): is empty, so that the")


def test_all_faults_of_the_list_at_once():
    """Each with its place in the list, and where it would be in the template."""
    found = faults(
        "deviceId;operations[0].exportBucket;fileSystem\n"
        "HD1;no bucket!;NTFS\nHD1;;\n;;EXT4\nHD9;;FAT\n",
        taken={"HD9": "already has the open job AAA11"},
    )

    assert [fault.split(";")[0] for fault in found] == [
        "l.csv:2:5: operations[0].exportBucket (t.yml:7:18): is not the name of a bucket",
        "l.csv:3:1: deviceId: HD1 is already on line 2",
        "l.csv:4:1: deviceId: is empty",
        "l.csv:5:1: deviceId: HD9 already has the open job AAA11",
        "l.csv:5:6: fileSystem (t.yml:4:12): expected NTFS or EXT4, got 'FAT'",
    ]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("returnAddress.cty", "did you mean returnAddress.city, at t.yml:13:10?"),
        ("City", "did you mean returnAddress.city, at t.yml:13:10?"),
        ("operations.exportBucket", "did you mean operations[0].exportBucket, at t.yml:7:18?"),
        ("returnAddress", "is a group of keys at t.yml:9:5; name one of them, such as"),
        ("returnAddress.street3", "is not in the template, t.yml:9:5; add the line there"),
        ("operations[1].exportBucket", "is not in the template, t.yml:7:3; add the line there"),
        ("notes", "is not a key of the template t.yml; delete the column"),
    ],
)
def test_a_column_without_a_place_in_the_template(column, words):
    """It is reported with what was probably meant."""
    (fault,) = faults(f"deviceId;{column}\nHD1;\n")

    assert fault.startswith(f"l.csv:1:10: {column}: ")
    assert words in fault


def test_a_misspelt_column_still_counts():
    """The faults of its cells are found in the same run; its placeholder is no fault of its own."""
    found = faults("deviceID;name;filesystem\nHD1;Ann;FAT\n", PLACEHOLDERS)

    assert [fault.split(": ")[0] for fault in found] == [
        "l.csv:1:1",
        "l.csv:1:10",
        "l.csv:1:15",
        "l.csv:2:9",
    ]


@pytest.mark.parametrize(
    ("rows", "place", "words"),
    [
        ("", "1:1", "is empty"),
        ("deviceId\n", "1:1", "has no rows"),
        ("fileSystem\nNTFS\n", "1:1", "there is no such column"),
        ("deviceId;deviceId\nHD1;\n", "1:10", "there twice"),
    ],
)
def test_a_list_that_is_none(rows, place, words):
    """It is said what it lacks."""
    (fault,) = faults(rows)

    assert fault.startswith(f"l.csv:{place}: ")
    assert words in fault


def test_faults_of_the_template_are_reported_beside_those_of_the_list():
    """Once each, whatever the number of rows; also where it is not YAML at all."""
    rows = "deviceId;fileSystem\nHD1;\nHD1;\n"
    lacking = GUIDE.replace(b"    city:Your City\n", b"")
    broken = GUIDE.replace(b"name:Your", b"name:'Your")

    assert [one.split(": ")[0] for one in faults(rows, lacking)] == ["l.csv:3:1", "t.yml:8:1"]
    assert [one.split(": ")[0] for one in faults(rows, broken)] == ["l.csv:3:1", "t.yml:9:10"]


def test_a_template_without_the_key():
    """A value has no place there: the template says nothing of it."""
    (fault,) = faults("deviceId\nHD1\n", b"manifestVersion:2.0\n")

    assert "deviceId: is not in the template, t.yml:1:1; add the line there" in fault


def test_a_warning_is_given_once():
    """Those of the template do not come again for each row."""
    made = series("deviceId;logBucket\nHD1;\nHD2;Old_Bucket\n")
    places = [(one.file, one.line, one.column) for one in made.warnings()]

    assert places[:2] == [("l.csv", 2, 5), ("l.csv", 3, 5)]
    assert len(places) == len(set(places))


@pytest.mark.parametrize(
    ("path", "is_known"),
    [
        ("deviceId", True),
        ("returnAddress.street3", True),
        ("operations[12].prefix", True),
        ("customs.deviceValue", True),
        ("returnAddress", False),
        ("operations[x].prefix", False),
        ("city", False),
    ],
)
def test_keys_of_export_manifests(path, is_known):
    """Dotted keys of values; groups are none."""
    assert rules.is_known(path) is is_known
