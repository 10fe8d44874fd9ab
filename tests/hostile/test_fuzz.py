"""Whatever strangers write, a reader answers with a value or with an error of ours, and soon.

What once failed stays as an @example.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemon.config import loading
from daemon.drives import identity, mounts, signature
from daemon.drives.drive import Unmounted
from daemon.drives.sysfs import Device
from daemon.errors import DriveError, DriveprepError, InDoubtError, ManifestError, RefusedError
from daemon.importexport import results
from daemon.importexport.error_codes import one_line
from daemon.importexport.response import Answer
from daemon.importexport.transport import _date
from daemon.manifest import rules
from daemon.preparation import intake
from daemon.service.reporting import hooks
from daemon.spool.dropping import is_manifest_name, safe_name
from daemon.system.printable import printable, printable_lines

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_bytes()
FULL = (Path(__file__).parents[1] / "data" / "full-manifest.yml").read_bytes()
SECONDS = 5.0  # for one text on a busy machine

quick = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

# Text as YAML's own signs make it difficult, and any bytes.
SIGNS = st.sampled_from(
    [
        *"{}[]:,?-&*!|>'\"%@`#\\ \t\n\r",
        ": ",
        "- ",
        "? ",
        "---\n",
        "...\n",
        "<<: ",
        "!!str ",
        "&a ",
        "*a",
    ]
)
YAML = st.lists(SIGNS | st.text(max_size=4), max_size=60).map("".join)
DATA = YAML.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=300)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A good text in which some places are cut out or written over."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        end = place + draw(st.integers(0, 20))
        data[place:end] = draw(YAML | st.text(max_size=3)).encode("utf-8", "surrogatepass")
    return bytes(data)


# Manifest


@quick
@given(DATA | damaged(GUIDE) | damaged(FULL))
@example(b'a: "\\UFFFFFFFF"')
@example(b"{" + b"a: 1," * 4000 + b"z: 1}")
@example(b"a: \xed\xa0\x80\n")
@example(b"? \n")
def test_any_text_is_a_manifest_or_a_short_list_of_faults(data: bytes) -> None:
    """Bytes of any kind: a manifest whose words can be used, or a reason fit to be shown."""
    begin = time.monotonic()
    try:
        read = rules.read(data, "a.yml")
        assert read.device_id.isprintable()
        assert rules.to_send(read, "AKIA'#: x")
        reason = ""
    except ManifestError as error:
        reason = intake.explain(error)
    assert all(line.isprintable() for line in reason.split("\n"))
    assert time.monotonic() - begin < SECONDS


TOKEN = "hunter2hunter2"
STYLES = [
    "trueCryptPassword: {}\n",
    "trueCryptPassword:{}\n",
    "trueCryptPassword: '{}'\n",
    'trueCryptPassword: "a\nb: {}\nc: d"\n',
    "trueCryptPassword: 'a\nb: {}'\n",
    "trueCryptPassword: |\n  a: b\n  {}\n",
    "trueCryptPassword: >-\n\n  {}\n",
    "trueCryptPassword:\n  {}\n",
    "trueCryptPassword: a\n  {}\n",
    "? trueCryptPassword\n: {}\n",
    "pinCode: [{}, x]\n",
    "pinCode: {{a: {}}}\n",
    "customs:\n  secretKey: {}\n",
]


@quick
@given(st.sampled_from(STYLES), st.data())
def test_no_fault_of_a_manifest_shows_its_secret(style: str, data: st.DataObject) -> None:
    """However the secret is written and whatever is broken around it, no message holds it."""
    secret = style.format(TOKEN)
    head, tail = GUIDE.decode().split("deviceId", 1)
    tail = "deviceId" + tail
    broken = data.draw(st.sampled_from(["head", "end", "tail"]))
    junk = data.draw(YAML)
    text = {
        "head": f"{junk}\n{head}{secret}{tail}",
        "end": f"{head}{secret.rstrip()}{junk}\n{tail}",
        "tail": f"{head}{secret}{junk}\n{tail}",
    }[broken]

    try:
        read = rules.read(text.encode("utf-8", "surrogatepass"), "a.yml")
        told = "".join(warning.excerpt() for warning in read.warnings) + repr(read)
    except ManifestError as error:
        told = intake.explain(error) + str(error) + repr(error)

    assert TOKEN not in told


# Configuration


CONFIG = b"""endpoint: https://importexport.amazonaws.com
credentials: {access_key_id: A, secret_access_key: B}
spool: /var/lib/driveprep
devices: {HD001: {serial: X, label: HD001}}
workers: 8
timeout: 15
hooks: {prepared: [/bin/true]}
"""


@quick
@given(DATA | damaged(CONFIG))
@example(b"endpoint: 'http://[::1'\n")
@example(b"endpoint: https://a:99999/\n")
@example(b"timeout: 1e999\nworkers: 9999999999\n")
def test_any_text_is_a_configuration_or_a_list_of_faults(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Bytes of any kind: settings, or an error of ours."""
    path = tmp_path_factory.getbasetemp() / "config.yml"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        told = repr(loading.load(path, {}))
    except DriveprepError as error:
        told = repr(error) + "".join(fault.excerpt() for fault in getattr(error, "faults", ()))
    assert told


