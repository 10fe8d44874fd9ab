"""The rules of export manifests (2010-06-01), and the text that goes to the service.

Values are texts and stay as they were dropped. There is a warning where the service's own parser
may read another value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from daemon.documents import reader
from daemon.documents.fields import Fields, Findings
from daemon.documents.nodes import Mapping, walk
from daemon.documents.text import LINE_END, refusal
from daemon.errors import DocumentError, Fault, ManifestError
from daemon.manifest import access_key, values
from daemon.system.file_systems import FILE_SYSTEMS

SERVICE_LEVELS = ("standard", "expeditedShipping")
MAX_DEVICE_ID = 255  # ours: it becomes a file name; the service documents no limit
MAX_LOG_KEY_BYTES = 1024  # S3's; the key is logPrefix, "export-log-" and the JobId
JOB_ID_LENGTH = 5  # of every JobId ever shown

# fmt: off
_ADDRESS = (
    "name", "street1", "city", "stateOrProvince", "postalCode", "phoneNumber", "country",
)
_ADDRESS_MORE = ("company", "street2", "street3")
_OPERATION = ("exportBucket", "prefix", "beginMarker", "endMarker", "targetDirectory")
_TEXTS = (
    "accessKeyId", "deviceId", "fileSystem", "logBucket", "logPrefix", "targetDirectory",
    "recoveryDirectory", "notificationEmail", "trueCryptPassword", "pinCode", "generator",
)
_VALUES = (*_TEXTS, "manifestVersion", "serviceLevel")
_TOP = (*_VALUES, "operations", "returnAddress", "customs")
_CUSTOMS = (
    "dataDescription", "encryptedData", "encryptionClassification", "exportCertifierName",
    "requiresExportLicense", "deviceValue", "deviceCountryOfOrigin", "deviceType", "deviceHTS",
    "typeOfExport",
)
_IMPORT_ONLY = frozenset({
    "eraseDevice", "bucket", "prefix", "acl", "contentTypes", "ignore", "substitutions",
})
# fmt: on
_FREE_TEXT = frozenset({*_TEXTS, *_ADDRESS, *_ADDRESS_MORE, *_OPERATION})


@dataclass(frozen=True, slots=True)
class Manifest:
    """An export manifest that breaks none of the rules known here."""

    name: str
    data: bytes = field(repr=False)  # as dropped; it may hold trueCryptPassword or pinCode
    device_id: str
    file_system: str  # NTFS or EXT4
    access_key_id: str | None  # None: the file has none, `to_send` adds it
    return_address: dict[str, str] = field(repr=False)
    notification_email: str | None = field(default=None, repr=False)
    warnings: tuple[Fault, ...] = ()
    root: Mapping = field(default=Mapping((), 1, 1), repr=False, compare=False)  # `data` as read


def read(data: bytes, name: str) -> Manifest:
    """Return the manifest in `data`; faults call the file `name`.

    Raises ManifestError with all faults at once, in the order of the text, and nothing else.
    """
    root = _root(data, name)
    findings, entries = Findings(name), walk(root)
    values.refuse_other_kind(findings, entries)
    top = Fields(root, _TOP, findings)
    manifest = Manifest(
        name=name,
        data=data,
        device_id=_device_id(top),
        file_system=top.choice("fileSystem", top.require("fileSystem"), FILE_SYSTEMS),
        access_key_id=top.text("accessKeyId"),
        return_address=_return_address(top),
        notification_email=top.text("notificationEmail"),
        root=root,
    )
    _check_the_rest(top)
    if not top.has("accessKeyId") and access_key.added(data, root, "AKIAIOSFODNN7EXAMPLE") is None:
        findings.fault(root, "accessKeyId", "is missing", "add a line `accessKeyId: ...`")
    if findings.faults:
        raise refusal(findings.faults, ManifestError)
    values.warn(findings, entries, _FREE_TEXT)
    return replace(manifest, warnings=findings.ordered_warnings())


def is_known(path: str) -> bool:
    """Return whether a dotted key is one of a value in export manifests."""
    group, _, key = path.rpartition(".")
    if re.fullmatch(r"operations\[[0-9]+\]", group):
        return key in _OPERATION
    groups = {"": _VALUES, "returnAddress": (*_ADDRESS, *_ADDRESS_MORE), "customs": _CUSTOMS}
    return key in groups.get(group, ())


def to_send(manifest: Manifest, access_key_id: str) -> str:
    """Return the text for the service: as dropped, a missing accessKeyId added as one line."""
    if manifest.access_key_id is not None:
        return manifest.data.decode()
    text = access_key.added(manifest.data, manifest.root, access_key_id)
    if text is None:  # `read` has tried it with another key
        message = f"{manifest.name}: accessKeyId is missing and cannot be added"
        raise ManifestError(message, hint="write it into the manifest")
    return text


def is_same(sent: str, current: str) -> bool:
    """Return whether the service's CurrentManifest is the text that was sent.

    Line ends, a byte order mark and surrounding white space do not count: XML changes them.
    """
    return _bare(sent) == _bare(current)


def says_the_same(dropped: bytes, current: str) -> bool:
    """Return whether the service's CurrentManifest has the keys and values of a dropped one.

    An accessKeyId that was added when it was sent does not count.
    """
    if is_same(dropped.decode("utf-8", "replace"), current):
        return True
    try:
        ours = reader.read(dropped, "", guide_spelling=True).plain()
        theirs = reader.read(current.encode(), "", guide_spelling=True).plain()
    except DocumentError:
        return False
    return ours == {key: theirs[key] for key in theirs if key != "accessKeyId" or key in ours}


def _bare(text: str) -> str:
    return LINE_END.sub("\n", text.removeprefix("\ufeff")).strip()


def _root(data: bytes, name: str) -> Mapping:
    try:
        return reader.read(data, name, guide_spelling=True)
    except DocumentError as error:
        raise ManifestError(str(error), error.faults, error.hint) from error


def _device_id(top: Fields) -> str:
    device_id = top.require("deviceId")
    if device_id != device_id.strip() or (device_id and not device_id.isprintable()):
        problem = "has line breaks, invisible characters, or leading or trailing spaces"
        top.fault("deviceId", problem, "write the drive's name in one line")
    if len(device_id) > MAX_DEVICE_ID:
        problem = f"has {len(device_id)} characters"
        top.fault("deviceId", problem, f"write at most {MAX_DEVICE_ID}")
    return device_id


def _return_address(top: Fields) -> dict[str, str]:
    top.must_have("returnAddress", f"add the group with {', '.join(_ADDRESS)}")
    address = top.group("returnAddress", (*_ADDRESS, *_ADDRESS_MORE))
    if address is None:
        return {}
    _warn_of_unknown(address)
    required = {key: address.require(key) for key in _ADDRESS}
    others = {key: address.optional(key) for key in address.names if key not in required}
    return required | {key: text for key, text in others.items() if text is not None}


def _check_the_rest(top: Fields) -> None:
    top.require("manifestVersion")
    values.check_bucket(top, "logBucket")
    for key in _TEXTS:
        top.optional(key)
    top.choice("serviceLevel", top.optional("serviceLevel"), SERVICE_LEVELS)
    log_prefix = top.optional("logPrefix") or ""
    if len(log_prefix.encode()) + len("export-log-") + JOB_ID_LENGTH > MAX_LOG_KEY_BYTES:
        problem = f"makes the key of the log longer than {MAX_LOG_KEY_BYTES} bytes"
        top.fault("logPrefix", problem, "write a shorter one")
    _check_operations(top)
    _warn_of_unknown(top)
    if customs := top.group("customs", _CUSTOMS):
        _warn_of_unknown(customs)


def _check_operations(top: Fields) -> None:
    top.must_have("operations", "add `operations:` and below it `  - exportBucket: ...`")
    for operation in top.groups("operations", _OPERATION):
        values.check_bucket(operation, "exportBucket")
        for key in _OPERATION:
            operation.optional(key)
        _warn_of_unknown(operation)


def _warn_of_unknown(fields: Fields) -> None:
    """Unknown keys are not faults: the service may have more keys than are known here."""
    for key, path, remedy in fields.unknown():
        if path in _IMPORT_ONLY:
            fields.findings.warn(key, path, "is a key of import jobs", "delete it")
        else:
            fields.findings.warn(key, path, "is not a known key of export manifests", remedy)
