"""The emulator: its answers as botocore reads them, and its faults as the client takes them."""

import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import botocore.loaders
import botocore.model
import botocore.parsers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import (
    ClockRefusedError,
    CredentialsRefusedError,
    InDoubtError,
    JobRefusedError,
    ManifestRefusedError,
    RefusedError,
    TryLaterError,
)
from daemon.importexport.authentication import encode, sign
from daemon.importexport.client import Client
from daemon.importexport.credentials import Credentials
from daemon.importexport.emulator import EXAMPLE, Emulator
from daemon.importexport.emulator.faults import KINDS
from daemon.importexport.emulator.manifest import ManifestRules
from daemon.importexport.emulator.operations import job_signature
from daemon.importexport.emulator.xml import Refusal

GUIDE = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text()
MODEL = botocore.model.ServiceModel(
    botocore.loaders.Loader().load_service_model("importexport", "service-2")
)
LATER = "2030-01-01T00:00:00Z"
TIMEOUT = 0.25  # seconds, where a request is to run into it


@pytest.fixture
def emulator():
    """A service of the guide's era that forgets."""
    with Emulator() as running:
        yield running


@pytest.fixture
def client(emulator):
    """Its customer."""
    with closing(Client(emulator.endpoint, EXAMPLE, 10)) as customer:
        yield customer


def send(emulator, method="POST", path="/", body="", **headers):
    """Send something by hand: status, fields of the head, body."""
    address = urlsplit(emulator.endpoint)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with closing(http.client.HTTPConnection(address.hostname, address.port, timeout=10)) as wire:
        wire.request(method, path, body, {**form, **headers})
        answer = wire.getresponse()
        return answer.status, dict(answer.headers), answer.read()


def sealed(emulator, parameters, *, method="POST", path="/", keys=EXAMPLE, **seal):
    """Parameters with a signature; what is sealed as None is left out."""
    now = datetime.now(UTC).isoformat()
    defaults = {"AWSAccessKeyId": keys.access_key_id, "Timestamp": now}
    versions = {"SignatureVersion": "2", "SignatureMethod": "HmacSHA256"}
    every = {"Version": "2010-06-01", **defaults, **versions, **parameters, **seal}
    every = {name: value for name, value in every.items() if value is not None}
    host = urlsplit(emulator.endpoint).netloc
    kind = every.get("SignatureMethod", "HmacSHA256")
    by = kind if kind == "HmacSHA1" else "HmacSHA256"
    secret = keys.secret_access_key
    signature = sign(secret, method, host, path, every.items(), signature_method=by)
    return {"Signature": signature, **every}


def ask(emulator, operation, parameters=(), **seal):
    """What botocore reads in the answer to a signed request."""
    form = sealed(emulator, {"Action": operation, **dict(parameters)}, **seal)
    status, headers, body = send(emulator, body=encode(form.items()))
    shape = (
        MODEL.operation_model(operation).output_shape
        if operation in MODEL.operation_names
        else None
    )
    parser = botocore.parsers.create_parser("query")
    answer = {"status_code": status, "headers": headers, "body": body}
    return parser.parse(answer, shape)


def code(emulator, operation, parameters=(), **seal):
    """The code and status with which a request is refused."""
    parsed = ask(emulator, operation, parameters, **seal)
    return parsed["Error"]["Code"], parsed["ResponseMetadata"]["HTTPStatusCode"]


EXPORT = {"JobType": "Export", "Manifest": GUIDE}


def test_create_job(emulator):
    """The guide's own manifest, in its own spelling, makes a job with everything promised."""
    job = ask(emulator, "CreateJob", EXPORT)

    assert re.fullmatch("[1-9A-NP-Z]{5}", job["JobId"])
    assert job["JobType"] == "Export"
    assert len(base64.b64decode(job["Signature"])) == 20
    assert job["SignatureFileContents"] == (
        f"version:2.0\nsigningMethod:HmacSHA1\njobId:{job['JobId']}\nsignature:{job['Signature']}\n"
    )
    assert [made.device_id for made in emulator.jobs] == ["HD001"]


def test_signature_vector():
    """SIGNATURE's signature is the one of the document; line ends do not change it."""
    text = GUIDE.removesuffix("\n")

    assert job_signature(EXAMPLE.secret_access_key, "ABC12", text) == "zOjsbR+r4qmmxYRUiceu+1zWfCM="
    dos = text.replace("\n", "\r\n")
    assert job_signature(EXAMPLE.secret_access_key, "ABC12", dos) == "zOjsbR+r4qmmxYRUiceu+1zWfCM="


