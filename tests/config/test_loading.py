"""Settings as the administrator writes them, and where the key pair comes from."""

import dataclasses
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.config import loading
from daemon.errors import ConfigError
from daemon.importexport.credentials import Credentials

EXAMPLE = Path(__file__).parents[2] / "config.example.yml"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env-secret"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder like /etc/driveprep."""
    return tmp_path


def load(
    folder: Path, text: str, environment: dict[str, str] | None = None, mode: int = 0o640
) -> loading.Config:
    """Load a config.yml with that text."""
    path = folder / "config.yml"
    path.write_text(text)
    path.chmod(mode)
    return loading.load(path, ENVIRONMENT if environment is None else environment)


def faults_of(
    folder: Path, text: str, environment: dict[str, str] | None = None, mode: int = 0o640
) -> list[str]:
    """The faults as the administrator reads them, without the path of the file."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environment, mode)
    assert "s3cret" not in f"{caught.value!r}{[f.excerpt() for f in caught.value.faults]}"
    return [str(fault).removeprefix(f"{folder}/config.yml:") for fault in caught.value.faults]


def secret_file(folder: Path, text: str = "s3cret\n", mode: int = 0o640) -> Path:
    """A file that holds a secret."""
    path = folder / "secret-access-key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_bays_are_names_of_ports(folder: Path) -> None:
    """A name has one path or several; a number is a name, too."""
    loaded = load(folder, "bays:\n  bay 1: usb-1\n  2: [usb-2, usb-3]\nonly_bays: true\n")

    assert loaded.bays == {"usb-1": "bay 1", "usb-2": "2", "usb-3": "2"}
    assert loaded.only_bays


def test_bays_that_contradict_each_other(folder: Path) -> None:
    """Each fault has its place."""
    text = "bays:\n  a: usb-1\n  b: [usb-2, usb-1]\n  c: {}\n  d:\n"

    assert faults_of(folder, text) == [
        "3:6: bays.b: has the path of a; name each path once",
        '4:6: bays.c: expected a list of texts; write c: ["/path/of/command", "word"]',
        "5:5: bays.d: is empty; write its value, or delete the line",
    ]
    assert faults_of(folder, "only_bays: true\n") == [
        "1:12: only_bays: no bay has a name; add `bays`, or write only_bays: false"
    ]


def test_defaults_are_those_of_the_design(folder: Path) -> None:
    """Nothing but a comment is a whole configuration, if the environment has the key pair."""
    loaded = load(folder, "devices:\n  # none yet\n")

    assert loaded == loading.Config(
        endpoint="https://importexport.amazonaws.com",
        credentials=Credentials("AKIAENV", "env-secret"),
        spool=Path("/var/lib/driveprep"),
        devices={},
        require_mapping=False,
        validate_on_drop=True,
        settle=None,
        requests=32,
        workers=8,
        timeout=15.0,
        eject=False,
        hooks={},
        station=socket.gethostname(),
    )


@pytest.mark.parametrize("name", ["x" * 65, '"a\\tb"', '"a\\nb"'])
def test_a_station_has_a_short_name(folder: Path, name: str) -> None:
    """It is one word of a receipt and one cell of a list."""
    with pytest.raises(ConfigError) as caught:
        load(folder, f"station: {name}\n")

    assert "station: is not a short name; write at most 64 characters" in str(caught.value)


def test_every_key_is_read(folder: Path) -> None:
    """What is written is what the rooms get."""
    loaded = load(
        folder,
        "endpoint: http://127.0.0.1:8080/\nspool: /srv/exports\ndevices:\n"
        "  HD001: {serial: WD-1, label: '0123'}\n  S/N 2: {uuid: 5E3A}\n"
        "require_mapping: yes\nvalidate_on_drop: off\nsettle: 0.5\nworkers: 2\ntimeout: 30\n"
        "requests: 256\nca_bundle: /dev/null\nstation: Bench 1\neject: True\ndaily_limit: 200\n"
        "hooks:\n  prepared: [/bin/echo, safe to remove]\n",
    )

    assert loaded.endpoint == "http://127.0.0.1:8080/"
    assert loaded.spool == Path("/srv/exports")
    assert loaded.station == "Bench 1"
    assert loaded.devices == {
        "HD001": {"label": "0123", "serial": "WD-1"},
        "S/N 2": {"uuid": "5E3A"},
    }
    assert (loaded.require_mapping, loaded.validate_on_drop, loaded.eject) == (True, False, True)
    assert (loaded.settle, loaded.workers, loaded.timeout) == (0.5, 2, 30.0)
    assert (loaded.requests, loaded.daily_limit) == (256, 200)
    assert loaded.ca_bundle == "/dev/null"
    assert loaded.hooks == {"prepared": ("/bin/echo", "safe to remove")}


def test_all_faults_come_at_once(folder: Path) -> None:
    """Each fault has its line, column, dotted key and remedy, in the order of the text."""
    faults = faults_of(
        folder,
        "endpoint: http://example.com\nworker: 8\nspool: spool\nsettle: 1s\nworkers: 2.5\n"
        "timeout: 0\neject: maybe\nhooks:\n  prepard: [/x]\n  rejected: [x, y]\n"
        "  obstacle: /x\ndevices:\n  A: {label: x}\n  B: {label: x}\n  C: {}\n  D: x\n"
        "  E: {labl: x, uuid: }\nrequire_mapping: [x]\nca_bundle: /nowhere/ca.pem\n",
    )

    assert [fault.split("; ")[0] for fault in faults] == [
        "1:11: endpoint: would send signed requests over the network unencrypted",
        "2:1: worker: is not a known key",
        "3:8: spool: expected an absolute path, got 'spool'",
        "4:9: settle: expected a number from 0 to 3600, got '1s'",
        "5:10: workers: expected a whole number",
        "6:10: timeout: expected a number from 1 to 300, got '0'",
        "7:8: eject: expected true or false, got 'maybe'",
        "9:3: hooks.prepard: is not a known key",
        "10:13: hooks.rejected: expected an absolute path, got 'x'",
        "11:13: hooks.obstacle: expected a list of texts",
        "14:3: devices.B: has the same keys as A",
        "15:3: devices.C: has no keys",
        "16:6: devices.D: expected a group of keys",
        "17:3: devices.E: has no keys",
        "17:7: devices.E.labl: is not a known key",
        "17:22: devices.E.uuid: is empty",
        "18:18: require_mapping: expected a text, got a list",
        "19:12: ca_bundle: /nowhere/ca.pem does not exist",
    ]
    assert faults[1].endswith("did you mean workers?")
    assert faults[7].endswith("did you mean prepared?")


@pytest.mark.parametrize(
    "endpoint",
    ["https://example.com", "https://example.com:8443/x", "http://localhost:1", "http://[::1]:80",
     "http://127.9.9.9"],
)  # fmt: skip
def test_endpoint_is_https_or_on_this_machine(folder: Path, endpoint: str) -> None:
    """Plain http is for loopback addresses."""
    assert load(folder, f"endpoint: {endpoint}\n").endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["http://10.0.0.1", "http://localhost.example.com", "ftp://localhost", "example.com",
     "https://", "https://x:99999", "https://[::1", "https://jo:s3cret@x", "https://x/?a=s",
     "http://127.0.0.1@example.com", "https://x/#a", '"https://exa mple"', "https://exämple"],
)  # fmt: skip
def test_other_endpoints_are_refused(folder: Path, endpoint: str) -> None:
    """What would leak, or is no address, is a fault of endpoint, and a password is not shown."""
    (fault,) = faults_of(folder, f"endpoint: {endpoint}\n")

    assert fault.startswith("1:11: endpoint: ")


def test_syntax_and_duplicates_are_faults(folder: Path) -> None:
    """The faults of the text itself come as ConfigError too."""
    assert faults_of(folder, "spool: /a\nspool: /b\n")[0].startswith("2:1: spool: ")
    assert "space after the colon" in faults_of(folder, "spool: /a\nworkers:8\neject: no\n")[0]


def test_missing_file_says_what_to_do(folder: Path) -> None:
    """Neither a missing file nor a folder in its place is a riddle."""
    with pytest.raises(ConfigError, match="does not exist") as caught:
        loading.load(folder / "config.yml", ENVIRONMENT)
    assert "config.example.yml" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        loading.load(folder, ENVIRONMENT)


def test_secret_file_is_found_beside_the_config(folder: Path) -> None:
    """A relative path is one from the config's folder; the line end is no part of the secret."""
    secret_file(folder)

    loaded = load(
        folder,
        "credentials:\n  access_key_id: AKIA\n  secret_access_key_file: secret-access-key\n"
        "  session_token: token\n",
    )

    assert loaded.credentials == Credentials("AKIA", "s3cret", "token")
    assert "s3cret" not in repr(loaded)
    assert "token" not in repr(loaded)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("s3cret\n", 0o644, "is accessible to every user (mode 0644); chmod o= "),
        ("s3cret\n", 0o642, "is accessible to every user"),
        ("", 0o600, "is empty"),
        ("\n", 0o600, "is empty"),
        ("s3cret\ns3cret\n", 0o600, "has several lines"),
        (" s3cret\n", 0o600, "spaces around the secret"),
        ("\ufeffs3cret\n", 0o600, ":1:1: contains U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        ("s3cret\u200b\n", 0o600, ":1:7: contains U+200B (ZERO WIDTH SPACE)"),
        ("s3\u00a0cret\n", 0o600, ":1:3: contains U+00A0 (NO-BREAK SPACE)"),
    ],
)
def test_unfit_secret_file_is_refused(folder: Path, text: str, mode: int, words: str) -> None:
    """A secret that others can read, or that is not one line, is a fault with its remedy."""
    path = secret_file(folder, text, mode)

    (fault,) = faults_of(
        folder, f"credentials:\n  access_key_id: A\n  secret_access_key_file: {path}\n"
    )

    assert words in fault
    assert str(path) in fault


