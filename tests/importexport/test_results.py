"""Answers of the service: what each one proves, and which values it carries."""

import botocore.loaders
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
    RequestRefusedError,
    TryLaterError,
)
from daemon.importexport import results
from daemon.importexport.response import Answer, read_time
from daemon.importexport.results import Artifact

LIVE = "http://importexport.amazonaws.com/doc/2010-06-01/"
GUIDE = "http://importexport.amazonaws.com/"
SIGNATURE_FILE = """version:2.0
signingMethod:HmacSHA1
jobId:K7M3X
signature:AAAAAAAAAAAAAAAAAAAAAAAAAAA=
"""
CREATED = f"""
    <JobType>Export</JobType>
    <JobId>K7M3X</JobId>
    <SignatureFileContents>{SIGNATURE_FILE}</SignatureFileContents>
    <AwsShippingAddress>
        AWS Import/Export
        JOBID K7M3X
        2646 Rainier Ave South
    </AwsShippingAddress>
    <Signature>AAAAAAAAAAAAAAAAAAAAAAAAAAA=</Signature>
"""


def answer(operation, result, *, namespace=LIVE, status=200):
    """The live service's envelope around a result."""
    body = f"""<{operation}Response xmlns="{namespace}"><{operation}Result>{result}
        </{operation}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
        </{operation}Response>"""
    return Answer(operation, status, "text/xml", None, body.encode())


def refused(code, message="No.", *, status=400, operation="CreateJob"):
    """The live service's refusal."""
    body = f"""<ErrorResponse xmlns="{LIVE}"><Error><Type>Sender</Type><Code>{code}</Code>
        <Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"""
    return Answer(operation, status, "text/xml", None, body.encode())


@pytest.mark.parametrize("namespace", [LIVE, GUIDE, ""])
def test_created_job(namespace):
    """A job has its JobId, SIGNATURE to the letter, and address, in any namespace and order."""
    job = results.created_job(answer("CreateJob", CREATED, namespace=namespace))

    assert (job.job_id, job.job_type) == ("K7M3X", "Export")
    assert job.signature == "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert job.signature_file_contents == SIGNATURE_FILE
    assert job.aws_shipping_address == "AWS Import/Export\nJOBID K7M3X\n2646 Rainier Ave South"
    assert (job.warning_message, job.artifact_list) == (None, ())


def test_artifacts():
    """The papers for the box are listed with their addresses."""
    listed = """<ArtifactList><member><Description>Customs</Description><URL>https://x/a.pdf</URL>
        </member><member><URL>https://x/b.pdf</URL></member></ArtifactList>"""

    job = results.created_job(answer("CreateJob", CREATED + listed))

    assert job.artifact_list == (
        Artifact("Customs", "https://x/a.pdf"),
        Artifact(None, "https://x/b.pdf"),
    )


def test_status_of_a_pending_job():
    """What a pending job does not have yet is None; its manifest never shows in a repr."""
    status = results.job_status(
        answer(
            "GetStatus",
            """<JobId>K7M3X</JobId><LocationCode>NotReceived</LocationCode><Carrier/>
            <ProgressCode>Pending</ProgressCode><ErrorCount>0</ErrorCount>
            <CreationDate>2010-03-28T20:27:35Z</CreationDate>
            <CurrentManifest>deviceId: HD001&#13;
trueCryptPassword: hunter2 </CurrentManifest>""",
        )
    )

    assert (status.location_code, status.progress_code) == ("NotReceived", "Pending")
    assert (status.carrier, status.log_key, status.error_count) == (None, None, 0)
    assert status.creation_date == 1269808055
    assert status.current_manifest == "deviceId: HD001\r\ntrueCryptPassword: hunter2 "
    assert "hunter2" not in repr(status)


def test_status_of_little():
    """A status with nothing but a JobId is still a status."""
    status = results.job_status(answer("GetStatus", "<JobId>K7M3X</JobId>"))

    assert (status.progress_code, status.creation_date, status.is_terminal) == (None, None, False)