def test_address_names_the_job(client):
    """The address to ship to has several lines, and one of them is the JobId."""
    job = client.create_job(GUIDE)

    assert f"JOBID {job.job_id}" in job.aws_shipping_address.splitlines()


def test_get_status(emulator):
    """A pending job has its codes, SIGNATURE and manifest, and nothing that comes later."""
    manifest = GUIDE.replace("\n", "\r\n") + "generator: <&> \u00e4\U0001f4be\t#x \r\n"
    job = ask(emulator, "CreateJob", {"JobType": "Export", "Manifest": manifest})

    status = ask(emulator, "GetStatus", {"JobId": job["JobId"].lower()})

    assert status["CurrentManifest"] == manifest
    assert status["SignatureFileContents"] == job["SignatureFileContents"]
    assert (status["LocationCode"], status["ProgressCode"]) == ("NotReceived", "Pending")
    assert status["LocationMessage"] == "AWS has not received your device."
    assert status["ProgressMessage"] == "The specified job has not started."
    assert status["ErrorCount"] == 0
    assert abs(status["CreationDate"].timestamp() - time.time()) < 5
    assert not {"Carrier", "TrackingNumber", "LogBucket", "LogKey"} & status.keys()


def test_list_jobs(emulator):
    """Jobs are listed newest first, a page at a time, from after the marker, case aside."""
    ids = [ask(emulator, "CreateJob", EXPORT)["JobId"] for _ in range(3)]
    ask(emulator, "CreateJob", {**EXPORT, "ValidateOnly": "true"})

    first = ask(emulator, "ListJobs", {"MaxJobs": "2"})
    second = ask(emulator, "ListJobs", {"MaxJobs": "2", "Marker": ids[1].lower()})
    none = ask(emulator, "ListJobs", {"MaxJobs": "0"})

    assert [job["JobId"] for job in first["Jobs"]] == [ids[2], ids[1]]
    assert [job["JobId"] for job in second["Jobs"]] == [ids[0]]
    assert [page["IsTruncated"] for page in (first, second, none)] == [True, False, True]
    assert none["Jobs"] == []
    assert first["Jobs"][0]["IsCanceled"] is False


def test_every_page(client, monkeypatch):
    """The client walks all pages, and asks for one only when it gets there."""
    monkeypatch.setattr("daemon.importexport.client._PAGE", "2")
    ids = [client.create_job(GUIDE).job_id for _ in range(5)]

    assert [job.job_id for job in client.list_jobs()] == ids[::-1]


def test_update_job(emulator):
    """An update replaces manifest, type and SIGNATURE; a validated one replaces nothing."""
    job = ask(emulator, "CreateJob", EXPORT)
    change = {"JobId": job["JobId"], "JobType": "Import"}
    changed = {**change, "Manifest": GUIDE.replace("HD001", "HD002") + "eraseDevice: yes\n"}

    ask(emulator, "UpdateJob", {**changed, "ValidateOnly": "true"})
    before = ask(emulator, "GetStatus", {"JobId": job["JobId"]})
    updated = ask(emulator, "UpdateJob", changed)
    after = ask(emulator, "GetStatus", {"JobId": job["JobId"]})

    assert (before["CurrentManifest"], before["JobType"]) == (GUIDE, "Export")
    assert updated["Success"] is True
    assert updated["WarningMessage"] == "**** Device will be erased before being returned. ****"
    assert (after["CurrentManifest"], after["JobType"]) == (changed["Manifest"], "Import")
    assert after["Signature"] != before["Signature"]


def test_cancel_job(emulator):
    """A canceled job stays listed and tells its status; everything else is refused."""
    job = {"JobId": ask(emulator, "CreateJob", EXPORT)["JobId"]}

    assert ask(emulator, "CancelJob", job)["Success"] is True

    assert ask(emulator, "GetStatus", job)["ProgressCode"] == "Canceled"
    assert ask(emulator, "ListJobs")["Jobs"][0]["IsCanceled"] is True
    assert code(emulator, "CancelJob", job) == ("CanceledJobIdException", 400)
    assert code(emulator, "UpdateJob", {**job, **EXPORT}) == ("CanceledJobIdException", 400)