# Answers


XML = st.lists(
    st.sampled_from(
        ["<CreateJobResponse>", "</CreateJobResponse>", "<CreateJobResult>", "</CreateJobResult>"]
        + [
            "<JobId>",
            "</JobId>",
            "K7M3X",
            "<!DOCTYPE a>",
            "&lt;",
            "&x;",
            "<![CDATA[",
            "]]>",
            "<?x?>",
        ]
        + ["<ErrorResponse>", "<Error>", "<Code>", "</Code>", "</Error>", "</ErrorResponse>"]
        + ["<CreationDate>", "</CreationDate>", "<ErrorCount>", "</ErrorCount>", "9" * 5000]
        + ["<member>", "</member>", "<Jobs>", "</Jobs>", "<IsTruncated>true</IsTruncated>"]
    )
    | st.text(max_size=4),
    max_size=40,
).map(lambda parts: "".join(parts).encode("utf-8", "replace"))
READERS = [
    ("CreateJob", results.created_job),
    ("GetStatus", results.job_status),
    ("ListJobs", results.job_page),
    ("UpdateJob", results.updated),
    ("CancelJob", results.canceled),
    ("GetShippingLabel", results.shipping_label),
]


@st.composite
def answers(draw: st.DrawFn, operation: str) -> bytes:
    """Answers that come close: the frame is right, the fields hold anything."""
    names = ["JobId", "JobType", "CreationDate", "ErrorCount", "Jobs", "IsTruncated", "Success"]
    names += ["SignatureFileContents", "CurrentManifest", "ShippingLabelURL", "ArtifactList"]
    values = st.text(max_size=20) | st.sampled_from(
        ["K7M3X", "true", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9" * 5000]
    )
    fields = draw(st.lists(st.tuples(st.sampled_from(names), values), max_size=8))
    inner = "".join(f"<{name}>{re.sub('[<&]', '', value)}</{name}>" for name, value in fields)
    frame = f"<{operation}Response><{operation}Result>{inner}</{operation}Result>"
    return f"{frame}</{operation}Response>".encode("utf-8", "replace")


@quick
@given(st.data(), st.sampled_from(READERS), st.sampled_from([200, 200, 200, 204, 400, 403, 500]))
def test_any_answer_is_a_value_a_refusal_or_a_doubt(data: st.DataObject, reader, status) -> None:
    """Whatever comes back is read, refused, or in doubt; nothing else ever happens."""
    operation, read = reader
    body = data.draw(XML | answers(operation) | st.binary(max_size=200))
    answer = Answer(operation, status, data.draw(st.text(max_size=20)), None, body)

    told = ""
    try:
        read(answer)
    except (RefusedError, InDoubtError) as error:
        told = str(error)
    assert told.isprintable()
    assert len(told) < 1000


@quick
@given(
    st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ .{0,9}")
)
@example("Fri, 31 Dec 9999 23:59:59 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Mon, 01 Jan 2024 00:00:00 +99999999999")
def test_any_date_header_is_a_time_to_sign_with_or_none(header: str) -> None:
    """No clock of the service leads ours to where no request can be signed."""
    moment = _date(header)

    assert moment is None or 1e9 < moment < 1e10


@quick
@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                "version:2.0",
                "signingMethod:HmacSHA1",
                "jobId:K7M3X",
                "jobId:OTHER",
                "signature:x",
                "\n",
                "\r",
                "\x0b",
                "\u2028",
                " ",
                ":",
            ]
        ),
        max_size=20,
    ).map("".join)
)
@example("version:2.0\nsigningMethod:HmacSHA1\njobId:OTHER\njobId:K7M3X\nsignature:x")
@example("version:2.0\nsigningMethod:HmacSHA1\njobId:K7M3X\nsignature:x\u2028jobId:OTHER")
def test_a_signature_text_is_read_in_one_way_or_not_used(contents: str) -> None:
    """What is written to a drive names its own job to every reader."""
    with suppress(InDoubtError):
        text = signature.text(contents, "K7M3X")
        assert signature.job_id_in(text.encode()) == "K7M3X"
        assert signature.text(text, "K7M3X") == text
    signature.job_id_in(contents.encode("utf-8", "surrogatepass"))


