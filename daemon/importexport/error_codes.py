"""The service's error codes: which error each one is, and who has to act.

The codes are those of the guide's table of errors and of AWS's common query errors. A code counts
with and without the ending `Exception`, because the guide uses both.
"""

from __future__ import annotations

import re

from daemon.errors import (
    ClockRefusedError,
    CredentialsRefusedError,
    JobRefusedError,
    ManifestRefusedError,
    RefusedError,
    RequestRefusedError,
    TryLaterError,
)

_MESSAGE_LIMIT = 300  # characters: a sentence, but not a long quotation of the request

_SECRET = re.compile("trueCryptPassword|pinCode", re.IGNORECASE)  # keys of the manifest

_DEVELOPERS = (
    "The request itself is wrong: report it to the developers of driveprep, with the code."
)
_ANOTHER_JOB = "make a new job for this drive"
_AGAIN = "No action is needed: driveprep tries again later."

_TABLE: dict[str, tuple[type[RefusedError], str]] = {
    # the person who dropped the manifest
    "MalformedManifest": (ManifestRefusedError, "Correct the manifest's YAML and drop it again."),
    "MissingManifestField": (ManifestRefusedError, "Add the field to the manifest."),
    "InvalidManifestField": (ManifestRefusedError, "Correct the field in the manifest."),
    "InvalidFileSystem": (ManifestRefusedError, "Write fileSystem: NTFS (or EXT4)."),
    "InvalidAddress": (ManifestRefusedError, "Correct returnAddress: a street, no PO box."),
    "MissingCustoms": (ManifestRefusedError, "Add customs: the drive crosses a border."),
    "InvalidCustoms": (ManifestRefusedError, "Correct the customs section of the manifest."),
    "NoSuchBucket": (
        ManifestRefusedError,
        "Correct logBucket or exportBucket, or make the bucket.",
    ),
    "BucketPermission": (
        ManifestRefusedError,
        "Name a bucket the account may use, or let its administrator grant the rights.",
    ),
    "MultipleRegions": (ManifestRefusedError, "Name only buckets of one region in a manifest."),
    # the administrator
    "InvalidAccessKeyId": (
        CredentialsRefusedError,
        "Make accessKeyId of the manifest and credentials.access_key_id of config.yml the same.",
    ),
    "InvalidClientTokenId": (
        CredentialsRefusedError,
        "Correct credentials.access_key_id in config.yml: the service does not have this key.",
    ),
    "SignatureDoesNotMatch": (
        CredentialsRefusedError,
        "Correct the secret access key: it does not belong to credentials.access_key_id.",
    ),
    "MissingAuthenticationToken": (CredentialsRefusedError, "Set credentials in config.yml."),
    "ExpiredToken": (CredentialsRefusedError, "Renew credentials.session_token: it has expired."),
    "OptInRequired": (CredentialsRefusedError, "Sign the account up for AWS Import/Export."),
    "AccessDenied": (
        CredentialsRefusedError,
        "Grant the key the importexport: actions on every resource (IAM).",
    ),
    "RequestExpired": (
        ClockRefusedError,
        "Set this machine's clock (see timedatectl): it is over 15 minutes off the service's.",
    ),
    # the person who named that JobId
    "InvalidJobId": (
        JobRefusedError,
        "Check the JobId and the account: the service has no such job.",
    ),
    "ExpiredJobId": (JobRefusedError, f"The job is over 30 days old and gone: {_ANOTHER_JOB}."),
    "CanceledJobId": (JobRefusedError, f"The job was canceled: {_ANOTHER_JOB}."),
    "UnableToCancelJobId": (
        JobRefusedError,
        "The job has progressed too far to be canceled: wait until it ends.",
    ),
    "UnableToUpdateJobId": (JobRefusedError, "The job has started and keeps its manifest."),
    # the developers
    "MissingParameter": (RequestRefusedError, _DEVELOPERS),
    "InvalidParameter": (RequestRefusedError, _DEVELOPERS),
    "InvalidVersion": (RequestRefusedError, _DEVELOPERS),
    "InvalidAction": (RequestRefusedError, _DEVELOPERS),
    "MissingAction": (RequestRefusedError, _DEVELOPERS),
    "IncompleteSignature": (RequestRefusedError, _DEVELOPERS),
    "MalformedQueryString": (RequestRefusedError, _DEVELOPERS),
    # no one
    "CreateJobQuotaExceeded": (
        TryLaterError,
        "The account has reached its daily job limit. driveprep retries; it resets tomorrow.",
    ),
    "Throttling": (TryLaterError, _AGAIN),
    "Throttled": (TryLaterError, _AGAIN),
    "RequestThrottled": (TryLaterError, _AGAIN),
    "RequestLimitExceeded": (TryLaterError, _AGAIN),
    "ServiceUnavailable": (TryLaterError, _AGAIN),
}
_VARIANTS = {  # other codes for the same
    "InvalidAccessId": "InvalidAccessKeyId",  # the guide's own spelling
    "RequestTimeTooSkewed": "RequestExpired",  # as used by services related to S3
}


def refusal(operation: str, code: str, message: str) -> RefusedError:
    """Return the error for the service's `code`; RequestRefusedError for an unknown one.

    Only the first line of the service's message is kept: AWS quotes whole requests in further
    lines (for SignatureDoesNotMatch), and a request can contain a manifest's password. A line
    that names such a key is not shown either.
    """
    word = code.removesuffix("Exception")
    kind, hint = _TABLE.get(
        _VARIANTS.get(word, word),
        (RequestRefusedError, "Look up the code in the service's guide, or ask its operators."),
    )
    said = one_line(message)
    if _SECRET.search(said):
        said = "the message may contain a secret of the manifest and is not shown"
    return kind(f"{operation} refused: {one_line(code)}{said and f': {said}'}", hint, code)


def one_line(text: str) -> str:
    """Return the first line of an untrusted text, made fit for a sentence."""
    first = text.strip().partition("\n")[0]
    printable = "".join(letter if letter.isprintable() else " " for letter in first)
    return printable.strip()[:_MESSAGE_LIMIT]
