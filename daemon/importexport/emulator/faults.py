"""Faults that the emulator commits on request, so that a client can be tested with them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

# What happens to a request, and whether its operation is done all the same.
KINDS = {
    "delay": True,  # the answer comes `seconds` later, the operation is done first
    "refuse": False,  # connection reset before the request is read, for any operation
    "cut-before": False,  # connection reset after the request is read
    "cut-after": True,
    "truncate": True,  # half of the answer's body, then the end
    "500-before": False,
    "500-after": True,
    "503": False,
    "error": False,  # ErrorResponse with `code`, `message`, `status`
    "html": False,  # 200 and a captive portal's page
    "redirect": False,  # 302 to the same captive portal
    "entity-bomb": True,  # 200 and XML with entities that multiply
    "hang": False,  # no answer until the client goes away
    "hang-after": True,
    "drip": True,  # headers without end, a letter each `seconds`
}


@dataclass(frozen=True, slots=True)
class ServiceFault:
    """One kind of fault. Raises ValueError for a kind that there is not, and wrong types."""

    kind: str
    operation: str = "*"  # "*" is any
    times: int | None = 1  # how many requests it strikes; None is every one
    seconds: float = 0.0
    code: str = "InternalFailure"
    message: str = "The emulator was asked to refuse."
    status: int = 400

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(KINDS)}")
        numbers = (1 if self.times is None else self.times, self.seconds, self.status)
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError("times, seconds and status are numbers (times may be null)")

    @property
    def is_done(self) -> bool:
        """Whether the operation is carried out in spite of the fault."""
        return KINDS[self.kind]


class Faults:
    """The faults to come, in the order of the requests. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[ServiceFault] = []

    def add(self, kind: str, operation: str = "*", **details: float | str | None) -> None:
        """Commit this fault at the next requests. Details: see ServiceFault."""
        fault = ServiceFault(kind, operation, **details)  # type: ignore[arg-type] # its own fields
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Commit no more faults."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> tuple[ServiceFault, ...]:
        """The faults still to be committed."""
        with self._lock:
            return tuple(self._faults)

    def take(self, operation: str, *, is_read: bool) -> ServiceFault | None:
        """The fault for this request, counted down; before it `is_read` only `refuse` strikes."""
        with self._lock:
            for number, fault in enumerate(self._faults):
                is_meant = fault.operation in {"*", operation} or not is_read
                if is_meant and (fault.kind != "refuse") == is_read:
                    self._count_down(number, fault)
                    return fault
        return None

    def _count_down(self, number: int, fault: ServiceFault) -> None:
        if fault.times is not None and fault.times <= 1:
            del self._faults[number]
        elif fault.times is not None:
            self._faults[number] = replace(fault, times=fault.times - 1)
