"""SIGNATURE: its text, and its way into the root of one drive and nowhere else."""

import errno
import os
from contextlib import contextmanager, nullcontext, suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_drive import mount, mounted, needs_root
from os_calls import failing, killed, recorded

from daemon.drives import signature
from daemon.drives.signature import FILE_NAME, PARTIAL_NAME
from daemon.errors import DriveError, InDoubtError

TEXT = "version:2.0\nsigningMethod:HmacSHA1\njobId:K7M3X\nsignature:zOjsbR+r4qmmxYRUiceu+1zWfCM=\n"
OLD = TEXT.replace("K7M3X", "AAAAA")


@contextmanager
def opened(drive):
    """The root of what is mounted at `drive`, known by its own device number."""
    with signature.root(str(drive), drive.stat().st_dev) as root:
        yield root


@pytest.fixture
def drive(tmp_path):
    """A folder in the place of a drive."""
    (tmp_path / "HD001").mkdir()
    return tmp_path / "HD001"


def mode_of(path):
    """Its permissions, as chmod takes them."""
    return path.stat().st_mode & 0o7777


# The text


@pytest.mark.parametrize(
    "contents",
    [
        TEXT,
        TEXT.rstrip(),
        f"\n    {TEXT}\n  \n",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        f"\ufeff{TEXT}".lstrip("\ufeff"),
    ],
)
def test_text_as_it_comes(contents):
    """Outer white space goes, every line ends in LF, the last one too; the rest is as it came."""
    assert signature.text(contents, "K7M3X") == TEXT


def test_text_with_more_than_four_keys():
    """What the service adds to the four keys is kept."""
    contents = TEXT + "remark: spaces  stay\n"

    assert signature.text(contents, "K7M3X") == contents


@pytest.mark.parametrize("key", ["version", "signingMethod", "jobId", "signature"])
@pytest.mark.parametrize("more", ["", "remark:x\n"])
def test_text_wants_each_of_four_keys(key, more):
    """A text without one of the four keys, or without its value, is not SIGNATURE's."""
    without = "".join(line for line in TEXT.splitlines(True) if not line.startswith(f"{key}:"))
    empty = f"{without}{key}:  \n"

    for contents in (without + more, empty + more):
        with pytest.raises(InDoubtError, match="not that of job K7M3X"):
            signature.text(contents, "K7M3X")


@pytest.mark.parametrize("job_id", ["AAAAA", "k7m3x", "", "K7M3X-VALIDATE-ONLY"])
def test_text_of_another_job(job_id):
    """A text that names another job is refused, and so is a response without any text."""
    with pytest.raises(InDoubtError):
        signature.text(TEXT, job_id)
    with pytest.raises(InDoubtError):
        signature.text("", job_id)


