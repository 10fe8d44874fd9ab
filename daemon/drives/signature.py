"""SIGNATURE: its text, and how it is written to the root of a drive, and nowhere else."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.errors import DriveError, InDoubtError
from daemon.system import durable

FILE_NAME = "SIGNATURE"
# One fixed name: a crash leaves at most this file, and the next try removes it.
PARTIAL_NAME = ".SIGNATURE.driveprep"
SIGNATURE_KEYS = frozenset({"version", "signingMethod", "jobId", "signature"})
MAX_SIGNATURE_BYTES = 64 * 1024  # the service's text has about 100
MAX_TWINS = 10  # names that are listed; there can be 2 ** 9
CODES = {errno.ENOSPC: "drive-full", errno.EROFS: "read-only"}
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
                twins = [entry.name for entry in entries if entry.name.upper() == FILE_NAME]
            if not twins:
                return None
            if twins != [FILE_NAME]:
                names = ", ".join(sorted(twins[:MAX_TWINS]))
                raise DriveError(
                    f"{self._mount_point} contains {names}: it is unclear which one the service"
                    " would read",
                    f"Remove the files that you do not need from {self._mount_point}.",
                    code="signature-case-twin",
                )
            return self._read(FILE_NAME)

    def prove_writable(self) -> None:
        """Write, sync and remove a temporary file that is larger than SIGNATURE. Idempotent."""
        with self._translated("write to"):
            self._clear_partial()
            durable.create(self._descriptor, PARTIAL_NAME, PROOF)
            durable.discard(self._descriptor, PARTIAL_NAME)
            durable.sync(self._descriptor)
            self._check_device()

    def sign(self, signature: str, replaces: bytes | None) -> None:
        """Write SIGNATURE in place of `replaces` (None: there is none), sync it and read it back.

        Idempotent: if the same text is already there, it is synced and read back, not rewritten.
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
            if found == data:
                self._sync_existing()
            else:
                durable.replace(self._descriptor, FILE_NAME, data, partial=PARTIAL_NAME, mode=0o644)
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

    def _sync_existing(self) -> None:
        descriptor = os.open(FILE_NAME, durable.READ, dir_fd=self._descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync(self._descriptor)

    def _clear_partial(self) -> None:
        """Remove what a crash of ours left; anything but a regular file is not ours."""
        try:
            self._read(PARTIAL_NAME)
        except FileNotFoundError:
            return
        durable.discard(self._descriptor, PARTIAL_NAME)

    def _check_device(self) -> None:
        """Check that the path still leads to the same file system that the descriptor holds."""
        here = os.stat(self._mount_point, follow_symlinks=False)
        held = os.fstat(self._descriptor)
        if (here.st_dev, here.st_ino) != (held.st_dev, held.st_ino):
            raise DriveError(
                f"{self._mount_point} is no longer the same drive as a moment ago",
                "Leave the drive plugged in until driveprep reports it as safe to remove.",
                code="drive-changed",
            )

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DriveError(
                f"cannot {verb} {self._mount_point}: {error.strerror or error}",
                "Check that the drive is plugged in, is writable and has free space, then plug it"
                " in again.",
                code=CODES.get(error.errno or 0, "drive-io-error"),
            ) from error


@contextmanager
def root(mount_point: str, device_number: int) -> Iterator[Root]:
    """The root of the drive with `device_number` at `mount_point`.

    Raises DriveError if something else is mounted there, or nothing.
    """
    try:
        descriptor = os.open(mount_point, durable.FOLDER)
    except OSError as error:
        raise DriveError(
            f"cannot open {mount_point}: {error.strerror}",
            "Plug the drive in again. `driveprep doctor` checks whether the service may read that"
            " folder.",
            code="drive-not-opened",
        ) from error
    try:
        if os.fstat(descriptor).st_dev != device_number:
            raise DriveError(
                f"the drive that was found at {mount_point} is no longer there",
                "Plug it in again and mount it.",
                code="drive-changed",
            )
        yield Root(descriptor, mount_point, device_number)
    finally:
        os.close(descriptor)
