"""The service asked through the daemon: what comes back is what the daemon's client had."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import (
    CredentialsRefusedError,
    DriveprepError,
    JobRefusedError,
    ManifestRefusedError,
    UnreachableError,
)
from daemon.importexport import relay
from daemon.importexport.client import Client
from daemon.importexport.credentials import Credentials
from daemon.importexport.emulator import EXAMPLE, Emulator

MANIFEST = (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text()
ADDRESS = {"name": "N", "street1": "S", "city": "C", "country": "U", "postalCode": "1",
           "stateOrProvince": "W", "phoneNumber": "2"}  # fmt: skip


@pytest.fixture(scope="module")
def service():
    """The emulated service."""
    with Emulator() as emulator:
        yield emulator


def clients(endpoint, secret=EXAMPLE.secret_access_key):
    """The daemon's client, and one that asks it."""
    direct = Client(endpoint, Credentials(EXAMPLE.access_key_id, secret), 5)
    return direct, relay.RelayedClient(lambda request: relay.perform(direct, request))


def test_every_operation(service):
    """The results are equal to the direct ones."""
    direct, relayed = clients(service.endpoint)
    job_id = direct.create_job(MANIFEST).job_id

    assert relayed.access_key_id == EXAMPLE.access_key_id
    # Without the manifest, which may have passwords.
    status = replace(direct.get_status(job_id), current_manifest=None)
    assert relayed.get_status(job_id) == status
    assert relayed.get_shipping_label([job_id], **ADDRESS) == direct.get_shipping_label(
        [job_id], **ADDRESS
    )
    assert relayed.update_job(job_id, MANIFEST) == direct.update_job(job_id, MANIFEST)
    before = len(service.jobs)
    assert relayed.validate(MANIFEST).signature_file_contents
    assert len(service.jobs) == before
    assert relayed.cancel_job(job_id) is None
    with pytest.raises(JobRefusedError) as caught:
        relayed.cancel_job(job_id)
    assert caught.value.code.startswith("CanceledJobId")


def test_errors_are_the_daemons(service):
    """Kind, sentence, hint and code are the same."""
    direct, relayed = clients(service.endpoint, "wrong")
    for ask in (lambda one: one.get_status("K7M3X"), lambda one: one.validate("x")):
        with pytest.raises(CredentialsRefusedError) as far:
            ask(relayed)
        with pytest.raises(CredentialsRefusedError) as near:
            ask(direct)
        assert (str(far.value), far.value.hint, far.value.code) == (
            str(near.value), near.value.hint, near.value.code,
        )  # fmt: skip
    with pytest.raises(UnreachableError):
        clients("http://127.0.0.1:9")[1].get_status("K7M3X")
    with pytest.raises(ManifestRefusedError):
        clients(service.endpoint)[1].validate("not a manifest")


@pytest.mark.parametrize(
    "request_",
    [
        b"", b"[]", b"null", b"\xff", b"{}", b"[" * 100_000,
        json.dumps({"operation": "CreateJob", "manifest": MANIFEST}).encode(),
        json.dumps({"operation": "GetStatus"}).encode(),
        json.dumps({"operation": "GetStatus", "jobId": 5}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(service, request_):
    """Also a request for a real job: only the daemon itself makes one."""
    before = len(service.jobs)

    answer = json.loads(relay.perform(clients(service.endpoint)[0], request_))

    assert answer["error"]["message"] == "this request is not known"
    assert len(service.jobs) == before


@given(st.binary(max_size=50))
def test_any_bytes_have_an_answer(data):
    """Whoever may write to pending/ cannot make the daemon fail."""
    client = Client("http://127.0.0.1:9", Credentials("A", "s"), 1)

    assert "error" in json.loads(relay.perform(client, data))


def test_errors_of_other_kinds_stay_errors():
    """Such as one of a newer daemon."""
    told = {"kind": "os", "message": "m", "hint": "h", "code": "c"}
    relayed = relay.RelayedClient(lambda _: json.dumps({"error": told}).encode())

    with pytest.raises(DriveprepError, match="m") as caught:
        relayed.get_status("K7M3X")

    assert (type(caught.value), caught.value.hint) == (DriveprepError, "h")