def test_characters_that_look_right(folder: Path) -> None:
    """They are named with their column, as in a manifest."""
    (fault,) = faults_of(folder, "endpoint: http://127.0.0.1\u200b\n")

    assert fault.startswith("1:27: the character U+200B (ZERO WIDTH SPACE) is invisible")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root's rights")
@pytest.mark.parametrize(
    ("owner", "mode", "is_shared"),
    [
        ("root", 0o640, True),  # as the README once had it: every operator can read it
        ("daemon", 0o640, False),  # the owner's own group, which has no other member
        ("root", 0o600, False),
    ],
)
@pytest.mark.parametrize("is_inline", [False, True])
def test_secret_that_a_group_can_read(
    folder: Path, owner: str, mode: int, is_shared: bool, is_inline: bool
) -> None:
    """It is used, with a warning that names the group and the remedy."""
    path = secret_file(folder)
    text = f"credentials:\n  access_key_id: A\n  secret_access_key_file: {path}\n"
    if is_inline:
        path = folder / "config.yml"
        text = "credentials:\n  access_key_id: A\n  secret_access_key: s3cret\n"
    path.write_text(text if is_inline else "s3cret\n")
    shutil.chown(path, owner, "daemon")
    path.chmod(mode)
    loaded = load(folder, text) if not is_inline else loading.load(path, ENVIRONMENT)

    assert loaded.credentials.secret_access_key == "s3cret"
    told = [str(warning) for warning in loaded.warnings]
    assert len(told) == is_shared
    for one in told:
        assert f"{path} can be read by every member of the group daemon" in one
        assert "chmod 600" in one
        assert "s3cret" not in one


