"""driveprep's whole day on a fresh workstation, as an operator and an administrator type it.

The tests are one day in the life of one machine: in this order, and each builds on those before.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from image import OPERATOR
from machine import START, Machine, ntfs_drive, wait_for

pytestmark = pytest.mark.timeout(3600)  # emulated; every wait has a limit of its own

CONFIG = "/etc/driveprep/config.yml"
SETTINGS = """
endpoint: http://127.0.0.1:8470
credentials:
  access_key_id: AKIAIOSFODNN7EXAMPLE
  secret_access_key_file: /etc/driveprep/secret-access-key
spool: /var/lib/driveprep
timeout: 120
"""
MANIFEST = """
manifestVersion: 2.0
deviceId: {device_id}
fileSystem: NTFS
logBucket: examplebucket
operations:
  - exportBucket: examplebucket
returnAddress:
  name: Jo Doe
  company: Example
  street1: 1 Main Street
  city: Seattle
  stateOrProvince: WA
  postalCode: "98101"
  phoneNumber: +1 206 555 0100
  country: USA
"""
EMULATOR = """
[Service]
ExecStart=/usr/bin/driveprep emulator --state /var/lib/emulator/jobs.sqlite3
StateDirectory=emulator
[Install]
WantedBy=multi-user.target
"""
KEEP_SECRET = "install -m 600 -o driveprep /dev/stdin /etc/driveprep/secret-access-key"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # AWS's own example
INSTALL = "cd driveprep && scripts/install --wheels ../wheels"
INSTALL_SECONDS = 900.0
MAX_EXPOSURE = 1.7


# What an operator does


def submit(machine: Machine, device_id: str) -> None:
    """Drop a manifest for this drive."""
    machine.write(f"{device_id}.yml", MANIFEST.format(device_id=device_id), OPERATOR)
    told = machine.sh(f"driveprep submit {device_id}.yml", OPERATOR)
    assert f"it is for the drive {device_id}" in told


def plug(machine: Machine, device_id: str, *, label: str = "", serial: str = "") -> str:
    """Plug in a new drive with this label; its partition's node, once udev knows it."""
    drive = ntfs_drive(machine.folder / f"{device_id}.img", label or device_id)
    return plug_again(machine, drive, label or device_id, serial)


def plug_again(machine: Machine, drive: Path, label: str, serial: str = "") -> str:
    """Plug in the drive in this file."""
    machine.plug(drive, drive.stem, serial or f"WD-WX11{drive.stem}")
    link = shlex.quote("/dev/disk/by-label/" + label.replace(" ", r"\x20"))  # as udev spells it
    wait_for(f"{link} is there", lambda: machine.sh_code(f"test -b {link}")[0] == 0)
    return machine.sh(f"readlink -f {link}")


def job(machine: Machine, device_id: str) -> dict[str, object]:
    """The latest job of a drive, as `driveprep status` has it for the operator."""
    report = json.loads(machine.sh("driveprep status --json", OPERATOR))
    jobs = [one for one in report["jobs"] if one["deviceId"] == device_id]
    return jobs[-1] if jobs else {"safeToRemove": False, "obstacle": None, "hint": None}


def prepared(machine: Machine, device_id: str) -> str:
    """Wait until the drive is safe to remove, and its papers are filed; its JobId."""
    done = wait_for(
        f"{device_id} is prepared",
        lambda: one if (one := job(machine, device_id))["safeToRemove"] else None,
    )
    job_id = str(done["jobId"])
    filed = f"test -e {paper(device_id, job_id)}"
    wait_for(f"{job_id} is filed", lambda: machine.sh_code(filed)[0] == 0)
    return job_id


def paper(device_id: str, job_id: str) -> str:
    """Where the SIGNATURE is filed."""
    return f"/var/lib/driveprep/prepared/{job_id}-{device_id}/SIGNATURE"


def signature(machine: Machine, device_id: str, job_id: str) -> str:
    """The SIGNATURE that was filed for the job."""
    return machine.sh(f"cat {paper(device_id, job_id)}", OPERATOR)


def mounted_at(told: str, label: str) -> str:
    """Where udisks2 says that it has mounted a drive, quoted: the older one does it in /media."""
    root = told.partition(" at ")[2].strip().rstrip(".")
    assert root in {f"/media/{OPERATOR}/{label}", f"/run/media/{OPERATOR}/{label}"}, told
    return shlex.quote(root)


