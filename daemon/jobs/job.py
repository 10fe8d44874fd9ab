"""The states of a job, and which may follow which. Opens no file and knows no service.

    (new) -> Pending -> Submitting -> Submitted <-> Signed
                ^  \\         |  \\
                |   +--------+---+-> Rejected, Ceded
                +------------+  request proved not accepted
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from daemon.errors import NO_ADDRESS
from daemon.system.printable import timestamp

Identities = Mapping[str, str | int | None]  # of a drive, by name, such as serial


@dataclass(frozen=True, slots=True)
class Artifact:
    """A paper that the service wants in the box, such as a customs form."""

    description: str
    url: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Nothing was sent, or what was sent is proved not accepted."""

    stamp: str  # of the manifest's file when it was last read, see spool.Found
    validated: bool = False  # the service has accepted it in a ValidateOnly call


@dataclass(frozen=True, slots=True)
class Submitting:
    """In doubt: the request is about to leave, or left, or arrived."""

    sent_at: float  # by the service's clock as far as known, seconds since the epoch
    endpoint: str
    access_key_id: str
    drive: Identities  # the identities of the drive it is for
    # By the service's clock: until then a request that another process or station has signed may
    # arrive. None: it was this one's own.
    arrives_until: float | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The service has the job; the drive may hold SIGNATURE or not."""

    job_id: str
    signature: str  # the text of the file
    shipping_address: str
    warning: str
    submitted_at: float  # seconds since the epoch
    drive: Identities
    artifact_list: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Signed:
    """SIGNATURE is on the drive, synced and read back."""

    job_id: str
    signature: str
    shipping_address: str
    warning: str
    submitted_at: float
    signed_at: float
    drive: Identities
    artifact_list: tuple[Artifact, ...] = ()
    mounted_at: float | None = None  # when its drive was first seen mounted; None: not recorded


@dataclass(frozen=True, slots=True)
class Rejected:
    """The manifest has a fault, found here or by the service."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ceded:
    """Another station of the pool holds the job: it signs, files and follows it."""

    station: str  # its name


State = Pending | Submitting | Submitted | Signed | Rejected | Ceded

