"""The rules of export manifests, and the text for the service."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import ManifestError
from daemon.manifest import rules

DATA = Path(__file__).parents[1] / "data"
GUIDE = (DATA / "guide-manifest.yml").read_bytes()
FULL = (DATA / "full-manifest.yml").read_bytes()
ACCESS_KEY_LINE = b"accessKeyId:AKIAIOSFODNN7EXAMPLE\n"
BLANK = GUIDE.replace(b":", b": ").replace(b":  \n", b":\n")
KEYLESS = GUIDE.replace(ACCESS_KEY_LINE, b"")


def faults_of(data: bytes) -> list[str]:
    """Place and key of each fault, without the words."""
    with pytest.raises(ManifestError) as caught:
        rules.read(data, "a.yml")
    return [f"{fault.line}:{fault.column} {fault.key}" for fault in caught.value.faults]


def only_fault(data: bytes) -> str:
    """The one fault as the operator reads it."""
    with pytest.raises(ManifestError) as caught:
        rules.read(data, "a.yml")
    (fault,) = caught.value.faults
    return str(fault)


def changed(old: bytes, new: bytes) -> bytes:
    """The guide's manifest with one change that is really one."""
    assert GUIDE.count(old) == 1
    return GUIDE.replace(old, new)


def test_the_guides_own_example_is_valid() -> None:
    """AWS's example, byte for byte, is read; each of its placeholders is a warning."""
    read = rules.read(GUIDE, "guide.yml")

    assert (read.device_id, read.file_system) == ("HD001", "NTFS")
    assert read.access_key_id == "AKIAIOSFODNN7EXAMPLE"
    assert read.return_address["postalCode"] == "Your Postal/Zip Code"
    assert [warning.key.removeprefix("returnAddress.") for warning in read.warnings] == [
        "logBucket", "operations[0].exportBucket", "name", "company", "street1", "street2",
        "city", "stateOrProvince", "postalCode", "phoneNumber", "country",
    ]  # fmt: skip
    assert str(read.warnings[1]).startswith("guide.yml:7:18: operations[0].exportBucket: ")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("spelling", [GUIDE, BLANK])
def test_both_spellings_say_the_same(spelling: bytes, mark: bytes, line_end: bytes) -> None:
    """Blanks after colons, a byte order mark and line ends make no other manifest."""
    guide = rules.read(GUIDE, "a.yml")

    read = rules.read(mark + spelling.replace(b"\n", line_end), "a.yml")

    assert (read.device_id, read.file_system) == (guide.device_id, guide.file_system)
    assert read.return_address == guide.return_address
    assert read.access_key_id == guide.access_key_id


def test_everything_a_manifest_may_say_is_valid() -> None:
    """Every option of the reference, properly quoted, gives no fault and no warning."""
    read = rules.read(FULL, "full.yml")

    assert read.warnings == ()
    assert (read.device_id, read.file_system) == ("S/N 0049382", "EXT4")
    assert read.return_address == {
        "name": "ATTN: Jo Doe",
        "company": "O'Neill & Söhne",
        "street1": "#12 Main Street",
        "city": "Seattle",
        "stateOrProvince": "ON",
        "postalCode": "02142",
        "phoneNumber": "+1 206 555 0100",
        "country": "NO",
    }


def test_all_faults_come_at_once() -> None:
    """One reading tells everything, in the order of the text, each with what to write."""
    data = (DATA / "misspelt-manifest.yml").read_bytes()

    with pytest.raises(ManifestError) as caught:
        rules.read(data, "bad.yml")

    told = [str(fault) for fault in caught.value.faults]
    assert [line.removeprefix("bad.yml:").split("; ")[0] for line in told] == [
        "2:1: deviceId: is missing",
        "3:13: fileSystem: expected NTFS or EXT4, got 'ntfs'",
        "4:12: logBucket: is still the template's placeholder",
        "5:15: serviceLevel: expected standard or expeditedShipping, got 'fast'",
        "6:20: trueCryptPassword: expected a text, got a list",
        "8:5: operations[0].exportBucket: is missing",
        "9:5: operations[1]: expected keys and values",
        "10:1: returnAddress.phoneNumber: is missing",
        "12:11: returnAddress.street1: is empty, since YAML reads # as a comment",
        "15:3: returnAddress.postalCode: is missing",
    ]
    assert told[0].endswith("did you mean deviceID -> deviceId on line 2?")
    assert told[1].endswith("write NTFS")
    assert str(caught.value) == f"{told[0]} (and 9 more)"
    assert "hunter2" not in "".join(fault.excerpt() for fault in caught.value.faults)