# What the machine says


MOUNT = b"36 35 98:0 / /mnt/\\040a rw,noatime master:1 - fuseblk /dev/sda1 rw,user_id=0\n"


@quick
@given(st.binary(max_size=200) | damaged(MOUNT * 3))
@example(b"36 35 99999999999999999999:0 / / rw - x y rw\n")
@example(b"36 35 98:0 / / rw - x y rw\xff\n")
def test_any_mount_table_is_read_or_its_line_is_named(text: bytes) -> None:
    """Bytes of any kind: mounts, or a DriveError that can be shown."""
    try:
        table = mounts.parse(text)
    except DriveError as error:
        told = str(error)
        table = ()
    else:
        told = ""
    assert told.isprintable()
    for mount in table:
        mounts.is_covered(mount, table)


VALUES = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape")) | st.text(
    max_size=40
)
KEYS = st.sampled_from(
    ["ID_FS_LABEL", "ID_FS_LABEL_ENC", "ID_FS_UUID", "ID_FS_UUID_ENC", "ID_FS_TYPE", "ID_SERIAL"]
    + ["ID_SERIAL_SHORT", "ID_WWN", "ID_MODEL", "ID_MODEL_ENC", "ID_PART_ENTRY_UUID", "SUBSYSTEM"]
)


@quick
@given(st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES), st.binary(max_size=200))
def test_any_identity_can_be_told_and_stored(properties, disk, output: bytes) -> None:
    """What udev and blkid say of a drive, with bytes of any kind, is shown escaped."""
    identity.parse(output)
    found = identity.read(properties, disk)
    device = Device(1, "/dev/sdx", 1, 1, 1, is_write_protected=False)
    unmounted = Unmounted(device, found)

    assert unmounted.describe().isprintable()
    for value in unmounted.identities().values():
        value.encode("utf-8")


@quick
@given(VALUES)
def test_printable_text_neither_moves_nor_hides(text: str) -> None:
    """One line stays one line; text that is printable stays as it is."""
    shown = printable(text)

    assert shown.isprintable()
    shown.encode("utf-8")
    assert printable(shown) == shown
    assert printable_lines(text).count("\n") == text.count("\n")
    assert "\n" not in one_line(text)
    assert "\0" not in hooks._value(text)


@quick
@given(VALUES)
@example("..")
@example("a/../b")
@example("-rf")
def test_no_text_becomes_more_than_one_component_of_a_path(text: str) -> None:
    """Neither another folder nor an option nor a hidden file."""
    name = safe_name(text)

    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", name)
    is_manifest_name(name)
