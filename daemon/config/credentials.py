"""Where the account's key pair is found: as config.yml says, or where systemd or AWS put it.

A secret is kept out of every message. A file that every user of the machine can read is refused.
"""

from __future__ import annotations

import configparser
import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from daemon.documents.fields import Fields
from daemon.documents.redaction import shown
from daemon.documents.text import MAX_BYTES, named
from daemon.errors import ConfigError
from daemon.importexport.credentials import Credentials

KEYS = (
    "access_key_id", "secret_access_key", "secret_access_key_file", "session_token", "profile",
)  # fmt: skip
_ACCOUNT = "driveprep"  # the user and group of the installed service
NOWHERE = (
    "add secret_access_key_file, secret_access_key or profile, or set AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY"
)


def find(fields: Fields, folder: Path, environment: Mapping[str, str]) -> Credentials:
    """Return the key pair that the group `credentials` names; paths are relative to `folder`.

    Without a secret in the group, systemd's credentials are used, then the environment. Raises
    ConfigError if a named place has none; faults of the group itself go to its findings.
    """
    given = {key: text for key in KEYS if (text := fields.text(key)) is not None}
    _refuse_contradictions(fields, given)
    if profile := given.get("profile"):
        found = _from_profile(profile, environment)
        warn_if_shared(fields, "profile", _profiles(environment))
        return found
    access_key_id, session_token = given.get("access_key_id"), given.get("session_token")
    if secret := given.get("secret_access_key"):
        return Credentials(access_key_id or "", secret, session_token)  # "": a fault is recorded
    if secret_file := given.get("secret_access_key_file"):
        secret = read_secret(folder / secret_file)
        warn_if_shared(fields, "secret_access_key_file", folder / secret_file)
        return Credentials(access_key_id or "", secret, session_token)
    systemd = _from_systemd(access_key_id, session_token, environment)
    return systemd or _from_environment(access_key_id, session_token, environment)


def files(given: Mapping[str, object], folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """Return the files in which `find` searches for a secret. They and `given` may be faulty."""
    if given.get("profile"):
        return [_profiles(environment)]
    secret_file = given.get("secret_access_key_file")
    return [folder / secret_file] if secret_file and isinstance(secret_file, str) else []


def read_secret(path: Path) -> str:
    """Return the only line of a file, without its end. Raises ConfigError for anything else."""
    text = read_private(path)
    for column, character in enumerate(text.rstrip("\r\n"), 1):
        if not character.isascii():  # a key of AWS is ASCII
            problem = f"{path}:1:{column}: contains {named(character)}"
            raise ConfigError(problem, hint="delete it, and save the file as plain text")
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0].strip() or lines[0] != lines[0].strip():
        found = "is empty" if not any(lines) else "has several lines, or spaces around the secret"
        raise ConfigError(f"{path} {found}", hint="write the secret into it as its only line")
    return lines[0]


def read_private(path: Path) -> str:
    """Return the text of a file that other users cannot read. Raises ConfigError."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(
                    f"{path} is not a regular file", hint="name the file with the secret"
                )
            refuse_if_open_to_all(path, status.st_mode)
            return file.read(MAX_BYTES).decode()
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", hint="create it, mode 0600") from error
    except OSError as error:
        hint = f"only the service may read it: chown {_ACCOUNT}: {path} && chmod 600 {path}"
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError:  # it would show the secret
        raise ConfigError(f"{path} is not a UTF-8 text", hint="save it as plain text") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # do not wait for the writer of a pipe


def refuse_if_open_to_all(path: Path, mode: int) -> None:
    """Raise ConfigError if the mode gives every user of the machine access to the file."""
    if mode & 0o007:
        problem = (
            f"{path} contains a secret and is accessible to every user (mode {mode & 0o777:04o})"
        )
        raise ConfigError(problem, hint=f"chmod o= {path}")


def warn_if_shared(fields: Fields, key: str, path: Path) -> None:
    """Warn of a file with a secret that other users can read by their group, such as operators."""
    status = path.stat()
    if status.st_mode & 0o040 and (group := _shared(status)):
        problem = f"{path} can be read by every member of the group {group}"
        owner = _ACCOUNT if group == _ACCOUNT else "OWNER"
        remedy = f"keep the secret in a file of its own: chown {owner}: FILE && chmod 600 FILE"
        fields.warn(key, problem, remedy)


def _shared(status: os.stat_result) -> str:
    """Return the name of a file's group, unless its only members are root and the file's owner."""
    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid).pw_name
    except KeyError:  # a number without a name has members nowhere
        return ""
    is_private = group.gr_name == owner and not set(group.gr_mem) - {owner}
    return "" if status.st_gid == 0 or is_private else group.gr_name


def _refuse_contradictions(fields: Fields, given: Mapping[str, str]) -> None:
    if "profile" in given and len(given) > 1:
        fields.fault(
            "profile", "cannot be combined with other keys", "keep only profile, or remove it"
        )
    if "secret_access_key" in given and "secret_access_key_file" in given:
        problem = "cannot be combined with secret_access_key"
        fields.fault("secret_access_key_file", problem, "keep one of the two")
    has_secret = "secret_access_key" in given or "secret_access_key_file" in given
    if has_secret:
        fields.require("access_key_id")


def _from_profile(profile: str, environment: Mapping[str, str]) -> Credentials:
    path = _profiles(environment)
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_private(path))
    except configparser.Error:  # it would show the secret
        raise ConfigError(
            f"{path} is not an INI file", hint="write it like aws configure does"
        ) from None
    if not parser.has_section(profile):
        known = ", ".join(parser.sections()) or "none"
        message = f"{path} has no profile {shown(profile)}"
        raise ConfigError(message, hint=f"its profiles are: {known}")
    section = parser[profile]
    access_key_id, secret = section.get("aws_access_key_id"), section.get("aws_secret_access_key")
    if not access_key_id or not secret:
        message = f"profile {shown(profile)} in {path} is not complete"
        raise ConfigError(message, hint="add aws_access_key_id and aws_secret_access_key")
    return Credentials(access_key_id, secret, section.get("aws_session_token") or None)


def _profiles(environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME", "/root")
    return Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials")


def _from_systemd(
    access_key_id: str | None, session_token: str | None, environment: Mapping[str, str]
) -> Credentials | None:
    """Return the pair of LoadCredential=aws-secret-access-key, systemd.exec(5), if there is one."""
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory or not Path(directory, "aws-secret-access-key").exists():
        return None
    secret = read_secret(Path(directory, "aws-secret-access-key"))
    name = access_key_id or read_secret(Path(directory, "aws-access-key-id"))
    return Credentials(name, secret, session_token)


def _from_environment(
    access_key_id: str | None, session_token: str | None, environment: Mapping[str, str]
) -> Credentials:
    secret = environment.get("AWS_SECRET_ACCESS_KEY")
    name = environment.get("AWS_ACCESS_KEY_ID") or access_key_id
    if not secret or not name:
        raise ConfigError("no secret access key was found", hint=NOWHERE)
    if access_key_id and access_key_id != name:
        problem = "AWS_ACCESS_KEY_ID and access_key_id differ"
        raise ConfigError(problem, hint="set only one of them")
    token = session_token or environment.get("AWS_SESSION_TOKEN") or None
    return Credentials(name, secret, token)
