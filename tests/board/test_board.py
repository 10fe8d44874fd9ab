"""The board beside a real daemon: what it shows, and that it shows it at once."""

from __future__ import annotations

import json
import time
from hashlib import sha256

import pytest
from as_operator import manifest_for
from board_process import apart
from loop_drives import wait_until


def test_a_change_is_shown_within_a_second(daemon, page):
    """A manifest that is dropped, and a daemon that ends, reach a page that listens."""
    with page.events() as views:
        assert next(views)["daemon"]["running"]

        since = time.monotonic()
        daemon.drop("HD001")
        assert any(one["counts"]["waiting"] == 1 for one in views)
        assert time.monotonic() - since < 1

        daemon.kill()
        since = time.monotonic()
        view = next(one for one in views if not one["daemon"]["running"])
        assert time.monotonic() - since < 1
        assert "does not run" in view["daemon"]["problems"][0]


def test_waiting_jobs_are_counted_and_found(daemon, page):
    """By a part of the deviceId or of the file's name; they have no card."""
    for number in range(5):
        daemon.drop(f"HD00{number}")
    wait_until("all are counted", lambda: page.view()["counts"]["waiting"] == 5)

    assert page.view()["cards"] == []
    (found,) = page.get("/api/waiting?q=hd003").json["jobs"]
    assert (found["deviceId"], found["manifest"]) == ("HD003", "HD003.yml")
    assert page.get("/api/waiting?q=nothing").json["jobs"] == []


def test_status_is_what_the_command_prints(daemon, page):
    """Byte for byte, but for times that pass."""
    daemon.drop("HD001")
    wait_until("it waits", lambda: page.view()["counts"]["waiting"] == 1)

    wait_until(  # a scan may come in between
        "both say the same", lambda: json.loads(page.get("/api/status").body) == daemon.status()
    )


def test_a_manifest_is_checked_dropped_and_withdrawn(daemon, page):
    """Checked with the text of `driveprep check`; dropped with the SHA-256 of what was shown."""
    data = manifest_for("HD001")
    file = daemon.spool.parent / "HD001.yml"
    file.write_bytes(data)

    checked = page.send("/api/check", "HD001.yml", data).json
    printed = daemon.command("check", str(file)).stdout.splitlines()[1:]
    assert checked["text"].splitlines() == [
        line.replace(str(file), "HD001.yml") for line in printed
    ]
    assert (checked["good"], checked["deviceId"]) == (True, "HD001")
    assert list(daemon.pending.iterdir()) == []

    assert page.send("/api/drop", "HD001.yml", data, X_Sha256="0" * 64).status == 409
    assert page.drop("HD001.yml", data).json["deviceId"] == "HD001"
    wait_until("it waits", lambda: page.view()["counts"]["waiting"] == 1)

    assert page.post("/api/withdraw", {"name": "HD001.yml", "sha256": "0" * 64}).status == 409
    own = {"name": "HD001.yml", "sha256": sha256(data).hexdigest()}
    assert page.post("/api/withdraw", own).status == 200
    wait_until("it is gone", lambda: page.view()["counts"]["waiting"] == 0)
    assert page.post("/api/withdraw", own).status == 409


def test_what_others_dropped_cannot_be_withdrawn(daemon, page):
    """The page offers it for its own manifests only, and refuses it for others."""
    data = daemon.drop("HD001").read_bytes()
    request = {"name": "HD001.yml", "sha256": sha256(data).hexdigest()}

    assert page.post("/api/withdraw", request).status == 409
    assert (daemon.pending / "HD001.yml").exists()


def test_faults_have_the_carets_of_the_command(daemon, page):
    """The text is the same, but for the file's path; a faulty manifest is not dropped."""
    data = manifest_for("HD001").replace(b"NTFS", b"NTSF")
    file = daemon.spool.parent / "x.yml"
    file.write_bytes(data)

    checked = page.send("/api/check", "x.yml", data).json
    printed = daemon.command("check", str(file)).stderr.rstrip("\n")
    assert not checked["good"]
    assert checked["text"] == printed.replace(str(file), "x.yml")
    assert "^" in checked["text"]
    assert page.drop("x.yml", data).status == 422
    assert list(daemon.pending.iterdir()) == []


OWN, OTHER = b"AKIAIOSFODNN7EXAMPLE", b"AKIAI44QH8DHBEXAMPLE"


@pytest.mark.parametrize("key", [OWN, OTHER])
def test_the_key_of_another_account_is_a_fault(daemon, tmp_path, key):
    """As for the command, also where the board may not read the configured key's public name."""
    data = manifest_for("HD001").replace(OWN, key)
    file = daemon.spool.parent / "x.yml"
    file.write_bytes(data)
    done = daemon.command("check", str(file))
    printed = done.stderr.rstrip("\n") or "\n".join(done.stdout.splitlines()[1:])
    fault = f"accessKeyId: is {OTHER.decode()}, but config.yml has {OWN.decode()}"
    assert (fault in printed) == (key == OTHER)

    with apart(daemon, tmp_path / "apart") as board:
        page = board.log_in()
        assert OWN.decode() not in board.config.read_text()
        checked = page.send("/api/check", "x.yml", data).json
        dropped = page.drop("x.yml", data)
        daemon.stop()
        later = page.send("/api/check", "x.yml", data).json

    assert checked["text"] == printed.replace(str(file), "x.yml")
    assert checked["good"] == (key == OWN)
    assert dropped.status == (200 if key == OWN else 422)
    assert later["text"].startswith("warning: accessKeyId is not compared with the account's")


def test_a_rejection_is_a_card_and_can_be_dismissed(daemon, page):
    """By the same order as `driveprep dismiss`."""
    daemon.drop("HD001", manifest_for("HD001").replace(b"NTFS", b"NTSF"))
    wait_until("it has a card", lambda: page.view()["counts"]["attention"] == 1)
    (card,) = page.view()["cards"]
    assert (card["status"], card["word"], card["actions"]) == ("attention", "Rejected", ["dismiss"])

    answer = page.post("/api/dismiss", {"words": ["HD001.yml"]}).json
    assert answer == {"later": False, "dismissed": {"HD001.yml": 1}}
    wait_until("its card is gone", lambda: page.view()["cards"] == [])


def test_every_action_is_logged_with_the_person(daemon, board, page):
    """Who asked for the link, what was asked, and what came of it."""
    page.post("/api/retry", {"deviceId": "HD001"})

    line = board.logged("/api/retry")
    assert "by root from 127.0.0.1: 200 (HD001)" in line


def test_a_daemon_that_does_not_run_is_shown_as_that(daemon, page):
    """Orders are then left for the next daemon."""
    daemon.stop()
    wait_until("it is seen", lambda: not page.view()["daemon"]["running"])

    assert page.post("/api/dismiss", {"words": ["x"]}).json == {"later": True}