@pytest.mark.parametrize(
    ("code", "is_terminal"),
    [
        ("Pending", False),
        ("InProgress", False),
        ("Started", False),
        ("SomethingNew", False),
        ("Complete", True),
        ("Success", True),
        ("SuccessWithErrors", True),
        ("Canceled", True),
        ("Expired", True),
        ("MissingSignature", True),
        ("UnsupportedPowerSupply", True),
    ],
)
def test_terminal(code, is_terminal):
    """The known ends are ends; a code that nobody has told us of is none."""
    result = f"<JobId>K7M3X</JobId><ProgressCode>{code}</ProgressCode>"

    assert results.job_status(answer("GetStatus", result)).is_terminal is is_terminal


def test_job_page():
    """A page lists its jobs in the service's order and says whether there are more."""
    page = results.job_page(
        answer(
            "ListJobs",
            """<Jobs><member><JobType>Export</JobType><JobId>K7M3X</JobId>
            <CreationDate>2010-09-20T05:10:35.5+02:00</CreationDate><IsCanceled>true</IsCanceled>
            </member><member><CreationDate>2010-09-19T00:00:00Z</CreationDate><JobId>4Y8ND</JobId>
            </member></Jobs><IsTruncated>true</IsTruncated>""",
        )
    )

    assert [job.job_id for job in page.jobs] == ["K7M3X", "4Y8ND"]
    assert [job.is_canceled for job in page.jobs] == [True, False]
    assert page.jobs[0].creation_date == 1284952235.5
    assert page.is_truncated


def test_no_jobs():
    """An account without jobs has an empty page."""
    page = results.job_page(answer("ListJobs", "<Jobs/><IsTruncated>false</IsTruncated>"))

    assert (page.jobs, page.is_truncated) == ((), False)


@pytest.mark.parametrize(
    "result",
    [
        "",
        "<Jobs/>",
        "<IsTruncated>false</IsTruncated>",
        "<Jobs/><IsTruncated>perhaps</IsTruncated>",
        "<Jobs><member><JobId>K7M3X</JobId></member></Jobs><IsTruncated>false</IsTruncated>",
    ],
)
def test_hollow_page(result):
    """An answer that is not plainly a list of jobs never passes for "there is no job"."""
    with pytest.raises(InDoubtError):
        results.job_page(answer("ListJobs", result))


def test_the_small_answers():
    """UpdateJob, CancelJob and GetShippingLabel say what they did."""
    warning = "<Success>true</Success><WarningMessage>Erased.</WarningMessage>"
    label = "<ShippingLabelURL>https://s3/label.pdf</ShippingLabelURL>"

    assert results.updated(answer("UpdateJob", warning)).warning_message == "Erased."
    assert results.canceled(answer("CancelJob", "<Success>true</Success>")) is None
    shipping = results.shipping_label(answer("GetShippingLabel", label))
    assert shipping.shipping_label_url == "https://s3/label.pdf"


@pytest.mark.parametrize("result", ["", "<Success>false</Success>", "<Success>so so</Success>"])
def test_no_success(result):
    """An update that does not say Success is in doubt."""
    with pytest.raises(InDoubtError):
        results.updated(answer("UpdateJob", result))


@pytest.mark.parametrize(
    "result",
    [
        CREATED.replace("JobId>", "Job>"),
        CREATED.replace("SignatureFileContents", "Other"),
        CREATED.replace(SIGNATURE_FILE, " \n "),
        CREATED.replace("<JobId>K7M3X", "<JobId>../etc"),
        CREATED.replace("<JobId>K7M3X", "<JobId>" + "A" * 65),
        CREATED.replace("<JobId>K7M3X", "<JobId>.."),
    ],
    ids=["no JobId", "no SIGNATURE", "blank SIGNATURE", "a path", "too long", "dots"],
)
def test_unusable_job(result):
    """A job without a JobId fit for a folder name, or without SIGNATURE, is in doubt."""
    with pytest.raises(InDoubtError, match=r"CreateJob: .*\(status 200, text/xml\)"):
        results.created_job(answer("CreateJob", result))


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
UNUSABLE = {
    "nothing": (200, b""),
    "captive portal": (200, b"<html><body>Please log in</body></html>"),
    "cut off": (200, answer("CreateJob", CREATED).body[:-40]),
    "another operation": (200, answer("UpdateJob", CREATED).body),
    "no result": (200, b"<CreateJobResponse/>"),
    "document type": (200, b"<!DOCTYPE x>" + answer("CreateJob", CREATED).body),
    "entities": (200, BOMB + answer("CreateJob", "<JobId>&b;</JobId>").body),
    "unknown encoding": (200, b"<?xml version='1.0' encoding='klingon'?><CreateJobResponse/>"),
    "a refusal with 200": (200, refused("InvalidParameter").body),
    "accepted": (202, answer("CreateJob", CREATED).body),
    "redirect": (302, b""),
    "proxy's own refusal": (403, b"<html>Forbidden</html>"),
    "refusal without a code": (400, refused("").body),
    "refusal with entities": (400, BOMB + refused("InvalidParameter").body),
    "server error": (500, refused("InternalFailure").body),
    "service unavailable": (503, refused("ServiceUnavailable").body),
}