def is_signed(machine: Machine, device_id: str, root: str) -> str:
    """Wait until the drive is prepared, and see that its root holds the SIGNATURE; its JobId."""
    job_id = prepared(machine, device_id)
    machine.sh(f"cmp {root}/SIGNATURE {paper(device_id, job_id)}")
    assert f"jobId:{job_id}" in signature(machine, device_id, job_id)
    assert machine.sh(f"ls -A {root}") == "SIGNATURE"
    return job_id


def obstacle(machine: Machine, device_id: str, words: str) -> str:
    """Wait until the job's obstacle has these words; all of it, with what to do."""
    return wait_for(f"{device_id}: {words}", lambda: _obstacle_with(machine, device_id, words))


def _obstacle_with(machine: Machine, device_id: str, words: str) -> str:
    one = job(machine, device_id)
    told = f"{one['obstacle']}. {one['hint']}"
    return told if re.search(words, told) else ""


# What an administrator looks at


def shown(machine: Machine, what: str) -> str:
    """A property of the service, such as StatusText."""
    return machine.sh(f"systemctl show --value -p {what} driveprep")


def status_text(machine: Machine, words: str) -> str:
    """Wait until `systemctl status` has these words."""
    return wait_for(
        f"the service's status says {words}",
        lambda: told if words in (told := shown(machine, "StatusText")) else "",
    )


def doctor(machine: Machine, user: str) -> list[tuple[str, str]]:
    """The verdict and subject of each line for this user, by a fresh login's groups."""
    command = "driveprep doctor" if user == "root" else f"runuser -u {user} -- driveprep doctor"
    _, told = machine.sh_code(f"cd /; {command}")
    return re.findall(r"(?m)^ *(ok|problem|unseen)  (\w+):", told)


def jobs_at_the_service(machine: Machine) -> int:
    """How many jobs the emulated service has made."""
    made = r"'CreateJob done, JobId [A-Z0-9]+$'"  # what was only validated is told otherwise
    return int(machine.sh(f"journalctl -o cat -u emulator | grep -cE {made}"))


# The day


def test_install(machine):
    """One command installs it; the service is there at once and says what it waits for."""
    told = machine.sh(INSTALL, seconds=INSTALL_SECONDS)

    assert "driveprep is installed. Next:" in told
    assert shown(machine, "ActiveState") == "active"
    assert shown(machine, "UnitFileState") == "enabled"
    assert shown(machine, "StatusText").startswith(f"waiting for {CONFIG}: ")
    assert "no secret access key was found" in shown(machine, "StatusText")
    assert "Active: active (running)" in machine.sh("systemctl status driveprep")
    machine.sh("man -w driveprep driveprep-config")
    assert ("problem", "config") in doctor(machine, "root")
    assert ("problem", "config") in doctor(machine, "driveprep")
    assert ("unseen", "config") in doctor(machine, OPERATOR)


def test_sandbox_of_the_running_service(machine):
    """What systemd says of it as it runs here."""
    told = machine.sh("systemd-analyze security --no-pager driveprep")

    print(told.splitlines()[-1])
    exposure = re.search(r"Overall exposure level for driveprep.service: ([0-9.]+)", told)
    assert float(exposure[1]) <= MAX_EXPOSURE


def test_configuration_is_taken_at_once(machine):
    """It is dropped, and the service works with it; nothing is restarted."""
    machine.write("/etc/systemd/system/emulator.service", EMULATOR)
    machine.sh("systemctl daemon-reload; systemctl enable --now emulator")
    machine.sh(f"echo {SECRET} | {KEEP_SECRET}")
    process = shown(machine, "MainPID")

    machine.write(CONFIG, SETTINGS)

    status_text(machine, "0 jobs")
    assert shown(machine, "MainPID") == process
    assert "Failed" not in machine.sh("systemctl --failed --no-legend")


def test_faulty_configuration(machine):
    """The old one is kept, and where the fault is can be read from `systemctl status`."""
    machine.write(CONFIG, SETTINGS + "workers: many\n")
    status_text(machine, f"configuration unchanged: {CONFIG}:8:10: workers: ")
    machine.sh("systemctl reload driveprep")
    assert "configuration unchanged" in machine.sh("systemctl status driveprep")

    machine.write(CONFIG, SETTINGS)

    wait_for(
        "the fault is gone",
        lambda: "unchanged" not in shown(machine, "StatusText"),
    )
    machine.sh("systemctl reload driveprep")
    assert shown(machine, "ActiveState") == "active"