@pytest.mark.parametrize(
    "key", ["manifestVersion", "deviceId", "fileSystem", "logBucket", "operations", "returnAddress"]
)
def test_each_required_key_is_required(key: str) -> None:
    """Without it there is one fault, at the top, that names it."""
    lines = GUIDE.decode().splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith(key))
    end = start + 1
    while end < len(lines) and lines[end].startswith(" "):
        end += 1

    assert faults_of("".join(lines[:start] + lines[end:]).encode()) == [f"1:1 {key}"]


@pytest.mark.parametrize(
    "key",
    ["name", "street1", "city", "stateOrProvince", "postalCode", "phoneNumber", "country"],
)
def test_each_line_of_the_address_is_required(key: str) -> None:
    """A parcel without it would not come back."""
    lines = [line for line in GUIDE.splitlines(keepends=True) if f"    {key}:".encode() not in line]

    assert faults_of(b"".join(lines)) == [f"8:1 returnAddress.{key}"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"fileSystem:NTFS", b"fileSystem:ntfs", "4:12: fileSystem: expected NTFS or EXT4"),
        (b"fileSystem:NTFS", b"fileSystem:FAT32", "write one of these"),
        (b"deviceId:HD001", b"deviceId:", "deviceId: is empty"),
        (b"deviceId:HD001", b'deviceId:" HD001"', "in one line"),
        (b"deviceId:HD001", b'deviceId:"HD\\n001"', "in one line"),
        (b"deviceId:HD001", b"deviceId: " + b"9" * 256, "has 256 characters"),
        (b"  - exportBucket:mybucket", b"  exportBucket:mybucket", "operations: expected a list"),
        (b"accessKeyId:AKIAIOSFODNN7EXAMPLE", b"accessKeyId:", "accessKeyId: is empty"),
        (b"fileSystem", b"logPrefix: " + b"x" * 1009 + b"\nfileSystem", "1024 bytes"),
        (b"fileSystem", b"logPrefix: " + "ü".encode() * 505 + b"\nfileSystem", "1024 bytes"),
        (b"city:Your City", b"city:Your City\n    city:Other", "14:5: returnAddress.city: this"),
        (b"name:Your Name", b"name:ATTN: Joe", "9:14: returnAddress.name: a colon and a"),
    ],
)
def test_each_rule_has_its_words(old: bytes, new: bytes, words: str) -> None:
    """A broken rule gives one fault that says where, what and what to write."""
    assert words in only_fault(changed(old, new))


@pytest.mark.parametrize(
    "key", ["exportBucket", "prefix", "beginMarker", "endMarker", "targetDirectory"]
)
def test_each_value_of_an_operation_is_a_text(key: str) -> None:
    """A list in its place is one fault, and is reported once."""
    others = b"" if key == "exportBucket" else b"    exportBucket: mybucket\n"
    operation = f"  - {key}: [a, b]\n".encode() + others

    fault = only_fault(changed(b"  - exportBucket:mybucket\n", operation))

    assert f"operations[0].{key}: expected a text, got a list" in fault