@pytest.mark.parametrize(("status", "body"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_answer(status, body):
    """Whatever is neither the whole result nor the service's own refusal is in doubt."""
    with pytest.raises(InDoubtError, match=f"status {status}, application/x") as caught:
        results.created_job(Answer("CreateJob", status, "application/x", None, body))

    assert caught.value.hint


@given(st.binary() | st.text().map(str.encode), st.sampled_from([200, 400]))
def test_any_bytes(body, status):
    """No bytes whatever get past as a job or raise anything but doubt."""
    with pytest.raises(InDoubtError):
        results.created_job(Answer("CreateJob", status, "", None, body))


def test_deep_nesting():
    """An answer of a mebibyte of open elements is refused, and harmless."""
    deep = b"<a>" * 170_000 + b"</a>" * 170_000

    with pytest.raises(InDoubtError):
        results.created_job(Answer("CreateJob", 200, "text/xml", None, deep))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("MalformedManifestException", ManifestRefusedError),
        ("MissingManifestField", ManifestRefusedError),
        ("NoSuchBucketException", ManifestRefusedError),
        ("InvalidAccessKeyIdException", CredentialsRefusedError),
        ("InvalidAccessIdException", CredentialsRefusedError),
        ("SignatureDoesNotMatch", CredentialsRefusedError),
        ("AccessDeniedException", CredentialsRefusedError),
        ("RequestExpired", ClockRefusedError),
        ("InvalidJobIdException", JobRefusedError),
        ("CanceledJobId", JobRefusedError),
        ("MissingParameterException", RequestRefusedError),
        ("CreateJobQuotaExceededException", TryLaterError),
        ("ThrottlingException", TryLaterError),
        ("SomethingNewException", RequestRefusedError),
    ],
)
def test_refusals(code, kind):
    """A code, with or without its ending, is the error of whoever has to act, with a hint."""
    with pytest.raises(RefusedError) as caught:
        results.created_job(refused(code, "Bucket x is not yours."))

    assert type(caught.value) is kind
    assert caught.value.code == code
    assert str(caught.value) == f"CreateJob refused: {code}: Bucket x is not yours."
    assert caught.value.hint


def test_every_code_of_the_model():
    """Each error that botocore's model of the service names has its own hint here."""
    model = botocore.loaders.Loader().load_service_model("importexport", "service-2")
    codes = [name for name, shape in model["shapes"].items() if shape.get("exception")]

    hints = []
    for code in codes:
        with pytest.raises(RefusedError) as caught:
            results.created_job(refused(code))
        hints.append(caught.value.hint)

    assert len(codes) == 20
    assert not [hint for hint in hints if "guide" in hint]


def test_message_is_one_line():
    """Of the service's message one line is told: further lines of AWS quote the request."""
    said = "It does not match.\n\nThe canonical string was 'Manifest=trueCryptPassword'"

    with pytest.raises(CredentialsRefusedError) as caught:
        results.created_job(refused("SignatureDoesNotMatch", said, status=403))

    assert str(caught.value) == "CreateJob refused: SignatureDoesNotMatch: It does not match."


@pytest.mark.parametrize(
    "text", ["2011-06-20T22:30:59Z", "2011-06-20T22:30:59", "2011-06-21T00:30:59.000+02:00"]
)
def test_times(text):
    """Times are read as the service has ever written them; without an offset they are UTC."""
    assert read_time(text) == 1_308_609_059
