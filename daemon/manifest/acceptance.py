"""What makes a good manifest wrong for one account and service: another key, no address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daemon.documents.nodes import Scalar
from daemon.documents.text import refusal
from daemon.errors import NO_ADDRESS, OTHER_ACCOUNT, Fault, ManifestError
from daemon.manifest.rules import Manifest
from daemon.manifest.values import PLACEHOLDERS

ADDRESS = "returnAddress."


@dataclass(frozen=True, slots=True)
class Terms:
    """The account and the service for which manifests are accepted."""

    access_key_id: str  # "" where it is not known: then it is not compared
    is_trial: bool  # the service is on this machine, so no drive is sent anywhere

    def check(self, manifest: Manifest) -> None:
        """Raise ManifestError with all faults: another account's key, an address to be filled in.

        The service would return the drive to the address in the manifest.
        """
        address = () if self.is_trial else filter(is_to_fill_in, manifest.warnings)
        faults = [*self._key(manifest), *address]
        if faults:
            error = refusal(faults)
            code = OTHER_ACCOUNT if faults[0].key == "accessKeyId" else NO_ADDRESS
            raise ManifestError(str(error), error.faults, code=code)

    def _key(self, manifest: Manifest) -> Iterator[Fault]:
        found = manifest.access_key_id
        if not found or not self.access_key_id or found == self.access_key_id:
            return
        for key, value in manifest.root.entries:
            if key.text == "accessKeyId" and isinstance(value, Scalar):
                problem = f"is {found}, but config.yml has {self.access_key_id}"
                remedy = "delete the line: the configured one is then added"
                where = value.line, value.column
                yield Fault(manifest.name, *where, key.text, problem, remedy, value.source)


def is_to_fill_in(warning: Fault) -> bool:
    """Return whether it is of a placeholder in the address to which the drive is returned."""
    return warning.key.startswith(ADDRESS) and warning.problem in PLACEHOLDERS