def test_shipping_label(emulator, client):
    """A label is a PDF in the log bucket."""
    job_id = client.create_job(GUIDE).job_id

    parsed = ask(emulator, "GetShippingLabel", {"jobIds.member.1": job_id, "country": "Chile"})
    label = client.get_shipping_label([job_id], country="Chile", trueCryptPassword="x")

    assert parsed["ShippingLabelURL"] == label.shipping_label_url
    assert label.shipping_label_url == (
        f"https://s3.amazonaws.com/mybucket/shipping-label-{job_id}.pdf"
    )
    assert code(emulator, "GetShippingLabel", {"jobIds.member.1": job_id, "country": "USA"}) == (
        "InvalidAddressException",
        400,
    )


def test_validation(emulator, client):
    """ValidateOnly has the shape of a job and leaves nothing behind."""
    job = client.create_job(GUIDE, validate_only=True)

    assert re.fullmatch("[1-9A-NP-Z]{5}-VALIDATE-ONLY", job.job_id)
    assert f"jobId:{job.job_id}\n" in job.signature_file_contents
    assert emulator.jobs == ()
    with pytest.raises(JobRefusedError, match=f"No such job {job.job_id} for your account"):
        client.cancel_job(job.job_id)


def test_moved_on(emulator):
    """A job that the demo moves on is loaded, has its log, and can no longer be changed."""
    job = {"JobId": ask(emulator, "CreateJob", EXPORT)["JobId"]}
    path = f"/_emulator/jobs/{job['JobId']}"
    change = {"LocationCode": "Returned", "ProgressCode": "Complete", "Carrier": "UPS"}

    status, _, body = send(emulator, path=path, body=json.dumps({**change, "TrackingNumber": "1Z"}))

    after = ask(emulator, "GetStatus", job)
    assert (status, json.loads(body)["progress_code"]) == (200, "Complete")
    assert (after["Carrier"], after["TrackingNumber"]) == ("UPS", "1Z")
    assert (after["LogBucket"], after["LogKey"]) == ("mybucket", f"export-log-{job['JobId']}")
    assert code(emulator, "UpdateJob", {**job, **EXPORT})[0] == "UnableToUpdateJobIdException"
    assert code(emulator, "CancelJob", job)[0] == "UnableToCancelJobIdException"


def test_expired_job(emulator, client):
    """A job whose device has not come for 30 days is gone from all but the list."""
    job_id = client.create_job(GUIDE).job_id
    emulator.move(job_id, creation_date=time.time() - 31 * 86_400)

    with pytest.raises(JobRefusedError) as caught:
        client.get_status(job_id)

    assert caught.value.code == "ExpiredJobIdException"
    assert [job.job_id for job in client.list_jobs()] == [job_id]


def test_accounts():
    """An account sees its own jobs only."""
    other = Credentials("AKIAOTHER", "other", "token/+=")
    with Emulator(accounts=[EXAMPLE, other]) as emulator:
        job = ask(emulator, "CreateJob", EXPORT)["JobId"]

        with closing(Client(emulator.endpoint, other, 10)) as client:
            assert list(client.list_jobs()) == []
            with pytest.raises(JobRefusedError, match=f"No such job {job}"):
                client.get_status(job)
        assert code(emulator, "ListJobs", keys=other)[0] == "InvalidClientTokenIdException"


def test_quota():
    """The day's jobs are counted; validations are not."""
    with Emulator(quota=1) as emulator, closing(Client(emulator.endpoint, EXAMPLE, 10)) as client:
        client.create_job(GUIDE, validate_only=True)
        client.create_job(GUIDE)
        client.create_job(GUIDE, validate_only=True)

        with pytest.raises(TryLaterError, match="CreateJobQuotaExceeded"):
            client.create_job(GUIDE)