def test_operator(machine):
    """A member of the group may drop manifests and see what becomes of them."""
    machine.sh(f"usermod -aG driveprep {OPERATOR}")

    submit(machine, "HD001")

    assert "no mounted drive matches HD001" in obstacle(machine, "HD001", "HD001")
    assert "HD001" in machine.sh("driveprep status", OPERATOR)
    for user in ("root", "driveprep", OPERATOR):
        found = doctor(machine, user)
        unseen = [("unseen", "credentials")] if user == OPERATOR else []
        assert [one for one in found if one[0] != "ok"] == unseen, (user, found)
        assert {"NTFS", "udev", "unit", "group", "config", "spool", "journal", "mounts", "service",
                "clock", "credentials"} <= {subject for _, subject in found}  # fmt: skip


def test_mounted_by_the_desktop(machine):
    """udisks2 mounts it for whoever sits at the screen, under /media."""
    node = plug(machine, "HD001")

    told = machine.at_the_screen(f"udisksctl mount -b {node}")

    is_signed(machine, "HD001", mounted_at(told, "HD001"))
    assert "safe to remove" in machine.sh("driveprep status", OPERATOR)
    machine.at_the_screen(f"udisksctl unmount -b {node}")
    assert re.search(r"prepared as \w+:\s+safe", machine.sh("driveprep drives", OPERATOR))
    machine.unplug("HD001")


def test_ejected(machine):
    """With `eject: true` udisks2 unmounts it and powers it off for the service."""
    machine.write(CONFIG, SETTINGS + "eject: true\n")
    submit(machine, "HD002")
    node = plug(machine, "HD002")

    machine.at_the_screen(f"udisksctl mount -b {node}")

    job_id = prepared(machine, "HD002")
    wait_for("it is powered off", lambda: machine.sh_code(f"test -b {node}")[0] != 0)
    assert "drive unmounted and powered off" in machine.sh(f"journalctl DRIVEPREP_JOB_ID={job_id}")
    assert on_the_medium(machine, "HD002") == signature(machine, "HD002", job_id)
    machine.write(CONFIG, SETTINGS)
    machine.unplug("HD002")


def on_the_medium(machine: Machine, device_id: str) -> str:
    """The SIGNATURE on a drive that is not plugged in any more, read without mounting it."""
    drive = machine.folder / f"{device_id}.img"
    partition = drive.with_suffix(".partition")
    command = ["dd", f"if={drive}", f"of={partition}", f"skip={START}", "status=none"]
    subprocess.run(command, check=True)
    read = subprocess.run(
        ["ntfscat", "-q", partition, "SIGNATURE"], capture_output=True, text=True, check=True
    )
    return read.stdout.strip()


def test_only_drives_are_the_services_to_eject(machine):
    """The rule that lets it eject lets it do nothing else: not mount, not touch other disks."""
    node = plug(machine, "HD003")
    ask = "runuser -u driveprep -- udisksctl {} --no-user-interaction -b {}"

    for verb, device in (("mount", node), ("lock", node), ("power-off", "/dev/vda")):
        code, told = machine.sh_code(ask.format(verb, device))
        assert code, told

    machine.unplug("HD003")


def test_mounted_by_root(machine):
    """While the service runs, any place will do; ntfs-3g, and the kernel's driver where it has."""
    drivers = ["ntfs-3g"]
    if machine.sh_code("modprobe ntfs3")[0] == 0:  # Debian 12 has none
        drivers.append("ntfs3")
    for number, driver in enumerate(drivers, 4):
        device_id = f"HD00{number}"
        submit(machine, device_id)
        node = plug(machine, device_id)
        root = f"/mnt/{device_id}"

        machine.sh(f"mkdir {root} && mount -t {driver} {node} {root}")

        is_signed(machine, device_id, root)
        machine.sh(f"umount {root}")
        machine.unplug(device_id)
    print("drivers:", *drivers)


