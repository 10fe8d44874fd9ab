"""SIGNATURE: its text, and how it gets into the root of a drive, and nowhere else."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.errors import DriveError, InDoubtError
from daemon.system import durable

NAME = "SIGNATURE"
# One fixed name: a crash leaves at most this, and the next try takes it away again.
PARTIAL = ".SIGNATURE.driveprep"
KEYS = frozenset({"version", "signingMethod", "jobId", "signature"})
LIMIT = 64 * 1024  # bytes; the service's text has about 100
TWINS = 10  # names that are told of; there can be 2 ** 9
PROOF = NAME.encode() * 456  # 4,104 bytes: more than NTFS keeps in a file's own record


def text(contents: str, job_id: str) -> str:
    """The file's text for `SignatureFileContents`: outer white space gone, LF, one final LF.

    Raises InDoubtError when it is not the SIGNATURE of `job_id`: the job was made, but this
    answer cannot be used for it.
    """
    lines = contents.strip().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    split = (line.partition(":") for line in lines if line.strip())
    pairs = [(key.strip(), value.strip()) for key, _, value in split]
    values = dict(pairs)
    is_whole = all(values.get(key) for key in KEYS) and len(contents.encode()) < LIMIT
    # A key that comes twice, or a break that only some take for one, is read in two ways.
    is_plain = len(values) == len(pairs) and contents.strip().splitlines() == lines
    if not (is_whole and is_plain) or values["jobId"] != job_id:
        raise InDoubtError(
            f"the service's SIGNATURE text is not that of job {job_id}",
            f"Compare `driveprep show {job_id}` with the service's own records.",
        )
    return "\n".join(lines) + "\n"


def job_id_in(data: bytes) -> str | None:
    """The JobId that a SIGNATURE file names, if it names one."""
    for line in data.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "jobId":
            return value.strip()
    return None


class Root:
    """The root folder of one mounted drive, held by a descriptor.

    Every method raises DriveError, and has then left no litter behind and SIGNATURE whole: the old
    one or the new one, as far as the drive still answers.
    """

    def __init__(self, descriptor: int, mount_point: str, device_number: int) -> None:
        self._descriptor = descriptor
        self._mount_point = mount_point
        self._device_number = device_number

    def found(self) -> bytes | None:
        """What SIGNATURE holds, or None; a link, folder or case twin of it is refused."""
        with self._translated("look at"):
            with os.scandir(self._descriptor) as entries:  # one by one: a root can hold millions
                twins = [entry.name for entry in entries if entry.name.upper() == NAME][:TWINS]
            if not twins:
                return None
            if twins != [NAME]:
                names = ", ".join(sorted(twins))
                raise DriveError(
                    f"{self._mount_point} holds {names}: which one would be read is unknown",
                    f"Remove what is not wanted from {self._mount_point}.",
                )
            return self._read(NAME)

    def prove_writable(self) -> None:
        """Write, sync and remove the temporary name, with more than SIGNATURE needs. Idempotent."""
        with self._translated("write to"):
            self._clear_partial()
            durable.create(self._descriptor, PARTIAL, PROOF)
            durable.discard(self._descriptor, PARTIAL)
            durable.sync(self._descriptor)
            self._check_device()

    def sign(self, signature: str, replaces: bytes | None) -> None:
        """Put SIGNATURE in place of `replaces` (None: of nothing), synced and read back.

        Idempotent: the same text already there is synced and read back, not written again.
        """
        data = signature.encode()
        found = self.found()
        if found not in {data, replaces}:
            raise DriveError(
                f"{self._mount_point}/{NAME} changed while the drive was being prepared",
                "Remove it if it is not wanted.",
            )
        with self._translated("write SIGNATURE to"):
            self._clear_partial()
            self._check_device()
            if found == data:
                self._sync_existing()
            else:
                durable.replace(self._descriptor, NAME, data, partial=PARTIAL, mode=0o644)
            self._check_device()
            if self._read(NAME) != data:
                raise DriveError(
                    f"{self._mount_point}/{NAME} does not read back as written",
                    "Do not ship this drive; check it with its maker's tools.",
                )

    def _read(self, name: str) -> bytes:
        status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != self._device_number:
            raise DriveError(
                f"{self._mount_point}/{name} is not a plain file of this drive",
                f"Look at it with `ls -la {shlex.quote(self._mount_point)}`; remove it if it is not"
                " wanted.",
            )
        return durable.read(self._descriptor, name, LIMIT)

    def _sync_existing(self) -> None:
        descriptor = os.open(NAME, durable.READ, dir_fd=self._descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        durable.sync(self._descriptor)

    def _clear_partial(self) -> None:
        """Take away what a crash of ours left; anything but a plain file there is not ours."""
        try:
            self._read(PARTIAL)
        except FileNotFoundError:
            return
        durable.discard(self._descriptor, PARTIAL)

    def _check_device(self) -> None:
        """The path must still lead to the very file system that the descriptor holds."""
        here = os.stat(self._mount_point, follow_symlinks=False)
        held = os.fstat(self._descriptor)
        if (here.st_dev, here.st_ino) != (held.st_dev, held.st_ino):
            raise DriveError(
                f"{self._mount_point} is no longer the drive it was a moment ago",
                "Leave the drive plugged in until it is said to be safe to remove.",
            )

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DriveError(
                f"cannot {verb} {self._mount_point}: {error.strerror or error}",
                "Check that the drive is plugged in, writable and has room, then plug it in again.",
            ) from error


@contextmanager
def root(mount_point: str, device_number: int) -> Iterator[Root]:
    """The root of the drive with `device_number` at `mount_point`.

    Raises DriveError when something else is mounted there, or nothing any more.
    """
    try:
        descriptor = os.open(mount_point, durable.FOLDER)
    except OSError as error:
        raise DriveError(
            f"cannot open {mount_point}: {error.strerror}",
            "Plug the drive in again; see `driveprep doctor` if the service may not look there.",
        ) from error
    try:
        if os.fstat(descriptor).st_dev != device_number:
            raise DriveError(
                f"the drive that was found at {mount_point} is not there any more",
                "Plug it in again, and mount it.",
            )
        yield Root(descriptor, mount_point, device_number)
    finally:
        os.close(descriptor)
