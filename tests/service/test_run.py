"""The daemon as systemd meets it: it waits for a configuration, takes it, reloads it, ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from daemon.errors import ConfigError
from daemon.service.bell import Bell, Ring
from daemon.service.run import SETTLE_REMOTE_SECONDS, SETTLE_SECONDS, Sources, first_config

TOP = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "daemon", "run", "--config"]
BARE = {key: text for key, text in os.environ.items() if not key.startswith(("AWS_", "NOTIFY_"))}


def configuration(folder, **more):
    """A config.yml with its secret in a file beside it, which is not made here."""
    credentials = {"access_key_id": "AKIA", "secret_access_key_file": "secret"}
    settings = {"endpoint": "http://127.0.0.1:9", "credentials": credentials}
    return json.dumps({**settings, "spool": str(folder / "spool"), **more})  # JSON is YAML


def put(path, text):
    """Write a file that is no one else's, and move it to its place."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.rename(path)


class Manager:
    """systemd's end of the socket; its words stay in order."""

    def __init__(self, listener):
        self._listener = listener
        self.heard = []

    def until(self, beginning):
        """The first word from now on that begins so."""
        while True:
            words = self._listener.recv(4096).decode().splitlines()
            self.heard += words
            for word in words:
                if word.startswith(beginning):
                    return word


