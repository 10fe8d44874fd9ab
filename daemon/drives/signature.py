"""SIGNATURE: its text, and how it is written to the root of a drive, and nowhere else."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.drives.checks import DRIVER_DIED, failed
from daemon.drives.medium import contents
from daemon.drives.medium.contents import OURS, Contents
from daemon.errors import DriveError, InDoubtError
from daemon.system import durable

if TYPE_CHECKING:
    from daemon.drives.drive import Drive

# The temporary file has one fixed name: a crash leaves no more, and the next try removes it.
FILE_NAME, PARTIAL_NAME = OURS
SIGNATURE_KEYS = frozenset({"version", "signingMethod", "jobId", "signature"})
MAX_SIGNATURE_BYTES = 64 * 1024  # the service's text has about 100
MAX_TWINS = 10  # names that are listed; there can be 2 ** 9
DAMAGED = (
    "A power cut can leave the name of a file in its folder but not in its own record (NTFS). Let"
    " Windows check the drive (`chkdsk /f`). A drive without data is best made again by `driveprep"
    " format`."
)
PROOF = FILE_NAME.encode() * 456  # 4,104 bytes: more than NTFS stores in a file's own record


def text(contents: str, job_id: str) -> str:
    """The file's text for `SignatureFileContents`: stripped, with LF line ends and one final LF.

    Raises InDoubtError if it is not the SIGNATURE of `job_id`: the job exists, but this response
    cannot be used for it.
    """
    lines = contents.strip().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    split = (line.partition(":") for line in lines if line.strip())
    pairs = [(key.strip(), value.strip()) for key, _, value in split]
    values = dict(pairs)
    is_whole = all(values.get(key) for key in SIGNATURE_KEYS)
    is_whole = is_whole and len(contents.encode()) < MAX_SIGNATURE_BYTES
    # A repeated key, or a character that only some parsers treat as a line break, is ambiguous.
    is_plain = len(values) == len(pairs) and contents.strip().splitlines() == lines
    if not (is_whole and is_plain) or values["jobId"] != job_id:
        raise InDoubtError(
            f"the SIGNATURE text from the service is not that of job {job_id}",
            f"Compare `driveprep show {job_id}` with the service's own records.",
            code="signature-text-unusable",
        )
    return "\n".join(lines) + "\n"


def job_id_in(data: bytes) -> str | None:
    """The JobId in a SIGNATURE file, if there is one."""
    for line in data.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "jobId":
            return value.strip()
    return None


class Root:
    """The root folder of one mounted drive, held by a descriptor.

    Every method raises DriveError. It has then left no temporary file behind, and SIGNATURE is
    complete, either the old one or the new one, as far as the drive still responds.
    """

    def __init__(self, descriptor: int, mount_point: str, device_number: int) -> None:
        self._descriptor = descriptor
        self._mount_point = mount_point
        self._device_number = device_number

    def found(self) -> bytes | None:
        """The contents of SIGNATURE, or None if there is none.

        Raises DriveError if it is a link or folder, or if its name also exists in another case.
        """
        with self._translated("read"):
            with os.scandir(self._descriptor) as entries:  # one by one: a root can hold millions
                names = [entry.name for entry in entries if entry.name.upper() == FILE_NAME]
            inode = self._inode(FILE_NAME)
            if twins := [name for name in names if name != FILE_NAME]:
                self._check_twins(twins, inode)
            # A listing does not prove absence: mount options can hide the file.
            return None if inode is None else self._read(FILE_NAME)

    def _inode(self, name: str) -> int | None:
        """Return the inode number of a name in the root; None if there is no such name."""
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_ino
        except FileNotFoundError:
            return None

    def _check_twins(self, twins: list[str], inode: int | None) -> None:
        """Raise DriveError unless the only twin is SIGNATURE itself.

        A mount that ignores case (lowntfs-3g) can list SIGNATURE under another spelling.
        """
        if len(twins) == 1 and inode is not None and self._inode(twins[0]) == inode:
            return
        names = ", ".join(sorted(twins[:MAX_TWINS] + [FILE_NAME] * (inode is not None)))
        raise DriveError(
            f"{self._mount_point} contains {names}: it is unclear which one the service would read",
            f"Remove the files that you do not need from {self._mount_point}.",
            code="signature-case-twin",
        )

    def contents(self) -> Contents:
        """What is on the drive, as far as its root shows it."""
        with self._translated("read"):
            return contents.read(self._descriptor)

    def prove_writable(self, replaces: bytes | None = None) -> None:
        """Prove that SIGNATURE can be written in place of `replaces`. Idempotent.

        A temporary file that is larger than SIGNATURE is written, synced and removed. An old
        SIGNATURE is replaced by its own text, because a damaged one cannot be.
        """
        with self._translated("write to"):
            self._clear_partial()
            durable.create(self._descriptor, PARTIAL_NAME, PROOF)
            durable.discard(self._descriptor, PARTIAL_NAME)
            durable.sync(self._descriptor)
            if replaces is not None:
                self._check_device()
                self._replace(replaces)
            self._check_device()

    def sign(self, signature: str, replaces: bytes | None) -> None:
        """Write SIGNATURE in place of `replaces` (None: there is none), sync it and read it back.

        Idempotent. The same text is written again, too: after a power cut the text of a file is no
        proof that its record is right.
        """
        data = signature.encode()
        found = self.found()
        if found not in {data, replaces}:
            raise DriveError(
                f"{self._mount_point}/{FILE_NAME} changed while the drive was being prepared",
                "Remove it if you do not need it.",
                code="signature-changed",
            )
        with self._translated("write SIGNATURE to"):
            self._clear_partial()
            self._check_device()
            if found is None:
                durable.add(self._descriptor, FILE_NAME, data, partial=PARTIAL_NAME, mode=0o644)
            else:
                self._replace(data)
            self._check_device()
            if self._read(FILE_NAME) != data:
                raise DriveError(
                    f"{self._mount_point}/{FILE_NAME} does not read back as written",
                    "Do not ship this drive; check it with its manufacturer's tools.",
                    code="not-read-back",
                )

    def _read(self, name: str) -> bytes:
        status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != self._device_number:
            raise DriveError(
                f"{self._mount_point}/{name} is not a regular file on this drive",
                f"Check it with `ls -la {shlex.quote(self._mount_point)}`, and remove it if you do"
                " not need it.",
                code="not-a-regular-file",
            )
        return durable.read(self._descriptor, name, MAX_SIGNATURE_BYTES)

    def _replace(self, data: bytes) -> None:
        with self._damage_noticed(FILE_NAME):
            durable.replace(self._descriptor, FILE_NAME, data, partial=PARTIAL_NAME, mode=0o644)

    def _clear_partial(self) -> None:
        """Remove what a crash of ours left; anything but a regular file is not ours."""
        try:
            self._read(PARTIAL_NAME)
        except FileNotFoundError:
            return
        with self._damage_noticed(PARTIAL_NAME):
            os.unlink(PARTIAL_NAME, dir_fd=self._descriptor)

    def _check_device(self) -> None:
        """Check that the path still leads to the same file system that the descriptor holds."""
        if not self._is_here():
            raise DriveError(
                f"{self._mount_point} is no longer the same drive as a moment ago",
                "Leave the drive plugged in until driveprep reports it as safe to remove.",
                code="drive-changed",
            )

    def _is_here(self) -> bool:
        held = os.fstat(self._descriptor)
        try:
            here = os.stat(self._mount_point, follow_symlinks=False)
        except FileNotFoundError:  # the folder has gone with the mount
            return False
        return (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino)

    @contextmanager
    def _damage_noticed(self, name: str) -> Iterator[None]:
        """Report a file that can be read, but not removed or replaced (ENOENT)."""
        try:
            yield
        except FileNotFoundError as error:
            raise DriveError(
                f"the file system at {self._mount_point} is damaged: {name} can be read, but not"
                " removed or replaced",
                DAMAGED,
                code="drive-damaged",
            ) from error

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise failed(verb, self._mount_point, error) from error


def problem(drive: Drive, expected: str) -> str:
    """Return why a mounted drive does not have the SIGNATURE `expected`; "" if it has.

    Reads the drive, so it can hang with it.
    """
    try:
        with root(drive.mount_point, drive.device_number) as held:
            found = held.found()
    except DriveError as error:
        return str(error)
    if found is None:
        return "its SIGNATURE is missing"
    return "" if found == expected.encode() else "its SIGNATURE is not that of its job"


@contextmanager
def root(mount_point: str, device_number: int) -> Iterator[Root]:
    """The root of the drive with `device_number` at `mount_point`.

    Raises DriveError if something else is mounted there, or nothing.
    """
    try:
        descriptor = os.open(mount_point, durable.FOLDER)
    except OSError as error:
        if error.errno in DRIVER_DIED:
            raise failed("open", mount_point, error) from error
        raise DriveError(
            f"cannot open {mount_point}: {error.strerror}",
            "Plug the drive in again. `driveprep doctor` checks whether the service may read that"
            " folder.",
            code="drive-not-opened",
        ) from error
    try:
        if _device_of(descriptor, mount_point) != device_number:
            raise DriveError(
                f"the drive that was found at {mount_point} is no longer there",
                "Plug it in again and mount it.",
                code="drive-changed",
            )
        yield Root(descriptor, mount_point, device_number)
    finally:
        os.close(descriptor)


def _device_of(descriptor: int, mount_point: str) -> int:
    try:
        return os.fstat(descriptor).st_dev
    except OSError as error:  # the driver has died since
        raise failed("read", mount_point, error) from error