WRONG_KEY = Credentials(EXAMPLE.access_key_id, "wrong")
NO_KEY = Credentials("AKIANOBODY", "x")
OLD, SOON = "2011-06-20T22:30:59Z", "2011-06-20T22:30:59.5+00:00"
REQUESTS = {
    "unknown key": ("ListJobs", {}, {"keys": NO_KEY}, "InvalidClientTokenIdException", 403),
    "wrong secret": ("ListJobs", {}, {"keys": WRONG_KEY}, "SignatureDoesNotMatch", 403),
    "not signed": ("ListJobs", {}, {"Signature": None}, "IncompleteSignature", 400),
    "version 4": ("ListJobs", {}, {"SignatureVersion": "4"}, "IncompleteSignature", 400),
    "method": ("ListJobs", {}, {"SignatureMethod": "HmacMD5"}, "IncompleteSignature", 400),
    "no time": ("ListJobs", {}, {"Timestamp": None}, "IncompleteSignature", 400),
    "two times": ("ListJobs", {}, {"Expires": LATER}, "IncompleteSignature", 400),
    "bad time": ("ListJobs", {}, {"Timestamp": "noon"}, "InvalidParameterValue", 400),
    "late": ("ListJobs", {}, {"Timestamp": OLD}, "RequestExpired", 400),
    "late, and forged": (
        "ListJobs",
        {},
        {"Timestamp": SOON, "keys": WRONG_KEY},
        "RequestExpired",
        400,
    ),
    "early": ("ListJobs", {}, {"Timestamp": "2098-01-01T00:00:00Z"}, "RequestExpired", 400),
    "expired": ("ListJobs", {}, {"Timestamp": None, "Expires": OLD}, "RequestExpired", 400),
    "action": ("Launch", {}, {}, "InvalidAction", 400),
    "no action": (None, {}, {}, "MissingAction", 400),
    "version": ("ListJobs", {}, {"Version": "2009-01-01"}, "InvalidParameterException", 400),
    "tool": ("ListJobs", {"APIVersion": "x"}, {}, "InvalidVersionException", 400),
    "no manifest": ("CreateJob", {"JobType": "X"}, {}, "MissingParameterException", 400),
    "no type": ("CreateJob", {"Manifest": "x"}, {}, "MissingParameterException", 400),
    "type": ("CreateJob", {**EXPORT, "JobType": "X"}, {}, "InvalidParameterException", 400),
    "validate": (
        "CreateJob",
        {**EXPORT, "ValidateOnly": "1"},
        {},
        "InvalidParameterException",
        400,
    ),
    "many": ("ListJobs", {"MaxJobs": "1001"}, {}, "InvalidParameterException", 400),
    "few": ("ListJobs", {"MaxJobs": "-1"}, {}, "InvalidParameterException", 400),
    "marker": ("ListJobs", {"Marker": "ABC12"}, {}, "InvalidParameterException", 400),
    "job": ("GetStatus", {"JobId": "<&\0>"}, {}, "InvalidJobIdException", 400),
    "no job": ("CancelJob", {}, {}, "InvalidJobIdException", 400),
    "no job to update": ("UpdateJob", EXPORT, {}, "MissingParameterException", 400),
    "no jobs": ("GetShippingLabel", {}, {}, "InvalidParameterException", 400),
}


@pytest.mark.parametrize(
    ("operation", "parameters", "seal", "expected", "status"), REQUESTS.values(), ids=REQUESTS
)
def test_refused_request(emulator, operation, parameters, seal, expected, status):
    """What is wrong with a request is refused with the API's word for it, first things first."""
    if "Signature" in seal:
        form = sealed(emulator, {"Action": operation})
        del form["Signature"]
        answered, headers, body = send(emulator, body=encode(form.items()))
        answer = {"status_code": answered, "headers": headers, "body": body}
        parsed = botocore.parsers.create_parser("query").parse(answer, None)
        found = (parsed["Error"]["Code"], answered)
    else:
        found = code(emulator, operation, parameters, **seal)

    assert found == (expected, status)
    assert emulator.jobs == ()