def test_secret_that_is_no_readable_file_is_refused(folder: Path) -> None:
    """A missing file, a folder and a pipe without a writer are told, and nothing hangs."""
    os.mkfifo(folder / "pipe", 0o600)
    for name, words in (
        ("none", "does not exist"),
        (".", "Is a directory"),
        ("pipe", "is not a regular file"),
    ):
        text = f"credentials:\n  access_key_id: A\n  secret_access_key_file: {name}\n"
        (fault,) = faults_of(folder, text)
        assert words in fault


def test_config_with_a_secret_must_be_closed_to_others(folder: Path) -> None:
    """A secret in config.yml itself puts the same demand on that file."""
    text = "credentials:\n  access_key_id: A\n  secret_access_key: s3cret\n"

    assert load(folder, text).credentials == Credentials("A", "s3cret")
    (fault,) = faults_of(folder, text, mode=0o644)
    assert fault.endswith(f"chmod o= {folder}/config.yml")


def test_contradicting_credentials_are_faults(folder: Path) -> None:
    """Which of two secrets counts is never guessed."""
    secret_file(folder)
    faults = faults_of(
        folder,
        "credentials:\n  secret_access_key: s3cret\n  secret_access_key_file: secret-access-key\n",
    )
    assert [fault.split("; ")[0] for fault in faults] == [
        "1:1: credentials.access_key_id: is missing",
        "3:27: credentials.secret_access_key_file: cannot be combined with secret_access_key",
    ]