def test_mounted_before_the_service(machine):
    """Below /media and /mnt it can be written to; elsewhere it is told why not, and what to do."""
    machine.sh("systemctl stop driveprep")
    places = {"HD006": "/media/HD006", "HD007": "/mnt", "HD008": "/srv/HD008"}
    for device_id, root in places.items():
        machine.sh(f"mkdir -p {root} && mount -t ntfs-3g {plug(machine, device_id)} {root}")
        submit(machine, device_id)

    machine.sh("systemctl start driveprep")

    for device_id in ("HD006", "HD007"):
        is_signed(machine, device_id, places[device_id])
    told = obstacle(machine, "HD008", "read-only at this mount alone")
    assert "ReadWritePaths=-/srv" in told
    assert "read-only at this mount alone" in verdict(machine, "HD008")
    assert ("problem", "drives") in doctor(machine, "root")

    drop_in = "/etc/systemd/system/driveprep.service.d/override.conf"  # what `edit` makes
    machine.sh(f"mkdir -p {Path(drop_in).parent}")
    machine.write(drop_in, "[Service]\nReadWritePaths=-/srv\n")
    machine.sh("systemctl daemon-reload; systemctl restart driveprep")

    is_signed(machine, "HD008", places["HD008"])
    assert ("problem", "drives") not in doctor(machine, "root")
    for device_id, root in places.items():
        machine.sh(f"umount {root}")
        machine.unplug(device_id)


def verdict(machine: Machine, label: str) -> str:
    """What `driveprep drives` says of the mounted drive with this label."""
    report = json.loads(machine.sh("driveprep drives --json", OPERATOR))
    return next(one["verdict"] for one in report["drives"] if one["label"] == label)


def test_known_by_its_serial(machine):
    """udev tells the serial of the USB device, and `devices:` maps it; the label is any."""
    machine.write(CONFIG, SETTINGS + "devices:\n  ARCHIVE-1: {serial: WD-WX11A1234567}\n")
    submit(machine, "ARCHIVE-1")
    node = plug(machine, "HD009", label="My Book", serial="WD-WX11A1234567")

    told = machine.at_the_screen(f"udisksctl mount -b {node}")

    is_signed(machine, "ARCHIVE-1", mounted_at(told, "My Book"))
    machine.write(CONFIG, SETTINGS)
    machine.at_the_screen(f"udisksctl unmount -b {node}")
    machine.unplug("HD009")


def test_upgrade_with_automatic_mounts(machine):
    """Installed again: what people wrote and what was prepared stays; the udev rule is new."""
    before = job(machine, "HD001")

    machine.sh(f"{INSTALL} --automount", seconds=INSTALL_SECONDS)

    assert job(machine, "HD001") == before
    assert "secret_access_key_file" in machine.sh(f"cat {CONFIG}")
    assert shown(machine, "StatusText").startswith("0 jobs")


def test_not_mounted_while_no_manifest_waits(machine):
    """A stranger's drive is left alone."""
    node = plug(machine, "HD010")

    machine.sh("udevadm settle")
    skipped = f"run-media-driveprep-{Path(node).name}.mount"
    wait_for(
        "systemd has decided",
        lambda: "skipped" in machine.sh(f"journalctl -b -u {skipped}"),
    )

    assert machine.sh_code(f"findmnt {node}")[0] != 0
    machine.unplug("HD010")


def test_mounted_by_the_rule(machine):
    """With a manifest waiting it is; pulled out at once, it holds what the papers hold."""
    submit(machine, "HD011")

    node = plug(machine, "HD011")
    job_id = prepared(machine, "HD011")
    root, options = machine.sh(f"findmnt -no TARGET,OPTIONS {node}").split()
    machine.sh(f"! runuser -u {OPERATOR} -- ls {root}")
    machine.unplug("HD011")

    assert {"nosuid", "nodev", "noexec"} <= {*options.split(",")}
    assert on_the_medium(machine, "HD011") == signature(machine, "HD011", job_id)
    wait_for(
        "its mount is gone", lambda: "/run/media/driveprep" not in machine.sh("cat /proc/mounts")
    )


def test_pulled_in_the_middle(machine):
    """The drive is gone while the service makes its job: an obstacle, and no second job."""
    submit(machine, "HD012")
    obstacle(machine, "HD012", "no mounted drive matches HD012")
    said = "journalctl -b -u driveprep DRIVEPREP_DEVICE_ID=HD012"
    wait_for("it was validated", lambda: "found valid" in machine.sh(said))
    jobs = jobs_at_the_service(machine)
    machine.sh("systemctl kill --signal=STOP emulator")
    plug(machine, "HD012")
    wait_for("the request is sent", lambda: "being submitted" in machine.sh(said))

    machine.unplug("HD012")
    wait_for(
        "its mount is gone", lambda: "/run/media/driveprep" not in machine.sh("cat /proc/mounts")
    )
    machine.sh("systemctl kill --signal=CONT emulator")

    print(obstacle(machine, "HD012", "no longer there|no mounted drive matches"))
    plug_again(machine, machine.folder / "HD012.img", "HD012")
    job_id = prepared(machine, "HD012")
    assert jobs_at_the_service(machine) == jobs + 1
    machine.unplug("HD012")
    assert on_the_medium(machine, "HD012") == signature(machine, "HD012", job_id)