MANIFESTS = {
    "text": (GUIDE, "just text", "MalformedManifestException"),
    "key": ("EXAMPLE\n", "OTHER\n", "InvalidAccessKeyIdException"),
    "key and file system": (
        "EXAMPLE\ndeviceId:HD001\nfileSystem:NTFS",
        "OTHER\ndeviceId:HD001\nfileSystem:FAT",
        "InvalidAccessKeyIdException",
    ),
    "no key": ("accessKeyId:AKIAIOSFODNN7EXAMPLE\n", "", "MissingManifestFieldException"),
    "no device": ("deviceId:HD001\n", "", "MissingManifestFieldException"),
    "no city": ("    city:Your City\n", "", "MissingManifestFieldException"),
    "no export": ("exportBucket:mybucket", "prefix: x", "MissingManifestFieldException"),
    "file system": ("NTFS", "FAT32", "InvalidFileSystemException"),
    "box": ("Your Street", "P.O. Box 7", "InvalidAddressException"),
    "customs": (
        "returnAddress:",
        "customs:\n  encryptedData: maybe\nreturnAddress:",
        "InvalidCustomsException",
    ),
    "bucket": ("exportBucket:mybucket", "exportBucket:nobody", "NoSuchBucketException"),
    "rights": ("exportBucket:mybucket", "exportBucket:theirs", "BucketPermissionException"),
    "regions": ("exportBucket:mybucket", "exportBucket:abroad", "MultipleRegionsException"),
    "log": (
        "logBucket",
        f"logPrefix: {'x' * 1010}\nlogBucket",
        "InvalidManifestFieldException",
    ),
    "version": ("manifestVersion:2.0", "manifestVersion:two", "InvalidManifestFieldException"),
}
BUCKETS = {"mybucket": "us-east-1", "abroad": "eu-west-1", "theirs": "denied"}


@pytest.mark.parametrize(("old", "new", "expected"), MANIFESTS.values(), ids=MANIFESTS)
def test_refused_manifest(old, new, expected):
    """What is wrong with a manifest is refused with the API's word for it, in the API's order."""
    assert old in GUIDE
    manifest = GUIDE.replace(old, new)

    with (
        Emulator(buckets=BUCKETS) as emulator,
        closing(Client(emulator.endpoint, EXAMPLE, 10)) as client,
    ):
        with pytest.raises((ManifestRefusedError, CredentialsRefusedError)) as caught:
            client.create_job(manifest)
        assert emulator.jobs == ()

    assert caught.value.code == expected


def test_exact_words(emulator, client):
    """Messages that are known from the live service are the live service's."""
    missing = ask(emulator, "CreateJob", {"JobType": "Export"})
    malformed = ask(emulator, "CreateJob", {**EXPORT, "Manifest": "just text"})

    assert missing["Error"]["Message"] == "Manifest must be specified"
    assert malformed["Error"]["Message"] == "Your manifest is not well-formed"


def test_strict_era():
    """The last edition of the guide asks for a password or PIN, and for an address for notes."""
    rules = ManifestRules("strict2015")
    later = GUIDE.replace("accessKeyId:AKIAIOSFODNN7EXAMPLE\n", "notificationEmail: a@b.example\n")

    with pytest.raises(Refusal, match="notificationEmail"):
        rules.check(GUIDE, "Export", "anybody")
    with pytest.raises(Refusal, match="trueCryptPassword or pinCode"):
        rules.check(later, "Export", "anybody")
    assert rules.check(f"pinCode: 1234\n{later}", "Export", "anybody")["pinCode"] == "1234"


