"""Every error of driveprep, grouped by who has to act. Imports nothing of the package.

DriveprepError
    DocumentError               a text with positions has faults
        ConfigError             the administrator
        ManifestError           the person who dropped the manifest
    DriveError                  the person who plugged the drive in
        DriveAbsentError        no one yet: the drive is not here
    ServiceError                the service, or the network path to it
        RefusedError            a 4xx response: proof that nothing was made
            ManifestRefusedError        the person who dropped the manifest
            CredentialsRefusedError     the administrator
            ClockRefusedError           the administrator: the clock is wrong
            JobRefusedError             the person who named that JobId
            RequestRefusedError         the developers: a request the service cannot read
            TryLaterError               no one: throttled, or the daily limit is reached
        InDoubtError            no usable response: the service may or may not have acted
        UnreachableError        the connection was never opened: nothing was sent
    PoolError                   the person who runs the stations: the pool forbids the step
        PoolAwayError           no one: its database does not answer
    SpoolError                  the administrator: a file or folder of the spool cannot be used
    StaleJobError               no one: the job moved on, read it again
    PaperError                  the person at the printer, or who set up what is printed
        PrinterError            the person at the printer: it cannot be reached
    JournalError                the administrator: stop, do not guess
        JournalFullError        the administrator: nothing is lost, but nothing can be recorded
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# Codes of manifests that are good for another configuration only.
OTHER_ACCOUNT = "other-account"  # with another access key
NO_ADDRESS = "no-address"  # the return address is still to be filled in: good for a trial
EXCERPT = 120  # characters of a line that are shown: a line can have 64 Ki of them


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a text, at a place, and what to write instead."""

    file: str
    line: int  # counted from 1
    column: int  # counted from 1
    key: str  # dotted, such as returnAddress.city; "" for the text as a whole
    problem: str
    remedy: str
    source: str = field(default="", repr=False)  # the offending line; "" where it may be a secret

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.file}:{self.line}:{self.column}: {key}{self.problem}{remedy}"

    def excerpt(self) -> str:
        """Return the fault with its line and a caret below the column, for a person to read."""
        if not self.source:
            return str(self)
        gutter = f"{self.line:>5} | "
        start = max(0, self.column - EXCERPT // 2) if len(self.source) > EXCERPT else 0
        caret = " " * (len(gutter) + self.column - 1 - start) + "^"
        return f"{self}\n{gutter}{self.source[start : start + EXCERPT]}\n{caret}"


class DriveprepError(Exception):
    """One sentence for the operator; `hint` is the next action.

    `code` names the kind of the error. It stays the same when the sentence is reworded, so that
    obstacles and programs can be compared by it.
    """

    code = "error"

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code or type(self).code


class DocumentError(DriveprepError):
    """A text has faults; all of them are here, in the order of the text."""

    code = "document"

    def __init__(
        self, message: str, faults: tuple[Fault, ...] = (), hint: str = "", code: str = ""
    ) -> None:
        super().__init__(message, hint, code)
        self.faults = faults


class ConfigError(DocumentError):
    """The configuration cannot be used. `files` are the files whose change may correct it."""

    code = "configuration"
    files: frozenset[Path] = frozenset()


class ManifestError(DocumentError):
    """A manifest cannot be used."""

    code = "manifest"


class DriveError(DriveprepError):
    """A drive cannot be prepared as it is."""

    code = "drive"


class DriveAbsentError(DriveError):
    """No drive is here, as far as can be seen: the usual state of a job that waits."""

    code = "drive-absent"


class ServiceError(DriveprepError):
    """The service, or the network path to it, did not do what was asked."""

    code = "service"


class RefusedError(ServiceError):
    """A 4xx response: the service did not act. `code` is the service's own error code."""

    code = "refused"


class ManifestRefusedError(RefusedError):
    """The service found a fault in the manifest."""


class CredentialsRefusedError(RefusedError):
    """The service does not accept the caller's credentials."""


class ClockRefusedError(RefusedError):
    """The service's clock and ours are too far apart."""


class JobRefusedError(RefusedError):
    """The service does not do this with that JobId."""


class RequestRefusedError(RefusedError):
    """The service could not read the request, or its error code is not known here."""


class TryLaterError(RefusedError):
    """The service asks for the request to be repeated later."""


class InDoubtError(ServiceError):
    """No usable response: the service may or may not have acted."""

    code = "in-doubt"


class UnreachableError(ServiceError):
    """The connection was never opened, so the service cannot have acted."""

    code = "unreachable"


class PoolError(DriveprepError):
    """The pool of several stations does not allow a step."""

    code = "pool"


class PoolAwayError(PoolError):
    """The pool's database does not answer, so nothing that needs it may be done."""

    code = "pool-away"


class SpoolError(DriveprepError):
    """A file or folder of the spool cannot be used; `errno` is the kernel's reason."""

    code = "spool"

    def __init__(self, message: str, hint: str = "", code: str = "", errno: int = 0) -> None:
        super().__init__(message, hint, code)
        self.errno = errno


class PaperError(DriveprepError):
    """A paper of a prepared job cannot be made or printed. The job itself is not affected."""

    code = "paper"


class PrinterError(PaperError):
    """A printer cannot be reached, and the same is true for the other papers that it prints."""

    code = "printer"


class StaleJobError(DriveprepError):
    """The job was withdrawn, or moved on, since the caller read it: read it again."""

    code = "stale"


class JournalError(DriveprepError):
    """The journal cannot be trusted or written: stop, do not guess."""

    code = "journal"


class JournalFullError(JournalError):
    """There is no room to record a step, so the step is not taken. Try again later."""

    code = "journal-full"
