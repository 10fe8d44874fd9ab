"""Who may call the emulated service: Signature Version 2, verified."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.importexport.authentication import DIGESTS, sign
from daemon.importexport.emulator.xml import Refusal
from daemon.importexport.response import read_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.importexport.credentials import Credentials

_WINDOW_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came in, its parameters decoded."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] = field(repr=False)
    authorization: str = field(default="", repr=False)  # the header of that name

    @property
    def parameters(self) -> dict[str, str]:
        """Those of the URL and those of the body."""
        return {**self.query, **self.form}

    @property
    def operation(self) -> str:
        """`Action`, or `Operation` as the clients of 2010 had it; the body counts first."""
        names = ("Action", "Operation")
        found = (source.get(name) for source in (self.form, self.query) for name in names)
        return next(filter(None, found), "")


def authenticated(call: Call, accounts: Mapping[str, Credentials], now: float) -> Credentials:
    """The account that signed the call. Raises Refusal for the first thing amiss."""
    parameters = call.parameters
    if "AWS4-HMAC" in call.authorization + parameters.get("X-Amz-Algorithm", ""):
        message = "Signature Version 4 is not spoken here: sign with SignatureVersion 2"
        raise Refusal("IncompleteSignature", message)
    if "AWSAccessKeyId" not in parameters and "Signature" not in parameters:
        raise Refusal("MissingAuthenticationToken", "The request is not signed", 403)
    account = accounts.get(parameters.get("AWSAccessKeyId", ""))
    if account is None or parameters.get("SecurityToken") != (account.session_token or None):
        message = "The AWS Access Key Id you provided does not exist in our records"
        raise Refusal("InvalidClientTokenIdException", message, 403)
    _check_completeness(parameters)
    _check_time(parameters, now)
    expected = sign(
        account.secret_access_key,
        call.method,
        call.host,
        call.path,
        parameters.items(),
        signature_method=parameters["SignatureMethod"],
    )
    if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode()):
        message = "The request signature we calculated does not match the one you provided"
        raise Refusal("SignatureDoesNotMatch", message, 403)
    return account


def _check_completeness(parameters: Mapping[str, str]) -> None:
    problem = ""
    if not parameters.get("Signature"):
        problem = "Signature is missing"
    elif parameters.get("SignatureVersion") != "2":
        problem = "SignatureVersion must be 2"
    elif parameters.get("SignatureMethod") not in DIGESTS:
        problem = "SignatureMethod must be HmacSHA256 or HmacSHA1"
    elif ("Timestamp" in parameters) == ("Expires" in parameters):
        problem = "There must be a Timestamp or an Expires, and not both"
    if problem:
        raise Refusal("IncompleteSignature", problem)


def _check_time(parameters: Mapping[str, str], now: float) -> None:
    name = "Timestamp" if "Timestamp" in parameters else "Expires"
    try:
        late = now - read_time(parameters[name])
    except ValueError:
        raise Refusal("InvalidParameterValue", f"{name} must be in ISO 8601 form") from None
    # Expires may lie in the future by any time: that is what it is for.
    if late > _WINDOW_SECONDS or (name == "Timestamp" and late < -_WINDOW_SECONDS):
        raise Refusal("RequestExpired", f"{name} is more than 15 minutes from the service's time")
