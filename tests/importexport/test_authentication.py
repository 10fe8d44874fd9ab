"""Signature Version 2: the document's vectors, and botocore's signer as the second opinion."""

import hashlib
import time
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests
from botocore.auth import SigV2Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from daemon.importexport.authentication import SignatureVersion2, sign, string_to_sign
from daemon.importexport.credentials import Credentials
from daemon.importexport.endpoint import host_header

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW = 1_308_609_059.0  # 2011-06-20T22:30:59Z
FROZEN = time.gmtime(NOW)
# The vectors were made without the line break that ends the last line of the file.
MANIFEST = (
    (Path(__file__).parents[1] / "data" / "guide-manifest.yml").read_text().removesuffix("\n")
)

COMMON = {
    "AWSAccessKeyId": KEY_ID,
    "Timestamp": "2011-06-20T22:30:59Z",
    "SignatureVersion": "2",
    "SignatureMethod": "HmacSHA256",
    "Version": "2010-06-01",
}
EXPORT = {"JobType": "Export", "Manifest": MANIFEST}
AWS = "importexport.amazonaws.com"
VECTORS = {
    "A": (
        {"Action": "CreateJob", **EXPORT, "ValidateOnly": "false"},
        AWS,
        "9a50ef7c9ab2a162159dab43e097dd45f3188ae17b57c85bd73921a44b121dbb",
        813,
        "c6QUoIpD3d44MxlzXk0GIBcmwiqSbD0lD4W78bUHnY0=",
    ),
    "B": (
        {"Action": "CreateJob", **EXPORT},
        AWS,
        "bc64c0510e843d34f60b288017e08a50b29af4a54446f06fc955079f87efed1b",
        794,
        "IBCJgwKXGV8wGAJ8RCNidKIBkh0pzSoKCWzRS5JM4j8=",
    ),
    "C": (
        {"Operation": "CreateJob", **EXPORT, "ValidateOnly": "true"},
        AWS,
        "297e14a71be56b0c91a981f53ec65c221722632b8ec341d22380a1870ebf6794",
        815,
        "h2oPsZefpNKpdjIMmVyTr/oi7YSWbT1Ne69mv9I9yoY=",
    ),
    "D": (
        {"Action": "GetStatus", "JobId": "ABC12"},
        AWS,
        "2fbf80be5e169f838471196bcd65da07d55130d35f0991642fcc3afd992f106e",
        198,
        "tMu5kwiKrJOjErn+bjsns5EMmpa47e+RmC7LBl40cJE=",
    ),
    "E": (
        {"Action": "GetStatus", "JobId": "ABC12"},
        "127.0.0.1:8080",
        "aa64f8a30a386cefbf5d80a87c1791a8e8fd3b8658bca30526ae293cd7c5cd4e",
        186,
        "O3MpBt2hbMOGyqplGY/tCLwl7G6aQcgQkfDjGt/cSFc=",
    ),
}

vectors = pytest.mark.parametrize(
    ("parameters", "host", "digest", "length", "signature"), VECTORS.values(), ids=VECTORS
)
texts = st.text(st.characters(exclude_categories=["Cs"]))


def signed(url: str, parameters: dict[str, str], token: str | None = None) -> dict[str, str]:
    """The parameters that `requests` would put on the wire for this form."""
    auth = SignatureVersion2(Credentials(KEY_ID, SECRET, token), lambda: NOW)
    request = requests.Request("POST", url, data=parameters, auth=auth).prepare()
    assert request.headers["Content-Length"] == str(len(request.body))
    return dict(parse_qsl(request.body, keep_blank_values=True, strict_parsing=True))


@vectors
def test_string_to_sign(parameters, host, digest, length, signature):
    """The text under the signature is the document's to the byte."""
    text = string_to_sign("POST", host, "/", {**COMMON, **parameters}.items()).encode()

    assert (hashlib.sha256(text).hexdigest(), len(text)) == (digest, length)


