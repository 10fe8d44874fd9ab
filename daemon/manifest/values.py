"""Values of a manifest that may not mean what they say: placeholders, bucket names, types."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from daemon.documents.fields import Fields, Findings
from daemon.documents.nodes import Entry, Scalar
from daemon.documents.syntax import PLACEHOLDER, QUOTE_IT, is_typed

GUIDE_PLACEHOLDERS = frozenset({
    "Your Name", "Your Company", "Your Street", "Optional 2nd Line for Street", "Your City",
    "Your State", "Your Postal/Zip Code", "Your Phone Number", "Your Country", "mybucket",
})  # fmt: skip
_GUIDE_SPELLINGS = frozenset(one.lower() for one in GUIDE_PLACEHOLDERS)
OF_GUIDE, OF_TEMPLATE = PLACEHOLDERS = (
    "is the guide's placeholder",
    "looks like a template's placeholder",
)
MARKS = frozenset("[*<{")  # with which a template's placeholder starts
VERSION = "2.0"  # of manifests for S3; 3.0 is for EBS and Glacier
OTHER_KEYS = frozenset({"eraseDevice", "bucket"})  # of import manifests alone
# The present rules of S3 for all regions, and what the older ones allowed in us-east-1.
BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
OLD_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")


def refuse_other_kind(findings: Findings, entries: Iterable[Entry]) -> None:
    """Record a fault, before all others, if this is the manifest of an import job."""
    keys = [entry.key for entry in entries if entry.key]
    if any(key.text == "exportBucket" for key in keys):
        return
    for key in keys:
        if key.text in OTHER_KEYS or key.text.startswith("import"):
            problem = f"is the manifest of an import job ({key.text} on line {key.line})"
            remedy = (
                "write one of an export job: `operations:` and below it `  - exportBucket: ...`"
            )
            findings.fault(Scalar("", 1, 1), "", problem, remedy)
            return


def check_bucket(fields: Fields, key: str) -> None:
    """Require a bucket name; only characters that no bucket ever had are a fault."""
    name = fields.require(key)
    if not name or BUCKET.fullmatch(name):
        return
    if OLD_BUCKET.fullmatch(name):
        remedy = "correct it, unless the bucket is that old"
        fields.warn(key, "is a name that only an old bucket can have", remedy)
    else:
        problem = "is not the name of a bucket"
        fields.fault(key, problem, "write 3 to 63 lower-case letters, digits, dots and hyphens")


def warn(findings: Findings, entries: Iterable[Entry], free_text: Collection[str]) -> None:
    """Warn of what is not a fault but may not arrive as it was meant.

    `free_text` are the keys whose values the service should read as text.
    """
    for entry in entries:
        if isinstance(entry.value, Scalar):
            key = entry.key.text if entry.key else ""
            _warn_of(findings, entry.path, entry.value, is_text=key in free_text)
            if entry.path == "manifestVersion" and entry.value.text != VERSION:
                problem = f"is not {VERSION}, the version of export manifests"
                findings.warn(entry.value, entry.path, problem, f"write {VERSION}")


def _warn_of(findings: Findings, path: str, scalar: Scalar, *, is_text: bool) -> None:
    if scalar.comment:
        problem = "ends before #, since YAML takes the rest of the line as a comment"
        findings.warn(scalar, path, problem, f"if it belongs to the value, {QUOTE_IT}")
    if is_text and scalar.is_plain and scalar.text and is_typed(scalar.text):
        problem = "the service may read this text as another value"
        findings.warn(scalar, path, problem, QUOTE_IT)
    text = scalar.text.strip()
    if " ".join(text.lower().split()) in _GUIDE_SPELLINGS:
        findings.warn(scalar, path, OF_GUIDE, "write your own value")
    elif text[:1] in MARKS and PLACEHOLDER.fullmatch(text):
        findings.warn(scalar, path, OF_TEMPLATE, "write your own value")
