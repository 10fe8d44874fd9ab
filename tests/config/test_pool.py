"""`pool:` of config.yml."""

import pytest

from daemon.config import pool
from daemon.documents import reader
from daemon.documents.fields import Fields, Findings


def read(text):
    """The settings, and the faults of a group."""
    findings = Findings("config.yml")
    root = reader.read(text.encode(), "config.yml")
    return pool.read(Fields(root, pool.KEYS, findings)), [str(one) for one in findings.faults]


@pytest.mark.parametrize(
    ("address", "used"),
    [
        ("postgresql:///driveprep", ""),
        ("postgresql:///driveprep?host=/run/postgresql", ""),
        ("service=driveprep", ""),
        ("postgresql://db/driveprep", "?sslmode=verify-full"),
        ("postgres://bench@db:5433/driveprep?dbname=x", "&sslmode=verify-full"),
        ("postgresql://127.0.0.1/driveprep?sslmode=verify-full", ""),
    ],
)
def test_a_server_is_verified_unless_it_is_a_local_socket(address, used):
    """Also one on loopback: another user can listen there."""
    found, faults = read(f"address: {address}\n")

    assert (found.address, faults) == (address + used, [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("address: postgresql://u:hunter2@db/x", "has a password"),
        ("address: postgresql://db/x?password=hunter2", "has a password"),
        ("address: postgresql://db/x?sslmode=require", "does not verify"),
        ("address: postgresql://db/x?options=-cfoo", "sets options"),
        ("address: mysql://hunter2@db/x", "is not the URL of a PostgreSQL database"),
        ("password_file: /x", "has no address"),
        ("address: postgresql:///x\npassword_file: hunter2", "is not an absolute path"),
    ],
)
def test_a_fault_never_quotes_what_may_be_secret(text, words):
    """It names the place and the remedy."""
    _, (fault,) = read(text + "\n")

    assert words in fault
    assert "hunter2" not in fault