def test_log_key_of_1024_bytes_is_allowed() -> None:
    """Prefix, export-log- and a JobId together may have S3's full length."""
    rules.read(changed(b"fileSystem", b"logPrefix: " + b"x" * 1008 + b"\nfileSystem"), "a.yml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"city:Your City", b"city:Seattle # WA", "city: ends before #"),
        (b"postalCode:Your Postal/Zip Code", b"postalCode:02142", "as another value"),
        (b"country:Your Country", b"country:NO", "as another value"),
        (b"deviceId:HD001", b"deviceId:0x1F", "as another value"),
        (b"deviceId:HD001", b"deviceId:12:30", "as another value"),
        (b"deviceId:HD001", b"colour:red\ndeviceId:HD001", "colour: is not a known key"),
        (b"deviceId:HD001", b"recoverDirectory:x\ndeviceId:HD001", "mean recoveryDirectory?"),
        (b"deviceId:HD001", b"eraseDevice:yes\ndeviceId:HD001", "is a key of import jobs"),
    ],
)
def test_what_may_go_wrong_is_a_warning(old: bytes, new: bytes, words: str) -> None:
    """The service may know more keys and read other values than we: no fault, but a word."""
    read = rules.read(changed(old, new), "a.yml")

    assert any(words in str(warning) for warning in read.warnings)


def test_numbers_that_read_back_the_same_are_no_warning() -> None:
    """98109 and 2.0 are the same text for every parser."""
    data = changed(b"postalCode:Your Postal/Zip Code", b"postalCode:98109")

    assert not any("postalCode" in warning.key for warning in rules.read(data, "a.yml").warnings)


def test_secrets_and_address_are_not_in_repr() -> None:
    """A manifest in a log or a traceback gives nothing away, nor do its warnings."""
    data = changed(b"deviceId:HD001", b"pinCode:0123 #4\ndeviceId:HD001")

    read = rules.read(data, "a.yml")

    told = repr(read) + "".join(warning.excerpt() for warning in read.warnings)
    assert "0123" not in told
    assert "returnAddress={" not in told
    assert "return_address" not in repr(read)


def test_text_is_sent_as_dropped() -> None:
    """Nothing is changed in a manifest that is whole, not even its line ends."""
    for data in (GUIDE, FULL, b"\xef\xbb\xbf" + BLANK.replace(b"\n", b"\r\n")):
        assert rules.to_send(rules.read(data, "a.yml"), "OTHER").encode() == data


@pytest.mark.parametrize(
    ("dropped", "sent"),
    [
        (KEYLESS, GUIDE),
        (KEYLESS.rstrip(), GUIDE.rstrip()),
        (KEYLESS.replace(b"\n", b"\r\n"), GUIDE.replace(b"\n", b"\r\n")),
        (b"\xef\xbb\xbf" + KEYLESS, b"\xef\xbb\xbf" + GUIDE),
        (
            BLANK.replace(b"accessKeyId: AKIAIOSFODNN7EXAMPLE\n", b""),
            BLANK,
        ),
        (
            b"# a\n---\n" + KEYLESS.replace(b":2.0", b": >-\n  2.0\n\n# b"),
            b"# a\n---\n"
            + KEYLESS.replace(b":2.0", b": >-\n  2.0\n\n# b").replace(
                b"deviceId", b"accessKeyId: AKIAIOSFODNN7EXAMPLE\ndeviceId"
            ),
        ),
        (
            b"".join(b"  " + line for line in KEYLESS.splitlines(keepends=True)),
            b"".join(b"  " + line for line in GUIDE.splitlines(keepends=True)),
        ),
    ],
)
def test_missing_access_key_is_added_as_one_line(dropped: bytes, sent: bytes) -> None:
    """In the file's own spelling, indentation and line ends; all else stays as dropped."""
    read = rules.read(dropped, "a.yml")

    assert read.access_key_id is None
    assert rules.to_send(read, "AKIAIOSFODNN7EXAMPLE").encode() == sent


def test_access_key_that_needs_quotes_gets_them() -> None:
    """What is added is read back as the very key, whatever it looks like."""
    text = rules.to_send(rules.read(KEYLESS, "a.yml"), "0x'1: #a")

    assert rules.read(text.encode(), "a.yml").access_key_id == "0x'1: #a"


