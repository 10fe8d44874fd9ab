"""Which certificate authorities are trusted: those of curl and of Python's ssl on this machine."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

# The first that is set counts, as in requests, curl and OpenSSL. A file or a folder (c_rehash(1)).
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# update-ca-certificates(8): with the authorities that the administrator has added.
DEBIAN = Path("/etc/ssl/certs/ca-certificates.crt")


def authorities(ca_bundle: str, environment: Mapping[str, str]) -> str | bool:
    """Return the file or folder of the trusted authorities, as requests takes it for `verify`.

    In this order: `ca_bundle` of config.yml, the environment, the machine's own store. True means
    the ones that come with requests, where the machine has none.
    """
    named = (environment.get(name) for name in VARIABLES)
    if chosen := ca_bundle or next(filter(None, named), ""):
        return chosen
    machine = (ssl.get_default_verify_paths().cafile, DEBIAN)
    return next((str(file) for file in machine if file and Path(file).is_file()), True)
