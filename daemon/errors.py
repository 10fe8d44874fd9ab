"""Every error of driveprep, grouped by who has to act. Imports nothing of the package.

DriveprepError
    DocumentError               a text with positions has faults
        ConfigError             the administrator
        ManifestError           whoever dropped the manifest
    DriveError                  whoever plugged the drive in
        DriveAbsentError        nobody yet: the drive is not here
    ServiceError                the service, or the way there
        RefusedError            a 4xx answer: proof that nothing was made
            ManifestRefusedError        whoever dropped the manifest
            CredentialsRefusedError     the administrator
            ClockRefusedError           the administrator: the clock is wrong
            JobRefusedError             whoever named that JobId
            RequestRefusedError         the developers: a request the service cannot read
            TryLaterError               nobody: throttled, or the day's quota is spent
        InDoubtError            no usable answer: the service may or may not have acted
        UnreachableError        the connection was never opened: nothing was sent
    StaleJobError               nobody: the job moved on, look again
    JournalError                nobody: stop, do not guess
        JournalFullError        the administrator: nothing is lost, but nothing can be written down
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
        """The fault with its line and a caret below the column, for a person to read."""
        if not self.source:
            return str(self)
        gutter = f"{self.line:>5} | "
        start = max(0, self.column - EXCERPT // 2) if len(self.source) > EXCERPT else 0
        caret = " " * (len(gutter) + self.column - 1 - start) + "^"
        return f"{self}\n{gutter}{self.source[start : start + EXCERPT]}\n{caret}"


class DriveprepError(Exception):
    """One sentence for the operator; `hint` is the next action.

    `code` identifies the reason. It stays the same when the sentence is reworded.
    """

    default_code = "error"

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code or self.default_code


class DocumentError(DriveprepError):
    """A text has faults; all of them are here, in the order of the text."""

    default_code = "document"

    def __init__(self, message: str, faults: tuple[Fault, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.faults = faults


class ConfigError(DocumentError):
    """The configuration cannot be used."""

    default_code = "configuration"


class ManifestError(DocumentError):
    """A manifest cannot be used."""

    default_code = "manifest"


class DriveError(DriveprepError):
    """A drive cannot be prepared as it is."""

    default_code = "drive"


class DriveAbsentError(DriveError):
    """The drive is not here, as far as can be seen: the usual state of a job that waits."""

    default_code = "drive-absent"


class ServiceError(DriveprepError):
    """The service, or the way there, did not do what was asked."""

    default_code = "service"


class RefusedError(ServiceError):
    """A 4xx answer: the service did not act. `code` is its own word for the reason."""

    default_code = "refused"


class ManifestRefusedError(RefusedError):
    """The service found a fault in the manifest."""


class CredentialsRefusedError(RefusedError):
    """The service does not accept who is asking."""


class ClockRefusedError(RefusedError):
    """The service's clock and ours are too far apart."""


class JobRefusedError(RefusedError):
    """The service does not do this with that JobId."""


class RequestRefusedError(RefusedError):
    """The service could not read the request, or does not know the code's cause."""


class TryLaterError(RefusedError):
    """The service wants to be asked again later."""


class InDoubtError(ServiceError):
    """No usable answer: the service may or may not have acted."""

    default_code = "in-doubt"


class UnreachableError(ServiceError):
    """The connection was never opened, so the service cannot have acted."""

    default_code = "unreachable"


class StaleJobError(DriveprepError):
    """The job was withdrawn, or moved on, since the caller looked: look again."""

    default_code = "stale-job"


class JournalError(DriveprepError):
    """The journal cannot be trusted or written: stop, do not guess."""

    default_code = "journal"


class JournalFullError(JournalError):
    """There is no room to write a step down, so it is not taken. Try again when there is."""

    default_code = "journal-full"