def test_manifest_in_one_line_needs_its_access_key() -> None:
    """Where no line can be added, the operator is asked to add it, before any drive arrives."""
    value = yaml.safe_load(BLANK)
    del value["accessKeyId"]
    one_line = yaml.safe_dump(value, default_flow_style=True, width=10_000)

    assert "add a line `accessKeyId: ...`" in only_fault(one_line.encode())


def test_current_manifest_is_known_again() -> None:
    """Line ends, a byte order mark and outer white space do not count; all else does."""
    sent = rules.to_send(rules.read(GUIDE, "a.yml"), "x")

    assert rules.is_same("\ufeff" + sent.replace("\n", "\r\n"), "\n" + sent.rstrip())
    assert not rules.is_same(sent, sent.replace("HD001", "HD002"))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_manifest_error(data: bytes) -> None:
    """Whatever is dropped in place of a manifest, nothing else is raised."""
    with pytest.raises(ManifestError):
        rules.read(data, "a.yml")


@given(
    st.lists(
        st.tuples(st.integers(0, len(GUIDE)), st.sampled_from(list("\n :-#\"'[{|>&*!@%\tx"))),
        max_size=6,
    )
)
def test_damaged_manifest_is_read_or_refused(damage: list[tuple[int, str]]) -> None:
    """A slip of the hand gives a manifest or faults; what is sent reads as what was dropped."""
    text = KEYLESS.decode()
    for place, character in damage:
        text = text[:place] + character + text[place:]

    try:
        read = rules.read(text.encode(), "a.yml")
    except ManifestError:
        return
    again = rules.read(rules.to_send(read, "AKIA").encode(), "a.yml")
    assert (again.device_id, again.return_address) == (read.device_id, read.return_address)
    assert again.access_key_id == (read.access_key_id or "AKIA")


@given(
    st.integers(0, 60),
    st.text(st.sampled_from(" :-#\"'[]{}|>&*!@%\t\\x"), max_size=4),
    st.text(st.sampled_from("\n :-#\"'[]{}|>&*!@%\t\\x"), max_size=4),
)
def test_slip_around_a_secret_does_not_show_it(place: int, before: str, after: str) -> None:
    """Whatever is wrong with the line of a password, or near it, the password is not told."""
    text = KEYLESS.decode()
    text = f"{text[:place]}{after}{text[place:]}trueCryptPassword: {before}hunter2{after}\n"

    try:
        told = rules.read(text.encode(), "a.yml").warnings
    except ManifestError as error:
        told = error.faults
    assert "hunter2" not in "".join(fault.excerpt() + repr(fault) for fault in told)


VALUES = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="\ufeff") | st.just(" "),
    min_size=1,
    max_size=30,
).filter(lambda text: text == text.strip())


@given(device_id=VALUES, name=VALUES, style=st.sampled_from(["'", '"']))
def test_odd_characters_read_back_exactly(device_id: str, name: str, style: str) -> None:
    """Properly quoted, any text that can be seen arrives as it was meant."""
    value = yaml.safe_load(BLANK)
    value |= {"manifestVersion": "2.0", "deviceId": device_id}
    value["returnAddress"]["name"] = name
    text = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=40)

    read = rules.read(text.encode(), "a.yml")

    assert (read.device_id, read.return_address["name"]) == (device_id, name)


