"""Programs: each gets the environment that was named for it, and nothing of ours."""

import ast
import os
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from daemon.system import programs

TOP = Path(__file__).parents[2]
SECONDS = 10.0  # after that, a test that hangs has failed
PATH = programs.environment("/usr/bin:/bin")
STARTS_A_PROCESS = re.compile(
    r"(subprocess|_posixsubprocess|pty|multiprocessing|asyncio\.create_subprocess)"
    r"|os\.(system|popen|fork|exec|spawn|posix_spawn)"
)


def until(is_so):
    """Wait for a condition."""
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid):
    """Whether a process is running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_output_errors_and_code():
    """All three are collected; the input is what was given."""
    script = "cat; echo oops >&2; exit 3"

    ended = programs.run(["sh", "-c", script], PATH, SECONDS, data=b"x" * 100_000)

    assert (ended.code, ended.errors) == (3, b"oops\n")
    assert ended.output == b"x" * 100_000


def test_a_program_inherits_no_variable(monkeypatch):
    """In each of the four ways, it gets what was named and nothing else."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    dump = ["/usr/bin/env"]
    expected = b"PATH=/usr/bin:/bin\nLC_ALL=C\n"

    assert programs.run(dump, PATH, SECONDS).output == expected
    assert programs.Abandonable().run("sdb1", dump, PATH, SECONDS) == expected
    detached = ["sh", "-c", "env -u PWD -u _ -u OLDPWD -u SHLVL >&2"]
    assert programs.run_detached(detached, PATH, SECONDS).errors == expected


def test_a_background_program_inherits_no_variable(monkeypatch, tmp_path):
    """It runs until it is stopped."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    log = tmp_path / "log"
    with log.open("w") as output:
        running = programs.start(["sh", "-c", "env; echo up; exec sleep 60"], PATH, output)
    until(lambda: "up" in log.read_text())
    assert not running.has_ended()

    running.stop(SECONDS)

    assert running.has_ended()
    assert "AWS" not in log.read_text()


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path):
    """After the limit, nothing of it is left, not even a zombie."""
    script = f"sleep 60 & echo $$ $! > {tmp_path}/pids; wait"

    with pytest.raises(TimeoutError, match=r"sh did not end within 0.5 s"):
        programs.run(["sh", "-c", script], PATH, 0.5)

    shell, child = (tmp_path / "pids").read_text().split()
    assert not Path(f"/proc/{shell}").exists()
    until(lambda: not is_alive(child))


@pytest.mark.parametrize("name", ["driveprep-no-such-program", "/etc/passwd"])
def test_a_program_that_cannot_be_started(name):
    """The caller gets an OSError that is not a TimeoutError."""
    for way in (programs.run, programs.run_detached):
        with pytest.raises(OSError, match=name) as caught:
            way([name], PATH, SECONDS)
        assert not isinstance(caught.value, TimeoutError)


def test_a_program_is_found_by_the_named_path(tmp_path, monkeypatch):
    """Not by ours."""
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert programs.find("mine", PATH) is None
    assert programs.find("mine", {"PATH": str(tmp_path)}) == str(tmp_path / "mine")


def test_a_program_that_can_be_killed_is_not_counted(tmp_path):
    """It is gone after the limit, and the next program for that device runs."""
    probes = programs.Abandonable()

    with pytest.raises(TimeoutError, match=r"did not answer within 0.2 s"):
        probes.run("sdb1", ["/bin/sleep", "60"], PATH, 0.2)

    assert len(probes) == 0
    assert probes.run("sdb1", ["/bin/echo", "here"], PATH, SECONDS) == b"here\n"


def test_a_detached_program_leaves_processes_running(tmp_path):
    """What keeps the pipe open is neither waited for nor killed."""
    script = f"sleep 60 & echo $! > {tmp_path}/pid; echo last >&2"

    ended = programs.run_detached(["sh", "-c", script], PATH, SECONDS)

    child = int((tmp_path / "pid").read_text())
    assert (ended.code, ended.errors) == (0, b"last\n")
    assert is_alive(child)
    os.kill(child, 9)
    until(lambda: not any(thread.name == "leftover" for thread in threading.enumerate()))


def test_the_last_of_many_errors_is_kept():
    """The end of the error output arrives, even if the program ends right after it."""
    for _ in range(20):
        ended = programs.run_detached(
            ["sh", "-c", "yes x | head -n 50000 >&2; echo end >&2"], PATH, SECONDS
        )
        assert ended.errors.endswith(b"x\nend\n")
        assert len(ended.errors) == programs.LAST_BYTES


def starts(tree):
    """The places in a module where a process could be started."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=module, names=names):
                modules = [f"{module}.{name.name}" for name in names] + [str(module)]
            case ast.Attribute(value=ast.Name(id="os"), attr=attr):
                modules = [f"os.{attr}"]
            case _:
                continue
        for module in modules:
            if STARTS_A_PROCESS.match(module):
                yield node.lineno, module