values = st.recursive(
    st.sampled_from(["", "x", "2.0", "yes", "NTFS", "mybucket"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
fields = st.sampled_from(re.findall(r"^(\w+):", GUIDE, re.MULTILINE) + ["customs", "serviceLevel"])


@given(st.dictionaries(fields, values, max_size=4))
def test_any_manifest(changes):
    """Whatever a manifest holds, it is taken or refused, and never a bug."""
    whole = ManifestRules(buckets=BUCKETS).read(GUIDE)
    text = json.dumps({**whole, **changes})

    with suppress(Refusal):
        ManifestRules(buckets=BUCKETS).check(text, "Export", EXAMPLE.access_key_id)


def test_other_clients(emulator):
    """Plus signs for blanks, HmacSHA1, Operation, GET and an Expires are other clients' habits."""
    manifest = GUIDE + "generator: a + b\n"
    plus = urlencode(sealed(emulator, {"Action": "CreateJob", **EXPORT, "Manifest": manifest}))
    old = {"Operation": "CreateJob", **EXPORT, "Version": None}
    sha1 = encode(sealed(emulator, old, SignatureMethod="HmacSHA1").items())
    get = encode(
        sealed(
            emulator, {"Action": "ListJobs"}, method="GET", Timestamp=None, Expires=LATER
        ).items()
    )
    split = sealed(emulator, {"Operation": "ListJobs"})
    del split["Operation"]

    assert "+" in plus
    assert send(emulator, body=plus)[0] == 200
    assert send(emulator, body=sha1)[0] == 200
    assert send(emulator, "GET", f"/?{get}")[0] == 200
    assert send(emulator, path="/?Operation=ListJobs", body=encode(split.items()))[0] == 200
    assert [job.manifest for job in emulator.jobs] == [manifest, GUIDE]


@pytest.mark.parametrize("body", ["Manifest=accessKeyId%AKIA", "Manifest=%ff", "JobId=A&JobId=B"])
def test_malformed_form(emulator, body):
    """A form that cannot be one is refused, the guide's own misprint among them."""
    status, _, answer = send(emulator, body=body)

    assert (status, b"MalformedQueryString" in answer) == (404, True)


def in_chunks(emulator, body, coding="chunked"):
    """Send a body as it is, and return the status of the answer and its body."""
    address = urlsplit(emulator.endpoint)
    head = (
        f"POST / HTTP/1.1\r\nHost: {address.netloc}\r\nTransfer-Encoding: {coding}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), 10) as wire:
        wire.sendall(head.encode() + body)
        wire.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return answer.status, answer.read()


def test_body_without_end(emulator):
    """A body of more than a few megabytes is not read at all."""
    endless = send(emulator, **{"Content-Length": "9999999"})
    in_parts = in_chunks(emulator, b"FFFFFFF\r\n")

    assert (endless[0], in_parts[0]) == (413, 413)
    assert endless[1]["Connection"] == "close"


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_body_in_chunks(emulator, pieces):
    """It is put together; extensions and trailers mean nothing."""
    form = encode(sealed(emulator, {"Action": "ListJobs"}).items()).encode()
    parts = [form[start : start + pieces] for start in range(0, len(form), pieces)]
    chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts)

    status, body = in_chunks(emulator, chunks + b"0\r\nX-Trailer: 1\r\n\r\n")

    assert (status, b"ListJobsResponse" in body) == (200, True), body


@pytest.mark.parametrize("body", [b"", b"x\r\n", b"5\r\nab", b"2\r\nabc\r\n0\r\n\r\n", b"0\r\n"])
def test_broken_chunks(emulator, body):
    """They are refused; nothing is guessed."""
    assert in_chunks(emulator, body)[0] == 400


def test_another_transfer_coding(emulator):
    """It is not known here."""
    assert in_chunks(emulator, b"", "gzip, chunked")[0] == 501


def test_signature_version_4(emulator):
    """A request signed the new way is told in plain words what is spoken here."""
    header = {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}

    status, _, body = send(emulator, body="Action=ListJobs", **header)

    assert (status, b"Signature Version 4 is not spoken here" in body) == (400, True)


def test_unsigned(emulator):
    """A request without any signature misses its token."""
    status, _, body = send(emulator, body="Action=ListJobs")

    assert (status, b"MissingAuthenticationToken" in body) == (403, True)


def test_one_send_an_answer(emulator):
    """Head and body come in one piece, so that a kept connection never stalls."""
    address = urlsplit(emulator.endpoint)
    with closing(http.client.HTTPConnection(address.hostname, address.port, timeout=10)) as wire:
        began = time.monotonic()
        for _ in range(20):
            wire.request("POST", "/", "Action=ListJobs")
            wire.getresponse().read()
        waited = time.monotonic() - began

    assert waited < 20 * 0.04  # what Nagle's algorithm and a delayed ACK would cost


def test_skewed_clock():
    """A read is asked again with the service's time; a CreateJob is left to the caller."""
    ahead = 3600.0
    with (
        Emulator(clock=lambda: time.time() + ahead) as emulator,
        closing(Client(emulator.endpoint, EXAMPLE, 10)) as reader,
        closing(Client(emulator.endpoint, EXAMPLE, 10)) as maker,
    ):
        assert reader.create_job(GUIDE, validate_only=True).job_id.endswith("-VALIDATE-ONLY")
        assert list(reader.list_jobs()) == []
        assert abs(reader.now() - time.time() - ahead) < 2

        with pytest.raises(ClockRefusedError):
            maker.create_job(GUIDE)
        assert emulator.jobs == ()
        assert abs(maker.now() - time.time() - ahead) < 2
        assert maker.create_job(GUIDE).job_id == emulator.jobs[0].job_id


def test_clock_is_told_once(emulator, client, caplog):
    """The client warns of a wrong clock in one line; one that stays refused is raised."""
    emulator.faults.add("error", "ListJobs", code="RequestExpired", times=2)

    with pytest.raises(ClockRefusedError) as caught:
        next(client.list_jobs())

    assert "clock" in caught.value.hint
    assert len([line for line in caplog.records if line.levelname == "WARNING"]) == 1


FAULTS = {
    "refuse": (InDoubtError, 0),
    "cut-before": (InDoubtError, 0),
    "cut-after": (InDoubtError, 1),
    "truncate": (InDoubtError, 1),
    "500-before": (InDoubtError, 0),
    "500-after": (InDoubtError, 1),
    "503": (InDoubtError, 0),
    "error": (RefusedError, 0),
    "html": (InDoubtError, 0),
    "redirect": (InDoubtError, 0),
    "entity-bomb": (InDoubtError, 1),
    "hang": (InDoubtError, 0),
    "hang-after": (InDoubtError, 1),
    "drip": (InDoubtError, 1),
    "delay": (InDoubtError, 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_fault(emulator, kind):
    """A fault leaves the job made or not as it says, and the client certain or in doubt."""
    expected, made = FAULTS[kind]
    emulator.faults.add(kind, "CreateJob", seconds=1 if kind == "delay" else 0)
    slow = kind in {"delay", "drip", "hang", "hang-after"}

    with closing(Client(emulator.endpoint, EXAMPLE, TIMEOUT if slow else 10)) as client:
        with pytest.raises(expected):
            client.create_job(GUIDE)
        assert len(emulator.jobs) == made
        assert len(list(client.list_jobs())) == made

    assert emulator.faults.pending() == ()


@pytest.mark.parametrize("kind", ["refuse", "cut-before", "cut-after"])
def test_reset(emulator, client, kind):
    """A connection that is cut ends with a reset, not with a polite goodbye."""
    emulator.faults.add(kind)

    with pytest.raises(InDoubtError, match=r"reset by peer|Broken pipe|was cut off"):
        client.create_job(GUIDE)


def test_faults_are_counted(emulator, client):
    """A fault strikes its operation as often as told, and then no more."""
    emulator.faults.add("503", "GetStatus", times=2)
    emulator.faults.add("error", times=None, code="ThrottlingException")
    emulator.faults.clear()
    emulator.faults.add("503", "GetStatus", times=2)
    job_id = client.create_job(GUIDE).job_id

    for _ in range(2):
        with pytest.raises(InDoubtError, match="503"):
            client.get_status(job_id)

    assert client.get_status(job_id).job_id == job_id


def test_short_delay(emulator, client):
    """A delay that the client can wait for is only a delay."""
    emulator.faults.add("delay", seconds=0.2)

    began = time.monotonic()
    assert list(client.list_jobs()) == []

    assert time.monotonic() - began >= 0.2


def test_control(emulator, client):
    """Jobs and faults are seen and told over HTTP, and no secret of a job is shown."""
    job = client.create_job(f"trueCryptPassword: hunter2\n{GUIDE}")
    faults = json.dumps([{"kind": "503", "operation": "ListJobs", "times": None}])

    _, _, jobs = send(emulator, "GET", "/_emulator/jobs")
    told, _, _ = send(emulator, path="/_emulator/faults", body=faults)
    _, _, pending = send(emulator, "GET", "/_emulator/faults")

    assert [each["job_id"] for each in json.loads(jobs)] == [job.job_id]
    assert b"hunter2" not in jobs
    assert (told, json.loads(pending)[0]["kind"]) == (200, "503")
    with pytest.raises(InDoubtError, match="503"):
        next(client.list_jobs())
    assert send(emulator, "DELETE", "/_emulator/faults")[0] == 200
    assert next(client.list_jobs()).job_id == job.job_id


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("jobs/ABC12", "{}", 404),
        ("jobs/{job}", '{"Manifest": "x"}', 404),
        ("jobs/{job}", '{"ErrorCount": "many"}', 400),
        ("jobs/{job}", '{"CreationDate": "noon"}', 400),
        ("jobs/{job}", "[]", 400),
        ("jobs/{job}", "no JSON", 400),
        ("faults", '[{"kind": "earthquake"}]', 400),
        ("faults", '[{"kind": "503", "times": "often"}]', 400),
        ("faults", '[{"kind": "503", "colour": "red"}]', 400),
        ("nothing", "{}", 404),
    ],
)
def test_control_refused(emulator, client, path, body, status):
    """What control cannot do is told and changes nothing."""
    job_id = client.create_job(GUIDE).job_id
    before = emulator.jobs

    answered, _, _ = send(emulator, path=f"/_emulator/{path}".format(job=job_id), body=body)

    assert answered == status
    assert emulator.jobs == before
    assert emulator.faults.pending() == ()


def test_control_from_a_web_page(emulator):
    """A page in a browser on this machine has no say."""
    assert send(emulator, "GET", "/_emulator/jobs", Origin="https://evil.example")[0] == 403


def test_restart(tmp_path):
    """With a state file the jobs outlive the service, in their order, readable by nobody else."""
    state = tmp_path / "jobs.db"
    with Emulator(state=state) as emulator:
        first, second = (ask(emulator, "CreateJob", EXPORT)["JobId"] for _ in range(2))
        ask(emulator, "CancelJob", {"JobId": first})
        before = emulator.jobs

    with Emulator(state=state, quota=2) as emulator:
        assert emulator.jobs == before
        assert [job["JobId"] for job in ask(emulator, "ListJobs")["Jobs"]] == [second, first]
        assert code(emulator, "CreateJob", EXPORT)[0] == "CreateJobQuotaExceededException"
    assert state.stat().st_mode & 0o077 == 0


def test_taken(emulator, tmp_path):
    """A port or a file that somebody else has is an error at once, and nothing is left open."""
    with pytest.raises(OSError, match="in use"):
        Emulator(port=urlsplit(emulator.endpoint).port, state=tmp_path / "jobs.db")

    with Emulator(state=tmp_path / "jobs.db") as again:
        assert again.jobs == ()


SERVE = """
import logging, pathlib, sys
from daemon.importexport.emulator import serve
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
serve(port=0, state=pathlib.Path(sys.argv[1]))
"""


def served(state):
    """A service in a process of its own, and where it listens."""
    arguments = [sys.executable, "-c", SERVE, str(state)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


def test_killed(tmp_path):
    """A job that was answered is there after a kill -9; SIGTERM ends the service in good order."""
    state = tmp_path / "jobs.db"
    process, endpoint = served(state)
    with process, closing(Client(endpoint, EXAMPLE, 10)) as client:
        job = client.create_job(GUIDE)
        process.kill()

    process, endpoint = served(state)
    with process, closing(Client(endpoint, EXAMPLE, 10)) as client:
        assert client.get_status(job.job_id).signature == job.signature
        process.send_signal(signal.SIGTERM)
        log = process.stdout.read()

    assert process.returncode == 0
    assert f"GetStatus done, JobId {job.job_id}" in log
    assert EXAMPLE.secret_access_key not in log


def test_many_at_once():
    """Fifty callers on one client get fifty jobs, each its own."""
    with (
        Emulator(quota=1000) as emulator,
        closing(Client(emulator.endpoint, EXAMPLE, 20)) as client,
        ThreadPoolExecutor(50) as workers,
    ):
        manifests = [GUIDE.replace("HD001", f"HD{number:03}") for number in range(200)]
        jobs = list(workers.map(client.create_job, manifests))

        found = {job.job_id: job.manifest for job in emulator.jobs}
        assert [found[job.job_id] for job in jobs] == manifests


def test_stops_at_once(emulator):
    """Stopping ends connections that are kept, and requests that hang, and may be repeated."""
    emulator.faults.add("hang", "CreateJob")
    with closing(Client(emulator.endpoint, EXAMPLE, 10)) as client:
        list(client.list_jobs())
        with ThreadPoolExecutor(1) as worker:
            hanging = worker.submit(client.create_job, GUIDE)
            while emulator.faults.pending():
                time.sleep(0.001)
            began = time.monotonic()
            emulator.stop()
            emulator.stop()
            assert isinstance(hanging.exception(5), InDoubtError)
    assert time.monotonic() - began < 2


def test_secrets_stay_out_of_the_log(emulator, client, caplog):
    """A request is a line in the log with operation and JobId, and nothing secret."""
    caplog.set_level("DEBUG", "daemon")
    job = client.create_job(f"trueCryptPassword: hunter2\n{GUIDE}")

    assert f"emulator: CreateJob done, JobId {job.job_id}" in caplog.messages
    assert "hunter2" not in caplog.text
    assert EXAMPLE.secret_access_key not in caplog.text
    assert "hunter2" not in repr(emulator.jobs)