@pytest.mark.parametrize(
    ("old", "new", "column", "name"),
    [
        ("deviceId:HD001", "deviceId:\u00a0HD001", 10, "U+00A0 (NO-BREAK SPACE)"),
        ("deviceId:HD001", "deviceId\u00a0: HD001", 9, "U+00A0 (NO-BREAK SPACE)"),
        ("deviceId:HD001", "\u2003deviceId: HD001", 1, "U+2003 (EM SPACE)"),
        ("logBucket:mybucket", "logBucket:mybucket\u200b", 19, "U+200B (ZERO WIDTH SPACE)"),
        ("city:Your City", "city: Z\u00fcrich\u200e", 17, "U+200E (LEFT-TO-RIGHT MARK)"),
        ("city:Your City", "city: Rome\u00ad", 15, "U+00AD (SOFT HYPHEN)"),
    ],
)
def test_characters_that_look_right(old: str, new: str, column: int, name: str) -> None:
    """A character that looks like a space or like nothing is named, with its column."""
    told = only_fault(changed(old.encode(), new.encode()))

    assert f":{column}: the character {name} is invisible" in told


@pytest.mark.parametrize("name", ["Zo\u00eb\u00a0Smith", "\u0646\u0627\u0645\u200c\u0647\u0627"])
def test_what_another_script_needs_is_kept(name: str) -> None:
    """Such as a zero width non-joiner between Persian letters."""
    read = rules.read(changed(b"Your Name", name.encode()), "a.yml")

    assert read.return_address["name"] == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"deviceId:HD001", b"deviceId: [WD-0001]"),
        (b"deviceId:HD001", b"deviceId:[WD-0001]"),
        (b"name:Your Name", b"name: ***Your Name***"),
        (b"name:Your Name", b"name: {name}"),
    ],
)
def test_placeholders_of_templates(old: bytes, new: bytes) -> None:
    """The remedy is a value of one's own, not quotation marks around the template's."""
    told = only_fault(changed(old, new))

    assert "is still the template's placeholder; write your own value in its place" in told


@pytest.mark.parametrize("value", [b"'[WD-0001]'", b"<your device>", b"'***Your Device***'"])
def test_placeholders_that_can_be_read(value: bytes) -> None:
    """They are warnings: a drive may have such a label."""
    read = rules.read(changed(b"deviceId:HD001", b"deviceId: " + value), "a.yml")

    assert "deviceId: looks like a template's placeholder" in str(read.warnings[0])


@pytest.mark.parametrize("version", [b"1.2", b"1.3", b"3.0"])
def test_another_manifest_version(version: bytes) -> None:
    """The service has accepted others, so it is a warning."""
    read = rules.read(changed(b"manifestVersion:2.0", b"manifestVersion:" + version), "a.yml")

    assert "manifestVersion: is not 2.0" in str(read.warnings[0])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"  - exportBucket:mybucket", b"  - importBucket:mybucket"),
        (b"  - exportBucket:mybucket", b"  - importSnapshot:x"),
        (b"operations:\n  - exportBucket:mybucket", b"bucket:mybucket\neraseDevice:yes"),
    ],
)
def test_an_import_manifest_is_called_one_first(old: bytes, new: bytes) -> None:
    """Its other faults follow from that."""
    with pytest.raises(ManifestError) as caught:
        rules.read(changed(old, new), "a.yml")

    assert "is the manifest of an import job" in str(caught.value.faults[0])


@pytest.mark.parametrize(
    ("name", "is_fault"),
    [("My_Bucket", False), ("a..b", False), ("ab", True), ("b\u00fccket", True), ("a b", True)],
)
def test_bucket_names(name: str, is_fault: bool) -> None:
    """Older buckets break the present rules of S3; some characters no bucket ever had."""
    data = changed(b"logBucket:mybucket", f"logBucket: {name}".encode())

    if is_fault:
        assert "logBucket: is not the name of a bucket" in only_fault(data)
    else:
        assert "only an old bucket" in str(rules.read(data, "a.yml").warnings[0])


@pytest.mark.parametrize("end", [b"", b"deviceType: SATA\n"])
def test_an_address_that_lost_its_indentation(end: bytes) -> None:
    """One fault, not one for each key."""
    head, _, address = GUIDE.partition(b"returnAddress:\n")
    data = head + b"returnAddress:\n" + address.replace(b"    ", b"")

    assert "returnAddress: has its keys beside it: lines 9 to 17" in only_fault(data + end)