@vectors
def test_signed_request(parameters, host, digest, length, signature):
    """A prepared request carries the document's signature and everything that it covers."""
    sent = signed(f"https://{host}/", {"Version": "2010-06-01", **parameters})

    assert sent == {**COMMON, **parameters, "Signature": signature}


def test_sha1():
    """HmacSHA1, as clients of 2010 used it, gives the 28 characters of a 20-byte digest."""
    signature = sign(SECRET, "POST", AWS, "/", COMMON.items(), signature_method="HmacSHA1")

    assert (len(signature), signature[-1]) == (28, "=")


@given(st.dictionaries(texts.filter(bool), texts, max_size=6), texts)
def test_botocore_agrees(parameters, token):
    """Any Unicode in names and values is signed as botocore signs it, token included."""
    ours = signed("https://importexport.amazonaws.com/", parameters | {"Action": "X"}, token)

    theirs = AWSRequest("POST", "https://importexport.amazonaws.com/")
    theirs.data = parameters | {"Action": "X"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.time.gmtime", lambda: FROZEN)
        SigV2Auth(BotocoreCredentials(KEY_ID, SECRET, token)).add_auth(theirs)
    assert ours == theirs.data


def test_session_token_is_signed():
    """Temporary credentials send their token, and it is under the signature."""
    parameters = {"Action": "ListJobs", "Version": "2010-06-01"}

    sent = signed("https://importexport.amazonaws.com/", parameters, "a/token+=")

    assert sent["SecurityToken"] == "a/token+="
    assert (
        sent["Signature"] != signed("https://importexport.amazonaws.com/", parameters)["Signature"]
    )
    assert sent["Signature"] == sign(SECRET, "POST", AWS, "/", sent.items())


def test_query_is_signed_too():
    """Parameters of the URL are under the signature, and stay in the URL."""
    sent = signed("https://importexport.amazonaws.com/?Operation=List%20Jobs", {})

    every = {**sent, "Operation": "List Jobs"}
    assert sent["Signature"] == sign(SECRET, "POST", AWS, "/", every.items())


def test_signed_anew():
    """Signing a request twice replaces the seal: a later attempt has one fresh Timestamp."""
    times = iter([NOW, NOW + 60])
    auth = SignatureVersion2(Credentials(KEY_ID, SECRET), lambda: next(times))
    request = requests.Request("POST", f"https://{AWS}/", data={"Action": "X"}, auth=auth).prepare()

    pairs = parse_qsl(auth(request).body)

    assert len(pairs) == len(dict(pairs)) == 6
    assert dict(pairs)["Timestamp"] == "2011-06-20T22:31:59Z"


def test_blanks_are_percent_encoded():
    """A blank goes over the wire as %20, never as the plus sign of HTML forms."""
    auth = SignatureVersion2(Credentials(KEY_ID, SECRET), lambda: NOW)

    request = requests.Request("POST", f"https://{AWS}/", data={"Manifest": "a b+c"}, auth=auth)

    assert "Manifest=a%20b%2Bc&" in request.prepare().body


@pytest.mark.parametrize(
    ("scheme", "hostname", "port", "expected"),
    [
        ("https", "ImportExport.Amazonaws.COM", None, "importexport.amazonaws.com"),
        ("https", "host", 443, "host"),
        ("http", "host", 80, "host"),
        ("http", "host", 443, "host:443"),
        ("http", "::1", 8080, "[::1]:8080"),
    ],
)
def test_host(scheme, hostname, port, expected):
    """The signed host is in lower case and has a port only where it is not the scheme's own."""
    assert host_header(scheme, hostname, port) == expected


def test_secret_shows_nowhere():
    """Neither the auth nor the request tells the secret key."""
    auth = SignatureVersion2(Credentials(KEY_ID, SECRET), lambda: NOW)
    request = requests.Request("POST", f"https://{AWS}/", data={"Action": "X"}, auth=auth).prepare()

    assert SECRET not in repr(auth) + repr(vars(auth)) + request.body
