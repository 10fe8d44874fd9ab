"""Is this the same drive, or nearly the name of one? Rules over texts; nothing is opened.

A resemblance is shown to a person. It never counts as a match.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from daemon.drives.drive import Volume
from daemon.system.printable import printable

# What must agree for two scans to show one drive, as far as both know it.
DRIVE_KEYS = ("serial", "wwn", "partuuid", "uuid")
# Of these, what another USB bridge reports differently for the same drive.
BRIDGE_KEYS = frozenset({"serial", "wwn"})
QUOTES = "\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb"
DASHES = re.compile("[\u2010-\u2015\u2212]")  # hyphens, en dash, em dash, minus
HEX = re.compile(r"(?:[0-9a-f]{2}){4,}")

Identities = Mapping[str, str | int | None]


def compare(then: Identities, now: Identities) -> tuple[list[str], list[str]]:
    """Return the keys that agree and those that differ, of those that both have."""
    both = [key for key in DRIVE_KEYS if then.get(key) and now.get(key)]
    differing = [key for key in both if then[key] != now[key]]
    return [key for key in both if key not in differing], differing


def nearly(device_id: str, volumes: Iterable[Volume]) -> list[tuple[Volume, str]]:
    """Return the volumes whose label or serial nearly is `device_id`, with the line for config.yml.

    Such as a serial as on the sticker, as hexadecimal ASCII, or in another case, and a label with
    spaces, quotes, invisible characters or another kind of dash.
    """
    wanted = _forms(device_id)
    found = []
    for one in volumes:
        for key, value in (("serial", one.identity.serial), ("label", one.identity.label)):
            if value and value != device_id and wanted & _forms_of_drive(value):
                line = f"{_quoted(device_id)}: {{{key}: {_quoted(value)}}}"
                found.append((one, printable(line)))
                break
    return found


class Spellings:
    """deviceIds by the spellings that are taken for the same."""

    def __init__(self) -> None:
        self._by_form: dict[str, tuple[str, ...]] = {}

    def add(self, device_id: str) -> None:
        """Add a deviceId. Idempotent."""
        self.discard(device_id)
        for form in _forms(device_id):
            self._by_form[form] = (*self._by_form.get(form, ()), device_id)

    def discard(self, device_id: str) -> None:
        """Remove a deviceId. Safe to repeat."""
        for form in _forms(device_id) & self._by_form.keys():
            others = tuple(one for one in self._by_form[form] if one != device_id)
            if others:
                self._by_form[form] = others
            else:
                del self._by_form[form]

    def similar(self, names: Iterable[str]) -> set[str]:
        """Return the deviceIds that nearly are one of the `names`, labels or serials of drives."""
        return {
            one for name in names for form in _forms(name) for one in self._by_form.get(form, ())
        }


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@lru_cache(maxsize=256)  # each job that waits is compared with the same drives
def _forms_of_drive(text: str) -> set[str]:
    return _forms(text)


def _forms(text: str) -> set[str]:
    """Return the spellings that are taken for the same."""
    plain = text.casefold()
    if not text.isascii():
        plain = unicodedata.normalize("NFKC", DASHES.sub("-", text)).casefold()
        plain = "".join(one for one in plain if unicodedata.category(one) != "Cf")
    plain = plain.strip().strip(QUOTES).strip()
    forms = {plain, plain.removeprefix("wd-")}
    if HEX.fullmatch(plain):
        decoded = bytes.fromhex(plain).decode("ascii", "replace").strip().casefold()
        forms |= {decoded, decoded.removeprefix("wd-")}
    return forms - {""}
