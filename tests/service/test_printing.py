"""Papers are printed by a real CUPS: in order, once, and without a printer later.

Runs where CUPS and WeasyPrint are installed, as scripts/test installs them.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path

import cups
import daemon_process
import pytest
from cups import Device
from paper_codes import codes
from person import GUIDE, Person, prepare

from daemon.jobs.journal import Journal
from daemon.spool.spool import Spool

service, start = daemon_process.service, daemon_process.start

pytestmark = pytest.mark.skipif(not cups.IS_HERE, reason="not installed: cups, cups-client")


@pytest.fixture
def server():
    """A CUPS whose folder the user `lp` can reach, with a short name for its socket."""
    folder = Path(tempfile.mkdtemp(prefix="cups-"))
    folder.chmod(0o755)
    try:
        with cups.running(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def device():
    """A printer on loopback."""
    device = Device()
    yield device
    device.close()


@pytest.fixture
def bench(tmp_path, service, start):
    """Start a daemon beside prepared jobs of these deviceIds: `bench(print_settings, "HD001")`."""

    def begin(settings, *device_ids):
        person = Person(tmp_path, service.endpoint)
        Spool(person.spool, 1.0, lambda: 0.0)
        ledger = Journal(person.spool, lambda: 2.0)
        for device_id in device_ids:
            prepare(ledger, service, person, device_id)
        ledger.close()
        return start(spool=person.spool, print=settings)

    return begin


def papers(station, device_id):
    """Return the papers of a job in the status, by their kind."""
    return {one["paper"]: one for one in station.job(device_id)["printing"]}


def printed(station, *device_ids):
    """Wait until the papers of these jobs are printed."""
    for one in device_ids:
        station.until(
            f"papers of {one} are printed",
            lambda one=one: all(kind["printedAt"] for kind in papers(station, one).values()),
        )


def test_the_slip_reaches_the_printer_as_pdf(server, device, bench):
    """Its barcode and QR codes can be read from what the printer gets."""
    server.add("office", device, cups.PDF_PRINTER)
    station = bench({"slip": ["lp", "-h", server.server, "-d", "office"]}, "HD001")

    done = station.command("print", "HD001")

    job_id = station.job("HD001")["jobId"]
    assert done.stdout == f"slip of job {job_id} for HD001: to be printed\n"
    printed(station, "HD001")
    assert "slip  printed 20" in station.command("show", "HD001").stdout
    (document,) = station.until("the printer has it", lambda: device.documents)
    document = document[document.index(b"%PDF") :]  # CUPS writes PJL before it
    assert codes(document) == [("Code 128", job_id)] + [("QR Code", job_id)] * 3
    assert station.status()["daemon"]["printer"] == ""


def test_stickers_come_in_the_order_of_the_jobs(server, device, bench):
    """As ZPL, each once, also after a restart; and once more when a person asks again."""
    server.add("zebra", device, "raw")
    command = ["lp", "-h", server.server, "-d", "zebra", "-o", "raw"]
    names = ["HD001", "HD002", "HD003"]
    station = bench({"sticker": {"template": "zpl", "command": command}}, *names)

    station.command("print", *names)
    printed(station, *names)
    station.restart()
    station.command("print", "HD002")
    station.until("the fourth has come", lambda: len(device.documents) == 4)

    found = [re.findall(rb"FB520,2,0,L\^FH\\\^FD(.*)\^FS", one) for one in device.documents]
    assert found == [[b"HD001"], [b"HD002"], [b"HD003"], [b"HD002"]]


def test_a_printer_that_is_switched_off(server, device, bench):
    """Its paper waits with an obstacle, the job does not; it is printed when it is back."""
    server.add("zebra", device, "raw")
    server.runs("cupsdisable", "zebra")
    command = ["lp", "-h", server.server, "-d", "zebra"]
    station = bench({"sticker": {"template": "text", "command": command}}, "HD001")

    station.command("print", "HD001")
    paper = station.until(
        "the paper has an obstacle",
        lambda: (one := papers(station, "HD001")["sticker"])["code"] == "printer" and one,
    )

    assert "printer zebra is not available" in paper["obstacle"]
    assert station.job("HD001")["obstacle"] is None
    assert "zebra" in station.status()["daemon"]["printer"]
    assert "PRINTER: printer zebra is not available" in station.command("status").stderr
    assert device.documents == []
    server.runs("cupsenable", "zebra")
    station.restart()
    printed(station, "HD001")
    assert station.status()["daemon"]["printer"] == ""


def test_a_command_that_fails_is_tried_again(bench, tmp_path):
    """Whatever it is; its error output is shown."""
    printer = tmp_path / "printer"
    printer.write_text("#!/bin/sh\ncat >> $0.out; [ -e $0.on ] || { echo no paper >&2; exit 3; }\n")
    printer.chmod(0o755)
    station = bench({"sticker": {"template": "text", "command": [str(printer)]}}, "HD001")

    station.command("print", "HD001")
    paper = station.until(
        "it has failed",
        lambda: (one := papers(station, "HD001")["sticker"])["code"] and one,
    )

    assert (paper["code"], paper["printedAt"]) == ("print-command", None)
    assert "ended with 3: no paper" in paper["obstacle"]
    assert paper["retryAt"]
    (tmp_path / "printer.on").touch()
    station.command("print", "HD001")
    printed(station, "HD001")
    assert b"deviceId  HD001" in (tmp_path / "printer.out").read_bytes()


def test_what_may_be_at_the_printer_is_not_sent_again(bench, tmp_path):
    """The daemon is killed while the command runs: a person decides, and `print` prints it."""
    printer = tmp_path / "printer"
    printer.write_text("#!/bin/sh\necho x >> $0.calls\n[ -e $0.on ] || exec sleep 20\n")
    printer.chmod(0o755)
    calls = tmp_path / "printer.calls"
    station = bench({"sticker": {"template": "text", "command": [str(printer)]}}, "HD001")
    station.command("print", "HD001")
    station.until("the command runs", calls.exists)

    station.kill()
    (tmp_path / "printer.on").touch()
    station.start()
    paper = station.until(
        "the daemon has noticed",
        lambda: (one := papers(station, "HD001")["sticker"])["code"] and one,
    )

    assert paper["code"] == "print-in-doubt"
    assert f"driveprep print {station.job('HD001')['jobId']}" in paper["hint"]
    assert calls.read_text() == "x\n"
    station.command("print", "HD001")
    printed(station, "HD001")
    assert calls.read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ nothing }}", "line 1: 'nothing' is undefined"),
        ("one\n{% if %}", "line 2: "),
        ("{{ ''.__class__.__mro__ }}", "line 1: access to attribute '__class__'"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "it ended with -",
        ),
        ("{{ 'x' * 9999999 }}", "longer than"),
    ],
)
def test_a_template_that_cannot_be_used(bench, tmp_path, template, problem):
    """It is said where; a template that loops or grows is stopped."""
    (tmp_path / "own.j2").write_text(template)
    own = {"template": str(tmp_path / "own.j2"), "command": ["/bin/true"]}
    station = bench({"sticker": own}, "HD001")

    station.command("print", "HD001")
    paper = station.until(
        "it has failed",
        lambda: (one := papers(station, "HD001")["sticker"])["code"] and one,
    )

    assert problem in paper["obstacle"]
    assert paper["code"] in {"sticker-template", "paper-not-made"}


def test_the_slip_as_a_file(bench, tmp_path):
    """`slip --pdf` needs no printer and no configuration of one."""
    station = bench({}, "HD001")

    done = station.command("slip", "HD001", "--pdf", "--output", tmp_path / "slip.pdf")

    assert done.stdout == f"{tmp_path / 'slip.pdf'}\n"
    found = codes((tmp_path / "slip.pdf").read_bytes())
    assert found[0] == ("Code 128", station.job("HD001")["jobId"])


def test_nothing_is_configured(bench):
    """Then `print` says how to do it."""
    done = bench({}, "HD001").command("print", "HD001")

    assert done.returncode == 75
    assert "`print`" in done.stderr


def test_a_manifest_that_is_not_prepared(bench):
    """There is nothing to print yet; nor for what is no job."""
    station = bench({"slip": ["/bin/true"]})

    assert station.command("print", "HD009").returncode == 75
    assert GUIDE.exists()
    assert json.loads(station.command("jobs", "--json").stdout)["jobs"] == []