@pytest.fixture
def manager(monkeypatch):
    """A service manager that listens, with a deadline."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.settimeout(20)
        listener.bind("")  # the kernel gives a free abstract address
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + listener.getsockname()[1:].decode())
        yield Manager(listener)


@pytest.fixture
def daemon(manager, tmp_path):
    """The daemon, started under a manager before there is any configuration."""
    environment = {**BARE, "NOTIFY_SOCKET": os.environ["NOTIFY_SOCKET"], "WATCHDOG_USEC": "2000000"}
    process = subprocess.Popen(
        [*COMMAND, tmp_path / "config.yml"], cwd=TOP, env=environment, stderr=subprocess.PIPE
    )
    yield process
    process.kill()
    process.communicate()


def test_waits_and_says_for_what(manager, daemon, tmp_path):
    """Without a configuration it is ready, tells why it waits, lives on, and ends with 0."""
    waiting = manager.until("STATUS=")

    assert manager.heard[0] == "READY=1"
    assert (
        waiting == f"STATUS=waiting for {tmp_path}/config.yml: {tmp_path}/config.yml does not exist"
    )
    manager.until("WATCHDOG=1")

    daemon.send_signal(signal.SIGTERM)

    manager.until("STOPPING=1")
    assert daemon.wait(10) == 0


def test_takes_what_is_dropped(manager, daemon, tmp_path):
    """The configuration acts the moment it is whole: first config.yml came, then the secret."""
    manager.until("STATUS=waiting")

    put(tmp_path / "config.yml", configuration(tmp_path))
    assert f"{tmp_path}/secret does not exist" in manager.until("STATUS=waiting")
    put(tmp_path / "secret", "key")

    assert manager.until("STATUS=0 jobs") == "STATUS=0 jobs: 0 in progress, 0 waiting"
    assert (tmp_path / "spool/pending").is_dir()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(20) == 0


def test_reload_is_told(manager, daemon, tmp_path):
    """A new secret, a faulty config.yml, SIGHUP: each is a reload from begin to end."""
    put(tmp_path / "config.yml", configuration(tmp_path))
    put(tmp_path / "secret", "key")
    manager.until("STATUS=0 jobs")

    put(tmp_path / "secret", "another")
    manager.until("RELOADING=1")
    assert manager.until("STATUS=") == "STATUS=configuration read"
    assert manager.heard[-3].startswith("MONOTONIC_USEC=")
    assert manager.heard[-2] == "READY=1"
    assert manager.until("STATUS=") == "STATUS=0 jobs: 0 in progress, 0 waiting"

    put(tmp_path / "config.yml", configuration(tmp_path, workers="many"))
    status = manager.until("STATUS=configuration unchanged")
    assert "workers" in status

    put(tmp_path / "config.yml", configuration(tmp_path))
    manager.until("STATUS=configuration read")
    daemon.send_signal(signal.SIGHUP)
    manager.until("RELOADING=1")
    assert manager.until("STATUS=") == "STATUS=configuration read"


def test_how_long_a_file_must_keep_still_is_documented():
    """The defaults of `settle` are what the example says."""
    example = (TOP / "config.example.yml").read_text("utf-8")

    assert f"Default: {SETTLE_SECONDS:g}, and {SETTLE_REMOTE_SECONDS:g} in a folder" in example


def test_without_systemd_nobody_waits(tmp_path):
    """Who starts it by hand is told at once, with the exit code of sysexits(3)."""
    command = [*COMMAND, tmp_path / "config.yml"]
    done = subprocess.run(command, cwd=TOP, env=BARE, capture_output=True, text=True, check=False)

    assert done.returncode == 78
    assert "does not exist" in done.stderr


@pytest.fixture
def bell():
    """A bell for a daemon in this process."""
    with closing(Bell()) as bell:
        yield bell


def test_a_folder_that_is_not_there_yet(bell, manager, tmp_path):
    """Where nothing can be watched it looks now and then, and finds the folder with its files."""
    folder = tmp_path / "etc"
    found = []

    with closing_sources(folder / "config.yml", bell) as sources:
        wait = threading.Thread(
            target=lambda: found.append(first_config(folder / "config.yml", bell, sources, 0.02))
        )
        wait.start()
        manager.until("STATUS=waiting")
        folder.mkdir()
        put(folder / "secret", "key")
        put(folder / "config.yml", configuration(tmp_path))
        wait.join(20)

    assert [one.spool for one in found] == [tmp_path / "spool"]


def closing_sources(path, bell):
    """Sources that end with the block."""
    sources = Sources(path, bell)
    sources.close = sources.stop
    return closing(sources)


def test_only_its_own_files_ring(bell, tmp_path):
    """What else happens beside config.yml is no news; its secret in another folder is."""
    (tmp_path / "keys").mkdir()
    credentials = {"access_key_id": "AKIA", "secret_access_key_file": str(tmp_path / "keys/secret")}
    put(tmp_path / "config.yml", configuration(tmp_path, credentials=credentials))

    with closing_sources(tmp_path / "config.yml", bell) as sources:
        with suppress(ConfigError):  # the secret is missing
            sources.load()
        put(tmp_path / "notes", "x")
        assert bell.wait(0.2) == Ring.NOTHING

        put(tmp_path / "keys/secret", "key")
        assert bell.wait(20) == Ring.CONFIG


@pytest.mark.parametrize("text", ["", "credentials: [", "credentials: x", "- 1", '"\\0": 1'])
def test_a_faulty_configuration_is_still_followed(bell, tmp_path, text):
    """Whatever config.yml says, its correction is heard."""
    put(tmp_path / "config.yml", text)

    with closing_sources(tmp_path / "config.yml", bell) as sources:
        with pytest.raises(ConfigError):
            sources.load()
        put(tmp_path / "config.yml", configuration(tmp_path))

        assert bell.wait(20) == Ring.CONFIG


def test_every_link_on_the_way_is_watched(bell, tmp_path):
    """A link to the file, a link to its folder, and the target itself: each change is noticed."""
    real, other = tmp_path / "real", tmp_path / "other"
    for folder in (real, other):
        folder.mkdir()
        put(folder / "config.yml", configuration(tmp_path))
        put(folder / "secret", "key")
    (tmp_path / "etc").symlink_to(real)
    (tmp_path / "config.yml").symlink_to("etc/config.yml")
    put(tmp_path / "secret", "key")

    with closing_sources(tmp_path / "config.yml", bell) as sources:
        sources.load()
        put(real / "config.yml", configuration(tmp_path, workers="4"))
        assert bell.wait(20) == Ring.CONFIG

        (tmp_path / "new").symlink_to(other)
        (tmp_path / "new").rename(tmp_path / "etc")
        assert bell.wait(20) == Ring.CONFIG

        sources.load()
        put(other / "config.yml", configuration(tmp_path, workers="5"))
        assert bell.wait(20) == Ring.CONFIG


def test_a_change_without_an_event_is_found_by_the_timer(bell, tmp_path):
    """Events can be lost: `check` compares the files with what was read."""
    put(tmp_path / "config.yml", configuration(tmp_path))
    put(tmp_path / "secret", "key")
    sources = Sources(tmp_path / "config.yml", bell)
    sources.load()
    sources.stop()

    sources.check()
    assert bell.wait(0) == Ring.NOTHING

    put(tmp_path / "config.yml", configuration(tmp_path, workers="4"))
    sources.check()
    assert bell.wait(0) == Ring.CONFIG


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give capabilities away")
def test_children_have_no_capabilities():
    """What the unit gives the service to write to others' mounts, its hooks do not get."""
    code = """if True:
        import subprocess
        from daemon.service.run import _drop_ambient_capabilities
        _drop_ambient_capabilities()
        show = "grep CapEff /proc/self/status"
        print(open("/proc/self/status").read().partition("CapEff:")[2].split()[0])
        print(subprocess.run(show, shell=True, capture_output=True, text=True).stdout.split()[1])
    """
    gift = "+dac_override"
    command = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps", gift]
    command += ["--ambient-caps", gift, sys.executable, "-c", code]

    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)

    assert [int(word, 16) for word in done.stdout.split()] == [1 << 1, 0], done.stderr
