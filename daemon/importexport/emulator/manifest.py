"""What the emulated service asks of a manifest, in the order in which it asks.

Two eras: `classic` is that of the guide page (2010 to 2014), `strict2015` that of its last edition,
which wants a password or PIN and an address for notes, and no accessKeyId.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from daemon.documents import reader
from daemon.documents.nodes import Plain
from daemon.errors import DocumentError
from daemon.importexport.emulator.xml import Refusal
from daemon.system.file_systems import FILE_SYSTEMS

Values: TypeAlias = Mapping[str, Plain]

NO_RIGHTS = "denied"  # in place of a bucket's region: it exists, but belongs to another account
_ADDRESS = ("name", "street1", "city", "stateOrProvince", "postalCode", "phoneNumber", "country")
_PO_BOX = re.compile(r"p\.? ?o\.? ?box\b", re.IGNORECASE)
_CUSTOMS = {
    "encryptedData": ("yes", "no"),
    "requiresExportLicense": ("yes", "no"),
    "deviceType": ("externalStorageDevice", "usbFlashDrive", "sataDrive"),
    "typeOfExport": ("return", "permanent", "temporary"),
}


@dataclass(frozen=True, slots=True)
class ManifestRules:
    """The rules of an era; `buckets` maps each known bucket to its region, None knows every one."""

    era: str = "classic"
    buckets: Mapping[str, str] | None = None

    def check(self, text: str, job_type: str, access_key_id: str) -> Values:
        """The manifest's values. Raises Refusal for the first fault."""
        manifest = self.read(text)
        is_export = job_type == "Export"
        self._check_presence(manifest, is_export=is_export)
        if self.era == "classic" and manifest["accessKeyId"] != access_key_id:
            message = "The accessKeyId of your manifest is not the one that signed the request"
            raise Refusal("InvalidAccessKeyIdException", message)
        if is_export and manifest["fileSystem"] not in tuple(FILE_SYSTEMS):  # it need not be a text
            raise Refusal("InvalidFileSystemException", "fileSystem must be NTFS or EXT4")
        _check_values(manifest)
        self._check_buckets(manifest)
        if len(log_key(manifest, "XXXXX").encode()) > 1024:
            _invalid("logPrefix makes a log key of more than 1024 bytes")
        return manifest

    def read(self, text: str) -> Values:
        """The manifest's values, unchecked. Raises Refusal when there are none."""
        try:
            return reader.read(text.encode(), "manifest", guide_spelling=True).plain()
        except DocumentError as error:
            message = "Your manifest is not well-formed"  # the live service's exact words
            raise Refusal("MalformedManifestException", message) from error

    def _check_presence(self, manifest: Values, *, is_export: bool) -> None:
        wanted = ["manifestVersion", "deviceId", "returnAddress"]
        wanted += ["fileSystem", "logBucket", "operations"] if is_export else ["eraseDevice"]
        wanted += ["accessKeyId"] if self.era == "classic" else ["notificationEmail"]
        for name in wanted:
            if not manifest.get(name):
                _missing(name)
        if self.era != "classic" and not (
            manifest.get("trueCryptPassword") or manifest.get("pinCode")
        ):
            _missing("trueCryptPassword or pinCode")
        address = _mapping(manifest["returnAddress"], "InvalidAddressException", "returnAddress")
        for name in _ADDRESS:
            if not address.get(name):
                _missing(f"returnAddress.{name}")
        for number, operation in enumerate(_operations(manifest)):
            if is_export and not operation.get("exportBucket"):
                _missing(f"operations[{number}].exportBucket")

    def _check_buckets(self, manifest: Values) -> None:
        if self.buckets is None:
            return
        names = dict.fromkeys(_buckets(manifest))
        for name in names:
            if name not in self.buckets:
                raise Refusal("NoSuchBucketException", f"No such bucket {name}")
        for name in names:
            if self.buckets[name] == NO_RIGHTS:
                raise Refusal("BucketPermissionException", f"No permission for bucket {name}")
        if len({self.buckets[name] for name in names}) > 1:
            raise Refusal("MultipleRegionsException", "Your buckets are in more than one region")


def log_key(manifest: Values, job_id: str) -> str:
    """Where the service will put the job's log."""
    return f"{manifest.get('logPrefix', '')}export-log-{job_id}"


def warning(manifest: Values) -> str | None:
    """What the service adds to its yes."""
    erases = manifest.get("eraseDevice") in ("yes", "true")
    return "**** Device will be erased before being returned. ****" if erases else None


def _check_values(manifest: Values) -> None:
    address = _mapping(manifest["returnAddress"], "InvalidAddressException", "returnAddress")
    if any(_PO_BOX.search(str(value)) for value in address.values()):
        raise Refusal("InvalidAddressException", "returnAddress must be a street, not a PO box")
    if "customs" in manifest:
        customs = _mapping(manifest["customs"], "InvalidCustomsException", "customs")
        for name, allowed in _CUSTOMS.items():
            if name in customs and customs[name] not in allowed:
                message = f"customs.{name} must be one of {', '.join(allowed)}"
                raise Refusal("InvalidCustomsException", message)
    if not re.fullmatch(r"\d+\.\d+", str(manifest["manifestVersion"])):
        _invalid("manifestVersion must be a number such as 2.0")
    if manifest.get("serviceLevel", "standard") not in ("standard", "expeditedShipping"):
        _invalid("serviceLevel must be standard or expeditedShipping")


def _buckets(manifest: Values) -> Iterator[str]:
    for place in (manifest, *_operations(manifest)):
        for name in ("logBucket", "bucket", "exportBucket"):
            if value := place.get(name):
                yield str(value)


def _operations(manifest: Values) -> list[Values]:
    operations = manifest.get("operations") or []
    if not isinstance(operations, list):
        _invalid("operations must be a list")
    code = "InvalidManifestFieldException"
    return [_mapping(each, code, "each of operations") for each in operations]


def _mapping(value: Plain, code: str, name: str) -> Values:
    if not isinstance(value, dict):
        raise Refusal(code, f"{name} must hold names and values")
    return value


def _missing(name: str) -> NoReturn:
    raise Refusal("MissingManifestFieldException", f"{name} must be specified")


def _invalid(message: str) -> NoReturn:
    raise Refusal("InvalidManifestFieldException", message)