def test_journal_tells_a_jobs_story(machine):
    """By JobId or deviceId, in order, with the priorities of syslog(3)."""
    job_id = str(job(machine, "HD012")["jobId"])

    entries = [
        json.loads(line)
        for line in machine.sh(f"journalctl -o json DRIVEPREP_JOB_ID={job_id}").splitlines()
    ]

    print(*(f"<{one['PRIORITY']}> {one['MESSAGE']}" for one in entries), sep="\n")
    told = "\n".join(one["MESSAGE"] for one in entries)
    parts = ["job created at the service", "SIGNATURE written to", "papers filed in"]
    assert [told.find(part) for part in parts] == sorted(told.find(part) for part in parts)
    assert all(part in told for part in parts)
    assert {one["DRIVEPREP_DEVICE_ID"] for one in entries} == {"HD012"}
    assert {"Submitted", "Signed"} <= {one["DRIVEPREP_STATE"] for one in entries}
    assert {one["PRIORITY"] for one in entries} == {"4", "6"}
    faults = machine.sh("journalctl -b -u driveprep -p err -o cat --no-pager _COMM=driveprep")
    assert "configuration unchanged" in faults
    assert all("configuration unchanged" in line for line in faults.splitlines())


def test_stuck_loop(machine):
    """systemd notices within the minute, and starts it again; so it does after a kill."""
    machine.sh("systemctl kill --kill-whom=main --signal=STOP driveprep")
    wait_for("it is started again", lambda: shown(machine, "NRestarts") == "1", 300)
    status_text(machine, "0 jobs")
    assert "Watchdog timeout" in machine.sh("journalctl -b -u driveprep")

    machine.sh("systemctl kill --kill-whom=main --signal=KILL driveprep")
    wait_for("it is started again", lambda: shown(machine, "NRestarts") == "2")
    status_text(machine, "0 jobs")


def test_reboot(machine):
    """It comes up with the machine; a signed drive stays as it is, a waiting one is prepared."""
    submit(machine, "HD013")
    plug(machine, "HD013")
    prepared(machine, "HD013")
    plug(machine, "HD014")
    submit(machine, "HD014")
    jobs = jobs_at_the_service(machine)

    print(f"rebooted in {machine.reboot():.0f} s")

    wait_for("the service is up", lambda: shown(machine, "ActiveState") == "active", 300)
    prepared(machine, "HD014")
    job_id = prepared(machine, "HD013")
    assert jobs_at_the_service(machine) == jobs + 1
    roots = machine.sh("findmnt -nro TARGET -t fuseblk,ntfs3").split()
    assert len(roots) == 2
    signatures = {machine.sh(f"cat {root}/SIGNATURE") for root in roots}
    assert signature(machine, "HD013", job_id) in signatures
    assert "failed" not in machine.sh("systemctl --failed --no-legend")


def test_uninstall(machine):
    """Spool and configuration stay, and it goes on when it is installed again; until --purge."""
    machine.sh("cd driveprep && scripts/uninstall")
    assert machine.sh_code("systemctl status driveprep")[0] == 4  # no such unit
    assert machine.sh_code("test -e /usr/bin/driveprep -o -e /opt/driveprep")[0] == 1

    machine.sh(INSTALL, seconds=INSTALL_SECONDS)
    machine.sh("systemctl restart emulator")
    status_text(machine, "0 jobs")
    assert prepared(machine, "HD013")

    machine.sh("cd driveprep && scripts/uninstall --purge")
    left = machine.sh(
        "find / -xdev -iname '*driveprep*' -not -path '/root/*' -not -path '/home/*'"
        " -not -path '/proc/*' -not -path '/tmp/*' -not -path '/var/log/*'"
    )
    assert left == ""
    assert "failed" not in machine.sh("systemctl --failed --no-legend")