def test_text_beyond_reason():
    """A text that is longer than would be read back is refused, counted in bytes."""
    with pytest.raises(InDoubtError):
        signature.text(TEXT + "remark:" + "Ä" * (signature.MAX_SIGNATURE_BYTES // 2), "K7M3X")

    remark = "remark:" + "x" * (64 * 1024 - len(TEXT) - 9)
    assert signature.text(f"{TEXT}{remark}\n", "K7M3X") == f"{TEXT}{remark}\n"
    with pytest.raises(InDoubtError):
        signature.text(f"{TEXT}{remark}x\n", "K7M3X")


@given(st.text())
def test_text_is_settled(contents):
    """Any text is refused, or becomes one that is made nothing else of and names the job."""
    try:
        text = signature.text(f"{contents}\n{TEXT}", "K7M3X")
    except InDoubtError:
        return

    assert signature.text(text, "K7M3X") == text
    assert "\r" not in text
    assert text.endswith(TEXT)


@pytest.mark.parametrize(
    ("data", "job_id"),
    [
        (TEXT.encode(), "K7M3X"),
        (b"\xff\xfe\njobId: K7M3X\r\n", "K7M3X"),
        (b"jobId\nJobId:AAAAA\n", None),
        (b"", None),
        (b"jobId:", ""),
    ],
)
def test_job_id_in_what_is_found(data, job_id):
    """The JobId that a file names is found whatever else the file holds."""
    assert signature.job_id_in(data) == job_id


# The root


def test_root_of_another_drive(drive):
    """A mount point that leads to another device than the one found there is refused."""
    with (
        pytest.raises(DriveError, match="is no longer there"),
        signature.root(str(drive), drive.stat().st_dev + 1),
    ):
        pass


def test_root_that_is_no_folder(drive):
    """A mount point that has gone, or is a link or a file, is refused."""
    (drive / "link").symlink_to(drive)
    (drive / "file").write_text("")

    for name in ("gone", "link", "file"):
        with (
            pytest.raises(DriveError, match=f"cannot open .*{name}"),
            signature.root(str(drive / name), 0),
        ):
            pass


# What is found


def test_found(drive):
    """A drive without SIGNATURE has none; one with it is read."""
    with opened(drive) as root:
        assert root.found() is None
        (drive / FILE_NAME).write_text(TEXT)
        (drive / "SIGNATURE.txt").write_text("another name")
        assert root.found() == TEXT.encode()


@pytest.mark.parametrize("names", [["signature"], ["SIGNATURE", "Signature"], ["sIGNATURE"]])
def test_found_case_twins(drive, names):
    """Names that Windows takes for the same are refused and named."""
    for name in names:
        (drive / name).write_text(TEXT)

    with opened(drive) as root:
        for act in (root.found, lambda: root.sign(TEXT, None)):
            with pytest.raises(DriveError, match=f"contains {', '.join(names)}:"):
                act()
    assert sorted(os.listdir(drive)) == sorted(names)


MAKE = {
    "link": lambda path: path.symlink_to("elsewhere"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("kind", MAKE)
def test_signature_that_is_no_file(drive, kind):
    """A link, folder or FIFO of that name is refused and stays, and where it leads, too."""
    (drive / "elsewhere").write_text(TEXT)
    MAKE[kind](drive / FILE_NAME)
    before = (drive / FILE_NAME).lstat()

    with opened(drive) as root:
        for act in (root.found, lambda: root.sign(TEXT, None), lambda: root.sign(TEXT, b"x")):
            with pytest.raises(DriveError, match="SIGNATURE is not a regular file on this drive"):
                act()

    assert (drive / FILE_NAME).lstat().st_ino == before.st_ino
    assert sorted(os.listdir(drive)) == [FILE_NAME, "elsewhere"]
    assert (drive / "elsewhere").read_text() == TEXT


@pytest.mark.parametrize("kind", MAKE)
def test_partial_that_is_no_file(drive, kind):
    """A link, folder or FIFO with the temporary name is refused and not touched."""
    (drive / "elsewhere").write_text("untouched")
    MAKE[kind](drive / PARTIAL_NAME)
    before = (drive / PARTIAL_NAME).lstat()

    with opened(drive) as root:
        for act in (root.prove_writable, lambda: root.sign(TEXT, None)):
            with pytest.raises(DriveError, match="driveprep is not a regular file"):
                act()

    assert (drive / PARTIAL_NAME).lstat().st_ino == before.st_ino
    assert (drive / "elsewhere").read_text() == "untouched"
    assert sorted(os.listdir(drive)) == sorted([PARTIAL_NAME, "elsewhere"])


# Signing


def test_sign(drive):
    """SIGNATURE is written and synced under another name, renamed, and its folder synced."""
    with opened(drive) as root:
        calls = recorded(lambda: root.sign(TEXT, None))

    assert calls == ["unlink", "open", "write", "fsync", "rename", "fsync", "fsync"]
    assert (drive / FILE_NAME).read_bytes() == TEXT.encode()
    assert mode_of(drive / FILE_NAME) == 0o644  # where the file system keeps it
    assert os.listdir(drive) == [FILE_NAME]


def test_sign_twice(drive):
    """The same text is written again: after a power cut, text alone proves nothing."""
    with opened(drive) as root:
        root.sign(TEXT, None)

        for replaces in (None, TEXT.encode()):
            calls = recorded(lambda: root.sign(TEXT, replaces))  # noqa: B023
            assert calls == ["unlink", "open", "write", "fsync", "rename", "fsync", "fsync"]

    assert (drive / FILE_NAME).read_text() == TEXT
    assert mode_of(drive / FILE_NAME) == 0o644
    assert os.listdir(drive) == [FILE_NAME]


def test_a_file_that_no_listing_shows_is_not_replaced(drive, monkeypatch):
    """A mount can hide it: it is found by its name, and the last step cannot replace it either."""
    (drive / FILE_NAME).write_text(OLD)
    monkeypatch.setattr(os, "scandir", lambda descriptor: nullcontext(()))

    with opened(drive) as root:
        assert root.found() == OLD.encode()
        monkeypatch.setattr(root, "found", lambda: None)
        with pytest.raises(DriveError, match="File exists"):
            root.sign(TEXT, None)

    assert (drive / FILE_NAME).read_text() == OLD
    monkeypatch.undo()
    assert os.listdir(drive) == [FILE_NAME]


def test_a_damaged_signature_is_found_before_a_job_is_made(drive):
    """One that can be read but not replaced (ENOENT) is named, with what mends it."""
    (drive / FILE_NAME).write_text(OLD)
    with opened(drive) as root:
        calls = recorded(lambda: root.prove_writable(OLD.encode()))
        number = calls.index("rename") + 1 + 1  # and an open for reading
        with failing(number, errno.ENOENT), pytest.raises(DriveError, match="is damaged") as caught:
            root.prove_writable(OLD.encode())

    assert caught.value.code == "drive-damaged"
    assert "chkdsk" in caught.value.hint
    assert (drive / FILE_NAME).read_text() == OLD


def test_an_old_signature_is_proved_replaceable(drive):
    """Before a job is made for the drive, it is replaced by its own text."""
    (drive / FILE_NAME).write_text(OLD)

    with opened(drive) as root:
        calls = recorded(lambda: root.prove_writable(OLD.encode()))

    assert calls[-5:] == ["write", "fsync", "rename", "fsync", "fsync"]
    assert (drive / FILE_NAME).read_text() == OLD
    assert os.listdir(drive) == [FILE_NAME]


def test_sign_replaces_only_what_was_said(drive):
    """The old SIGNATURE that was named is replaced; any other is refused and stays."""
    (drive / FILE_NAME).write_text(OLD)

    with opened(drive) as root:
        for replaces in (None, b"", b"another"):
            with pytest.raises(DriveError, match="changed while"):
                root.sign(TEXT, replaces)
            assert (drive / FILE_NAME).read_text() == OLD

        root.sign(TEXT, OLD.encode())
    assert (drive / FILE_NAME).read_text() == TEXT
    assert os.listdir(drive) == [FILE_NAME]


def test_sign_where_the_old_one_has_gone(drive):
    """If the SIGNATURE to be replaced has disappeared meanwhile, no other one is written."""
    with opened(drive) as root, pytest.raises(DriveError, match="changed while"):
        root.sign(TEXT, OLD.encode())

    assert os.listdir(drive) == []


@pytest.mark.parametrize("before", [None, OLD])
def test_sign_after_any_death(drive, before):
    """Wherever the process dies, SIGNATURE is old or new and whole; the next try ends it clean."""

    def sign():
        with opened(drive) as root:
            root.sign(TEXT, root.found())

    for number in count(1):
        (drive / FILE_NAME).unlink(missing_ok=True)
        if before:
            (drive / FILE_NAME).write_text(before)
        if not killed(sign, number):
            break
        left = (drive / FILE_NAME).read_text() if (drive / FILE_NAME).exists() else None
        assert left in {before, TEXT}
        sign()
        assert os.listdir(drive) == [FILE_NAME]
        assert (drive / FILE_NAME).read_text() == TEXT

    assert number > 6


@pytest.mark.parametrize("before", [None, OLD])
def test_sign_fails_clean(drive, before):
    """Any failing call is reported; no litter stays, and SIGNATURE is the old or the new one."""
    for number in count(1):
        (drive / FILE_NAME).unlink(missing_ok=True)
        if before:
            (drive / FILE_NAME).write_text(before)
        with opened(drive) as root, failing(number):
            try:
                root.sign(TEXT, before.encode() if before else None)
                break
            except DriveError as error:
                reported = str(error)
        assert reported.endswith("Input/output error")
        assert set(os.listdir(drive)) <= {FILE_NAME}
        assert not (drive / FILE_NAME).exists() or (drive / FILE_NAME).read_text() in {before, TEXT}

    assert number > 6


def test_sign_on_a_drive_that_lies(drive, monkeypatch):
    """A SIGNATURE that does not read back as written is reported."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda it, data: real(it, bytes(data).replace(b"K", b"X")))

    with opened(drive) as root, pytest.raises(DriveError, match="does not read back as written"):
        root.sign(TEXT, None)


# Proof before the job is made


def test_prove_writable(drive):
    """The proof is written, synced, removed and the removal synced; what was there stays."""
    (drive / FILE_NAME).write_text(OLD)
    (drive / PARTIAL_NAME).write_text("of a crash")

    with opened(drive) as root:
        calls = recorded(root.prove_writable)

    assert calls == ["unlink", "open", "write", "fsync", "unlink", "fsync"]
    assert os.listdir(drive) == [FILE_NAME]
    assert (drive / FILE_NAME).read_text() == OLD


def test_prove_writable_after_any_death(drive):
    """Wherever the process dies, the next proof leaves nothing of both."""

    def prove():
        with opened(drive) as root:
            root.prove_writable()

    for number in count(1):
        if not killed(prove, number):
            break
        assert set(os.listdir(drive)) <= {PARTIAL_NAME}
        prove()
        assert os.listdir(drive) == []

    assert number > 5


def test_prove_writable_fails_clean(drive):
    """A failed proof is reported; its file stays only if the removal itself failed."""
    with opened(drive) as root:
        calls = recorded(root.prove_writable)
        for number, call in enumerate(calls, 1):
            with failing(number, errno.ENOSPC), pytest.raises(DriveError, match="No space left"):
                root.prove_writable()
            assert os.listdir(drive) == ([PARTIAL_NAME] if call == "unlink" else [])
            (drive / PARTIAL_NAME).unlink(missing_ok=True)

    assert calls == ["open", "write", "fsync", "unlink", "fsync"]


# Real file systems


@needs_root
def test_full_drive(tmp_path):
    """A full drive is refused before and while signing, its old SIGNATURE stays, no litter does."""
    with mounted(tmp_path / "drive", "size=64k") as drive, opened(drive) as root:
        (drive / FILE_NAME).write_text(OLD)
        fill(drive / "rest")

        for act in (root.prove_writable, lambda: root.sign(TEXT, OLD.encode())):
            with pytest.raises(DriveError, match="No space left on device") as caught:
                act()
            assert caught.value.code == "drive-full"

        assert sorted(os.listdir(drive)) == [FILE_NAME, "rest"]
        assert (drive / FILE_NAME).read_text() == OLD


def fill(path):
    """Write to a new file until the disk is full."""
    with path.open("wb") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), b"x" * 4096)


@needs_root
def test_drive_without_room_for_a_name(tmp_path):
    """A drive that can take no other file is refused before any job is made for it."""
    with mounted(tmp_path / "drive", "nr_inodes=3") as drive, opened(drive) as root:
        (drive / "1").touch()
        root.prove_writable()
        (drive / "2").touch()

        with pytest.raises(DriveError, match="No space left on device"):
            root.prove_writable()
        assert sorted(os.listdir(drive)) == ["1", "2"]


@needs_root
def test_read_only_drive(tmp_path):
    """A drive that is read-only is refused before anything is written."""
    with mounted(tmp_path / "drive") as drive, opened(drive) as root:
        mount("-o", "remount,ro", str(drive))

        for act in (root.prove_writable, lambda: root.sign(TEXT, None)):
            with pytest.raises(DriveError, match="Read-only file system") as caught:
                act()
            assert caught.value.code == "read-only"
        assert root.found() is None


@needs_root
def test_signature_of_another_file_system(tmp_path):
    """A plain file that another file system shows under that name is not of this drive."""
    with mounted(tmp_path / "drive") as drive, opened(drive) as root:
        (drive / FILE_NAME).write_text("below")
        (tmp_path / "other").write_text(TEXT)
        mount("--bind", str(tmp_path / "other"), str(drive / FILE_NAME))

        with pytest.raises(DriveError, match="not a regular file on this drive"):
            root.found()


@needs_root
@pytest.mark.parametrize("act", ["prove_writable", "sign"])
def test_drive_replaced_by_another(tmp_path, act):
    """Where another drive was mounted over the held one, it is refused, and neither has litter."""
    acts = {"prove_writable": lambda root: root.prove_writable(), "sign": _sign}

    with mounted(tmp_path / "drive") as drive, opened(drive) as root, mounted(tmp_path / "drive"):
        with pytest.raises(DriveError, match="no longer the same drive"):
            acts[act](root)
        assert os.listdir(drive) == []
        assert root.found() is None
        assert os.listdir(f"/proc/self/fd/{root._descriptor}") == []


@needs_root
def test_an_old_signature_on_a_drive_that_was_replaced_is_left_alone(tmp_path):
    """It is not written again to a drive that its path leads to no more."""
    with mounted(tmp_path / "drive") as drive, opened(drive) as root:
        root.sign(OLD, None)
        written = os.stat(FILE_NAME, dir_fd=root._descriptor)

        with mounted(tmp_path / "drive"), pytest.raises(DriveError, match="no longer the same"):
            root.prove_writable(OLD.encode())

        assert os.stat(FILE_NAME, dir_fd=root._descriptor).st_ino == written.st_ino


@needs_root
def test_drive_taken_away(tmp_path):
    """A drive that was unmounted while held is refused, and the folder below gets nothing."""
    with mounted(tmp_path / "drive") as drive, opened(drive) as root:
        assert os.system(f"umount -l {drive}") == 0

        with pytest.raises(DriveError, match="no longer the same drive"):
            _sign(root)
        assert os.listdir(drive) == []


def _sign(root):
    root.sign(TEXT, None)