def test_no_other_module_starts_a_process():
    """Only system/programs.py does; there, each call names the environment and avoids the shell."""
    found = {
        (str(path.relative_to(TOP)), line, what)
        for path in (TOP / "daemon").rglob("*.py")
        for line, what in starts(ast.parse(path.read_text("utf-8")))
    }

    assert {path for path, _, _ in found} == {"daemon/system/programs.py"}
    tree = ast.parse((TOP / "daemon/system/programs.py").read_text("utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.Popen"
    ]
    assert len(calls) == 4
    for call in calls:
        assert {"env"} <= {word.arg for word in call.keywords}
        assert not {"shell", "executable"} & {word.arg for word in call.keywords}
    assert {what for _, _, what in found} == {"subprocess", "os.execve"}


@pytest.mark.parametrize(
    "text",
    ["import subprocess as s", "from os import system", "import os; os.execvp('x', [])"],
)
def test_the_search_for_processes_finds_them(text):
    """Each usual way to start one is noticed."""
    assert list(starts(ast.parse(text)))


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Programs that append their environment to a file, on every path that we search."""
    folder = tmp_path / "bin"
    folder.mkdir()
    names = ("blkid", "ntfs-3g.probe", "systemctl", "mount.ntfs-3g", "udevadm")
    for name in names:
        program = folder / name
        dump = f"/usr/bin/env > {tmp_path}/seen-{name}-$$"
        program.write_text(f"#!/bin/sh\n{dump}\necho ID_FS_TYPE=ntfs\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")

    def seen():
        return {
            path.name.rpartition("-")[0].removeprefix("seen-"): path.read_text()
            for path in tmp_path.glob("seen-*")
        }

    return folder, seen


# A machine with one NTFS device that is not mounted, and with systemd; then a command.
COMMAND = """
import pathlib, sys
from daemon.cli import main
from daemon.cli.doctor import machine
from daemon.drives import mounts, probes, sysfs
from daemon.system import programs
folder, *arguments = sys.argv[1:]
programs.SYSTEM = {**programs.SYSTEM, "PATH": folder + "/bin"}
mounts.PROC_MOUNTINFO = pathlib.Path(folder, "mountinfo")
sysfs.SYS_CLASS_BLOCK = pathlib.Path(folder, "block")
sysfs.SYS_DEV_BLOCK = pathlib.Path(folder, "by-number")
sysfs.PROC_SWAPS = pathlib.Path(folder, "swaps")
probes.UDEV_DATA = pathlib.Path(folder, "none")
machine.SYSTEMD = pathlib.Path(folder)
sys.argv[1:] = arguments
main()
"""


@pytest.fixture
def command(tmp_path, stand_ins):
    """Run a command of driveprep on a machine with one unmounted NTFS drive."""
    device = tmp_path / "block" / "sdb"
    device.mkdir(parents=True)
    (tmp_path / "by-number").mkdir()
    (tmp_path / "by-number" / "8:16").symlink_to(device)
    (tmp_path / "node").touch()
    name = f"../{tmp_path}/node"
    files = {"uevent": f"MAJOR=8\nMINOR=16\nDEVTYPE=disk\nDEVNAME={name}\nDISKSEQ=7\n"}
    for file, text in {**files, "size": "2048", "ro": "0"}.items():
        (device / file).write_text(f"{text}\n")
    (tmp_path / "mountinfo").write_text("27 1 254:0 / / rw - overlay none rw\n")
    (tmp_path / "spool").mkdir()
    config = tmp_path / "config.yml"
    config.write_text(f"endpoint: http://127.0.0.1:9\nspool: {tmp_path}/spool\n")

    def run(*arguments):
        line = [sys.executable, "-c", COMMAND, str(tmp_path), *arguments, "--config", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        ended = programs.run(line, environment, 60)
        return (ended.output + ended.errors).decode()

    return run


def test_no_command_hands_on_the_secret_key(command, stand_ins):
    """What `drives` and `doctor` run gets PATH and the language, not an exported AWS key."""
    _, seen = stand_ins

    assert "mount it" in command("drives", "--json")
    assert {"blkid", "ntfs-3g.probe"} <= seen().keys()
    assert "driveprep.service" not in command("doctor")
    assert "systemctl" in seen()

    for name, text in seen().items():
        shown = {line.partition("=")[0] for line in text.splitlines()}
        assert {"PATH", "LC_ALL"} <= shown <= {"PATH", "LC_ALL", "PWD", "_", "OLDPWD", "SHLVL"}, (
            name
        )