def test_profile_is_read_from_awss_file(folder: Path) -> None:
    """The shared credentials file is found by its variable, or in the home folder."""
    path = folder / ".aws" / "credentials"
    path.parent.mkdir()
    path.write_text(
        "[default]\naws_access_key_id = A\n[exports]\naws_access_key_id = B\n"
        "aws_secret_access_key = s3c%ret\naws_session_token = t\n"
    )
    path.chmod(0o600)
    text = "credentials: {profile: exports}\n"

    by_home = load(folder, text, {"HOME": str(folder)})
    by_variable = load(folder, text, {"AWS_SHARED_CREDENTIALS_FILE": str(path)})

    assert by_home.credentials == by_variable.credentials == Credentials("B", "s3c%ret", "t")
    for profile, words in (("other", "its profiles are: default, exports"), ("default", "add aws")):
        (fault,) = faults_of(
            folder, f"credentials: {{profile: {profile}}}\n", {"HOME": str(folder)}
        )
        assert words in fault
    path.write_text("aws_secret_access_key = s3cret\n")
    assert "is not an INI file" in faults_of(folder, text, {"HOME": str(folder)})[0]
    path.chmod(0o644)
    assert "chmod o=" in faults_of(folder, text, {"HOME": str(folder)})[0]


def test_systemds_credentials_come_before_the_environment(folder: Path) -> None:
    """LoadCredential= gives the secret; the key's name comes with it or from the config."""
    directory = folder / "credentials"
    directory.mkdir()
    environment = ENVIRONMENT | {"CREDENTIALS_DIRECTORY": str(directory)}
    assert load(folder, "eject: no\n", environment).credentials.access_key_id == "AKIAENV"

    for name, text in (("aws-secret-access-key", "s3cret\n"), ("aws-access-key-id", "AKIASYS")):
        (directory / name).write_text(text)
        (directory / name).chmod(0o400)

    loaded = load(folder, "eject: no\n", environment)
    assert loaded.credentials == Credentials("AKIASYS", "s3cret")
    loaded = load(folder, "credentials: {access_key_id: AKIACONF}\n", environment)
    assert loaded.credentials == Credentials("AKIACONF", "s3cret")


