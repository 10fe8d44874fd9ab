"""`pool:` of config.yml: the database that several stations share."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from daemon.documents.fields import Fields

KEYS = ("address", "password_file")
SCHEMES = frozenset({"postgresql", "postgres"})
SERVICE = "service="
VERIFIED = "verify-full"
# What a URL may set besides; nothing of it is a secret or weakens the connection.
ALLOWED = frozenset({
    "host", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile",
    "target_session_attrs",
})  # fmt: skip
EXAMPLE = "write postgresql:///driveprep, postgresql://host/driveprep or service=NAME"


@dataclass(frozen=True, slots=True)
class Pool:
    """The settings of the pool, checked."""

    address: str = ""  # a URL or service=NAME, without a password; "": this station is alone
    password_file: str = ""  # "": PGPASSFILE, ~/.pgpass, a certificate, or the socket's peer


def read(group: Fields) -> Pool:
    """Return the settings; what is wrong is recorded as a fault. No address is ever quoted."""
    address = group.text("address") or ""
    if not address:
        group.lack("has no address", EXAMPLE)
    elif not address.startswith(SERVICE):
        address = _checked(group, address)
    password_file = group.text("password_file") or ""
    if password_file and not password_file.startswith("/"):
        group.fault("password_file", "is not an absolute path", "start it with /")
    return Pool(address, password_file)


def _checked(group: Fields, address: str) -> str:
    """Return the URL, with verified TLS unless it leads to a socket of this machine."""
    try:
        url, options = urlsplit(address), parse_qs(urlsplit(address).query, strict_parsing=False)
        host = (options.get("host") or [url.hostname or ""])[0]
    except ValueError:
        group.fault("address", "is not a URL", EXAMPLE)
        return ""
    if url.scheme not in SCHEMES:
        group.fault("address", "is not the URL of a PostgreSQL database", EXAMPLE)
    elif url.password or "password" in options:
        group.fault(
            "address",
            "has a password, which every reader of this file would see",
            "write it to a file that the service alone can read, and name that as password_file",
        )
    elif unknown := sorted(options.keys() - ALLOWED):
        group.fault("address", f"sets {unknown[0]}", f"it may set {', '.join(sorted(ALLOWED))}")
    elif host and not host.startswith("/"):
        return _encrypted(group, address, options)
    return address


def _encrypted(group: Fields, address: str, options: dict[str, list[str]]) -> str:
    if options.get("sslmode", [VERIFIED]) != [VERIFIED]:
        group.fault(
            "address",
            "does not verify the server that it speaks to",
            f"leave out sslmode: it is {VERIFIED}",
        )
    if "sslmode" in options:
        return address
    return f"{address}{'&' if options else '?'}sslmode={VERIFIED}"
