"""What is printed for a drive, from its manifest to the paper; the printer delays no SIGNATURE."""

import re

import daemon_process
from as_operator import manifest_for, new_device_id
from paper_codes import codes

service, start = daemon_process.service, daemon_process.start


def test_a_prepared_drive_has_its_papers_printed(plug, start, tmp_path):
    """Slip and sticker, once, without any command; a hook is given the folder and the node."""
    for name in ("slip", "sticker", "hook"):
        script = f"#!/bin/sh\necho x >>{tmp_path}/{name}.calls\ncat >{tmp_path}/{name}.out\n"
        script += f"env >{tmp_path}/{name}.env\n"
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    sticker = {"template": "text", "command": [str(tmp_path / "sticker")]}
    daemon = start(
        print={"slip": [str(tmp_path / "slip")], "sticker": sticker},
        hooks={"prepared": [str(tmp_path / "hook")]},
    )
    device_id = new_device_id()
    drive = plug(device_id)
    drive.mount()
    daemon.drop(device_id, manifest_for(device_id))

    def printed():
        papers = daemon.job(device_id).get("printing", ())
        return len(papers) == 2 and all(one["printedAt"] for one in papers)

    daemon.until("both are printed", printed)
    daemon.restart()

    job_id = daemon.job(device_id)["jobId"]
    assert codes((tmp_path / "slip.out").read_bytes())[0] == ("Code 128", job_id)
    assert f"deviceId  {device_id}" in (tmp_path / "sticker.out").read_text()
    assert (
        (tmp_path / "slip.calls").read_text() == (tmp_path / "sticker.calls").read_text() == "x\n"
    )
    told = (tmp_path / "hook.env").read_text()
    (papers,) = daemon.papers(device_id)
    assert f"DRIVEPREP_PAPERS={papers}\n" in told
    assert re.search(rf"^DRIVEPREP_NODE={drive.device}$", told, re.MULTILINE)


def test_a_printer_that_hangs_delays_no_drive(plug, start, tmp_path):
    """The second drive is signed while the first one's command still runs."""
    printer = tmp_path / "printer"
    printer.write_text("#!/bin/sh\ntouch $0.runs\nexec sleep 25\n")
    printer.chmod(0o755)
    daemon = start(print={"sticker": {"template": "text", "command": [str(printer)]}})
    names = [new_device_id(), new_device_id()]
    for name in names:
        plug(name).mount()
    daemon.drop(names[0], manifest_for(names[0]))
    daemon.until("the command runs", (tmp_path / "printer.runs").exists)

    daemon.drop(names[1], manifest_for(names[1]))
    second = daemon.until(
        "the second is signed, its papers are filed",
        lambda: (job := daemon.job(names[1])).get("safeToRemove") and job["printing"] and job,
    )

    assert [one["printedAt"] for one in daemon.job(names[0])["printing"]] == [None]
    assert [one["printedAt"] for one in second["printing"]] == [None]
