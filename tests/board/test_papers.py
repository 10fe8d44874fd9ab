"""Stickers and printing on the page: by the same orders as `driveprep print`, and in view."""

from __future__ import annotations

import json
import re

import pytest
from board_process import apart
from loop_drives import wait_until
from person import Person, prepare

from daemon.jobs.journal import Journal
from daemon.spool.spool import Spool


@pytest.fixture
def printer(tmp_path):
    """Return the file that everything is printed to, and the `print` that does so."""
    file = tmp_path / "printed"
    file.touch()
    command = ["/bin/sh", "-c", f"cat >> {file}"]
    return file, {"sticker": {"template": "text", "command": command}}


@pytest.fixture
def job(tmp_path, service):
    """Return a job that is prepared before the daemon starts."""
    person = Person(tmp_path, service.endpoint)
    Spool(person.spool, 1.0, lambda: 0.0)
    ledger = Journal(person.spool, lambda: 2.0)
    job = prepare(ledger, service, person)
    ledger.close()
    return job


@pytest.fixture
def daemon(start, tmp_path, job, printer):
    """Return a daemon that prints stickers to a file."""
    return start(spool=tmp_path / "spool", print=printer[1])


def followed(page):
    """Return the only job of the timeline."""
    (one,) = wait_until("the job is shown", lambda: page.view()["timeline"])
    return one


def reconfigure(daemon, page, **settings):
    """Give the daemon another configuration; the board stays where it is."""
    daemon.configure(
        spool=str(daemon.spool), board={"listen": page.board.origin.rpartition("/")[2]}, **settings
    )


def test_a_sticker_is_opened_once_as_text(daemon, page, job):
    """It says what is printed; under the same policy as a slip, and nothing in it is markup."""
    url = page.post("/api/paper", {"job": job.job_id, "kind": "sticker"}).json["url"]

    sticker = page.get(url, X_Board_Key="")
    assert sticker.status == 200
    assert re.search(rf"<pre[^>]*>JobId +{job.job_id}\ndeviceId +HD001\n", sticker.body.decode())
    assert not re.search(rb"<style| style=|<script|http-equiv", sticker.body)
    assert "style-src 'self'" in sticker.headers["content-security-policy"]
    assert page.get(url).status == 404
    page.board.logged(f"/api/paper by root from 127.0.0.1: 200 (sticker of {job.job_id})")


def test_a_sticker_by_each_template(daemon, page, job):
    """One of your own is shown as it is sent, as text; the supplied ZPL in words; or its fault."""

    def use(text: str, template: str = "own.j2") -> None:
        daemon.config.with_name("own.j2").write_text(text)
        reconfigure(daemon, page, print={"sticker": {"template": template, "command": ["true"]}})

    def answer():
        return page.post("/api/paper", {"job": job.job_id, "kind": "sticker"})

    def shows(text: str) -> bool:
        url = answer().json.get("url")
        return bool(url) and text in page.get(url).body.decode()

    use("<script>{{ device_id }}</script>")
    wait_until("markup is text", lambda: shows("&lt;script&gt;HD001&lt;/script&gt;</pre>"))
    use("^XA^FD{{ device_id }}^XZ")
    wait_until("ZPL of your own is shown", lambda: shows("^XA^FDHD001^XZ</pre>"))
    use("", "zpl")
    wait_until("ours is in words", lambda: shows("deviceId  HD001"))
    use("\n{{ nothing }}")
    wait_until("its fault is said", lambda: "line 2: 'nothing' is un" in answer().body.decode())
    assert answer().status == 409