FOLLOWS: dict[type[State], tuple[type[State], ...]] = {
    Pending: (Pending, Submitting, Rejected),
    # Submitting again: a request of another station of the pool may still arrive.
    Submitting: (Submitting, Pending, Submitted, Rejected, Ceded),
    # Submitted again: UpdateJob gave it another SIGNATURE. Rejected: ended before it was signed.
    Submitted: (Submitted, Signed, Rejected, Ceded),
    Signed: (Submitted, Ceded),  # Submitted: UpdateJob gave it another SIGNATURE
    Rejected: (),
    Ceded: (),
}


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a job is not moving now: one sentence, and what to do about it."""

    reason: str
    hint: str
    since: float  # seconds since the epoch
    attempts: int  # in a row that failed at the service; 0 where an event decides
    retry_at: float | None  # seconds since the epoch; None: at the next event that may matter
    is_absence: bool = False  # the drive is not here: the usual state of a job that waits
    code: str = ""  # of the error; it stays the same when the sentence is reworded

    def is_like(self, other: Obstacle | None) -> bool:
        """Return whether both have the same cause, whatever their sentences are.

        Obstacles recorded before there were codes are compared by their sentences.
        """
        if other is None:
            return False
        if self.code and other.code:
            return self.code == other.code
        return self.reason == other.reason


@dataclass(frozen=True, slots=True)
class Progress:
    """What the service last reported of a job; None where it reported nothing."""

    checked_at: float  # seconds since the epoch
    progress_code: str | None
    progress_message: str | None
    is_terminal: bool  # the service has finished the job: its deviceId may be used again
    location_code: str | None = None
    location_message: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    log_bucket: str | None = None
    log_key: str | None = None
    error_count: int | None = None
    # When each pair of both codes, such as "AtAWS/InProgress", was first reported.
    changes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shipment:
    """A person has given the drive to a carrier."""

    at: float  # seconds since the epoch
    carrier: str = ""
    tracking: str = ""  # the carrier's number


MANIFEST = "manifest"  # the code of what the manifest itself warns of; of an address: NO_ADDRESS


@dataclass(frozen=True, slots=True)
class Caution:
    """What may go wrong with a job, known before it does. It keeps the job from no step."""

    code: str  # stays the same when the text is reworded
    text: str  # "" in the worklist, where it is `is_own`
    hint: str = ""

    @property
    def is_own(self) -> bool:
        """Return whether the manifest itself warns of it; else the service has it against it."""
        return self.code in {MANIFEST, NO_ADDRESS}


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper that is to be printed. All times are in seconds since the epoch."""

    kind: str  # "slip" or "sticker"
    asked_at: float
    sent_at: float | None = None  # when its command was started, recorded before; None: it waits
    printed_at: float | None = None  # when its command had ended well
    obstacle: Obstacle | None = None

    @property
    def is_settled(self) -> bool:
        """Return whether nothing more is done for it: it is printed, or it may be."""
        return self.printed_at is not None or (self.sent_at is not None and bool(self.obstacle))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that the journal has not recorded yet."""

    device_id: str  # "" for a manifest that names none
    file_system: str
    name: str  # of the manifest's file in pending/
    sha256: str  # of the manifest as dropped; "" where it could not be read
    state: State
    since: float  # seconds since the epoch
    access_key_id: str = ""  # in the manifest; "" where it has none
    cautions: tuple[Caution, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One manifest on its way to a SIGNATURE."""

    number: int  # given by the journal
    device_id: str  # "" for a manifest that names none
    file_system: str
    name: str  # of the manifest's file in pending/
    sha256: str  # of the manifest as dropped; "" where it could not be read
    state: State
    since: float  # when the state began, seconds since the epoch
    filed: bool = False  # the manifest has left pending/ for its last place
    obstacle: Obstacle | None = None
    progress: Progress | None = None  # None: never asked for
    eject: str | None = None  # how the eject ended, one sentence; None: it was not tried
    shipment: Shipment | None = None  # None: the drive is still here, as far as is known
    is_dismissed: bool = False  # a rejection that a person, or another manifest, has dealt with
    access_key_id: str = ""  # in the manifest; "" where it has none
    cautions: tuple[Caution, ...] = ()
    is_as_it_is: bool = False  # a person has decided that its drive need not be empty
    claim: str = ""  # in the pool, of its last CreateJob; "": none, or the pool knows all of it
    generation: int = 0  # of the claim
    papers: tuple[Paper, ...] = ()  # that are or were to be printed

    @property
    def is_off_the_list(self) -> bool:
        """Return whether there is nothing left to do for it here."""
        is_done = self.is_dismissed or self.shipment is not None or isinstance(self.state, Ceded)
        return self.filed and is_done

    @property
    def is_closed(self) -> bool:
        """Return whether the service has finished the job."""
        return self.progress is not None and self.progress.is_terminal

    @property
    def mark(self) -> str:
        """Return what distinguishes the reason of its rejection from others for the same name."""
        return f"driveprep, entry {self.number}, {timestamp(self.since)}"

    @property
    def job_id(self) -> str:
        """Return the service's JobId; "" as long as it is not known."""
        return self.state.job_id if isinstance(self.state, Submitted | Signed) else ""


def drive_of(job: Job) -> Identities:
    """Return what identifies the drive that a job was made for; nothing before that."""
    match job.state:
        case Submitting(drive=drive) | Submitted(drive=drive) | Signed(drive=drive):
            return drive
    return {}


def ended_as(progress_code: object) -> str:
    """Return what a job is called that the service has ended before its time; else ""."""
    return {"Canceled": "cancelled", "Expired": "expired"}.get(str(progress_code), "")


def signed(
    state: Submitted, signed_at: float, drive: Identities, mounted_at: float | None = None
) -> Signed:
    """Return the state that follows once SIGNATURE is on the drive, with its identities then."""
    same = {one.name: getattr(state, one.name) for one in fields(state)}
    drive = {**state.drive, **drive}
    return Signed(**same | {"drive": drive}, signed_at=signed_at, mounted_at=mounted_at)


def unsigned(state: Signed) -> Submitted:
    """Return the state before SIGNATURE was on the drive."""
    return Submitted(**{one.name: getattr(state, one.name) for one in fields(Submitted)})


def about(job: Job) -> dict[str, str]:
    """Return the fields of a log line about a job."""
    state = type(job.state).__name__
    bay = str(drive_of(job).get("bay") or "")
    return {"bay": bay, "device_id": job.device_id, "job_id": job.job_id, "state": state}


def check_step(old: State, new: State) -> None:
    """Raise RuntimeError for a step that only a bug can take."""
    if type(new) not in FOLLOWS[type(old)]:
        raise RuntimeError(f"{type(old).__name__} is never followed by {type(new).__name__}")