def test_environment_is_the_last_place(folder: Path) -> None:
    """Its key pair belongs together; without any there is a fault that lists the places."""
    token = ENVIRONMENT | {"AWS_SESSION_TOKEN": "t"}
    assert load(folder, "eject: no\n", token).credentials == Credentials(
        "AKIAENV", "env-secret", "t"
    )

    (fault,) = faults_of(folder, "credentials: {access_key_id: AKIAOTHER}\n")
    assert "AWS_ACCESS_KEY_ID and access_key_id differ" in fault
    (fault,) = faults_of(folder, "eject: no\n", {})
    assert "add secret_access_key_file" in fault


def test_example_loads_as_it_is(folder: Path) -> None:
    """A copy of the example is a configuration: the defaults."""
    loaded = load(folder, EXAMPLE.read_text(), {"AWS_SECRET_ACCESS_KEY": "x"}, mode=0o644)

    defaults = load(folder, "eject: no\n")
    assert dataclasses.replace(loaded, credentials=defaults.credentials) == defaults


def test_example_shows_every_key_with_its_default(folder: Path) -> None:
    """Each key is there; with its # taken away it is valid, and says the default."""
    text = re.sub(r"^( *)#(?=(?:  +)?\w+:)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    text = re.sub(r"^  (secret_access_key|profile):.*\n", "", text, flags=re.MULTILINE)
    secret_file(folder)

    loaded = load(folder, text)

    shown = {field.name for field in dataclasses.fields(loading.Config)} - {"files", "warnings"}
    assert {name for name in shown if re.search(rf"^{name}:", text, re.MULTILINE)} == shown
    for key in loading.credentials.KEYS:
        assert re.search(rf"^  #?{key}:", EXAMPLE.read_text(), re.MULTILINE), key
    assert loaded.credentials == Credentials("AKIAIOSFODNN7EXAMPLE", "s3cret", "EXAMPLE")
    assert set(loaded.devices["HD001"]) == set(loading.DEVICE_KEYS)
    assert set(loaded.hooks) == set(loading.EVENTS)
    defaults = load(folder, "eject: no\n")
    same = {"endpoint", "spool", "require_mapping", "validate_on_drop", "requests", "workers",
            "timeout", "eject"}  # fmt: skip
    for name in same:
        assert getattr(loaded, name) == getattr(defaults, name), name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.from_regex(r"([a-z_]{1,9}: [ -~]{0,9}\n){1,4}").map(str.encode))
def test_any_bytes_give_a_config_or_a_config_error(tmp_path: Path, data: bytes) -> None:
    """Whatever stands in the file, nothing but ConfigError is raised."""
    path = tmp_path / "config.yml"
    path.write_bytes(data)

    try:
        loaded = loading.load(path, ENVIRONMENT)
    except ConfigError as error:
        faults = error.faults
    else:
        faults = ()
        assert loaded.credentials.secret_access_key == "env-secret"
    assert all(fault.file == str(path) for fault in faults)


def test_what_is_printed(folder: Path) -> None:
    """A template is one of the supplied ones, or a file beside the configuration."""
    (folder / "own.j2").write_text("x")
    secret_file(folder)
    text = "print:\n  slip: [lp, -d, office]\n  sticker: {template: own.j2, command: [cat]}\n"

    loaded = load(folder, text).print

    assert loaded["slip"].words == ("lp", "-d", "office")
    assert (loaded["sticker"].words, loaded["sticker"].template) == (
        ("cat",),
        str(folder / "own.j2"),
    )


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("  slip: lp", "print.slip: expected a list of texts"),
        ("  slips: [lp]", "print.slips: is not a known key; did you mean slip?"),
        ("  sticker: {command: [lp]}", "print.sticker.template: is missing"),
        ("  sticker: {template: zpl}", "print.sticker.command: is missing"),
        ("  sticker: {template: none.j2, command: [lp]}", "none.j2 is not a file"),
    ],
)
def test_faults_of_what_is_printed(folder: Path, lines: str, fault: str) -> None:
    """Each is reported with its place."""
    secret_file(folder)

    with pytest.raises(ConfigError) as caught:
        load(folder, f"print:\n{lines}\n")

    assert any(fault in str(one) for one in caught.value.faults)