def test_papers_are_printed_again(daemon, page, job, printer):
    """As by `driveprep print`: the page shows that it waits and when it was printed."""
    assert followed(page)["actions"] == ["slip", "sticker", "print", "ship"]
    assert followed(page)["papers"] == []

    answer = page.post("/api/print", {"words": [job.job_id]})

    assert answer.json == {"later": False, "jobs": [{"jobId": job.job_id, "deviceId": "HD001"}]}
    wait_until("it is printed", lambda: [one["state"] for one in papers(page)] == ["printed"])
    (sticker,) = papers(page)
    assert (sticker["paper"], sticker["why"]) == ("sticker", "")
    assert printer[0].read_text().count(job.job_id) == 1
    page.board.logged(f"/api/print by root from 127.0.0.1: 200 ({job.job_id})")

    page.post("/api/print", {"words": ["HD001"]})
    wait_until("it is printed again", lambda: printer[0].read_text().count(job.job_id) == 2)


def papers(page):
    """Return what is shown of the only job's papers."""
    return followed(page)["papers"]


def test_why_a_paper_is_not_printed_is_shown(daemon, page, job):
    """With what to do; it waits, and is printed once that is done."""
    fails = {"sticker": {"template": "text", "command": ["/bin/sh", "-c", "echo jam >&2; exit 3"]}}
    reconfigure(daemon, page, print=fails)
    daemon.until("it is read", lambda: "configuration read" in daemon.log)
    page.post("/api/print", {"words": [job.job_id]})

    wait_until("it has failed", lambda: [one["state"] for one in papers(page)] == ["failed"])
    (sticker,) = papers(page)
    assert "jam" in sticker["why"]
    assert sticker["printedAt"] is None
    works = {"sticker": {"template": "text", "command": ["true"]}}
    reconfigure(daemon, page, print=works)
    wait_until("it is printed", lambda: [one["state"] for one in papers(page)] == ["printed"])


def test_without_a_printer_none_is_offered(daemon, page, job):
    """Slip and sticker can be opened; the order to print is refused, with what to do."""
    reconfigure(daemon, page)

    wait_until("it is seen", lambda: followed(page)["actions"] == ["slip", "sticker", "ship"])
    refused = page.post("/api/print", {"words": [job.job_id]})
    assert refused.status == 409
    assert refused.json["error"] == "nothing is configured to be printed"


def test_what_is_not_prepared_is_not_printed(daemon, page):
    """A job that waits, and one that does not exist; of several, none is then printed."""
    daemon.drop("HD002")
    wait_until("it waits", lambda: page.view()["counts"]["waiting"] == 1)

    for word in ("HD002", "HD404"):
        assert page.post("/api/print", {"words": ["HD001", word]}).status == 409, word
        assert page.post("/api/paper", {"job": word, "kind": "sticker"}).status == 409, word
    assert papers(page) == []
    assert page.post("/api/paper", {"job": "HD001", "kind": "label"}).status == 422


def test_a_daemon_that_does_not_run_prints_later(daemon, page, job, printer):
    """It is asked when it starts; a sticker, which only it can make, is refused at once."""
    followed(page)
    daemon.stop()

    assert page.post("/api/print", {"words": [job.job_id]}).json == {"later": True}
    refused = page.post("/api/paper", {"job": job.job_id, "kind": "sticker"})
    assert (refused.status, refused.json["error"]) == (409, "the driveprep daemon does not run")
    daemon.start()
    wait_until("it is printed", lambda: job.job_id in printer[0].read_text())


def test_the_public_configuration_has_no_print_command(daemon, page, job, printer, tmp_path):
    """Their words can have a password; a board that reads the copy prints all the same."""
    reconfigure(daemon, page, print={"slip": ["lp", "hunter2"], "sticker": printer[1]["sticker"]})
    copy = tmp_path / "public.yml"
    assert daemon.command("board", "--public-config", copy).returncode == 0
    settings = json.loads(copy.read_text())
    hidden = ["not-shown"]
    assert settings["print"] == {
        "slip": hidden, "sticker": {"template": "text", "command": hidden},
    }  # fmt: skip

    reconfigure(daemon, page, print=printer[1])
    with apart(daemon, tmp_path / "apart") as other:
        mine = other.log_in()
        assert "print" in followed(mine)["actions"]
        assert mine.post("/api/print", {"words": [job.job_id]}).status == 200
    wait_until("it is printed", lambda: job.job_id in printer[0].read_text())
