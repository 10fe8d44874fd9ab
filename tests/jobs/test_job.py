"""The states of a job, and which may follow which."""

import dataclasses
from itertools import product

import pytest

from daemon.jobs.deadlines import is_late
from daemon.jobs.job import (
    FOLLOWS,
    Ceded,
    Job,
    Pending,
    Progress,
    Rejected,
    Signed,
    Submitted,
    Submitting,
    about,
    check_step,
)

STATES = {
    "pending": Pending("1.2.3.4"),
    "submitting": Submitting(1.0, "https://service", "AKIA", {"serial": "WX11"}),
    "submitted": Submitted("K7M3X", "text", "address", "", 1.0, {}),
    "signed": Signed("K7M3X", "text", "address", "", 1.0, 2.0, {}),
    "rejected": Rejected("fileSystem: expected NTFS"),
    "ceded": Ceded("bench-2"),
}
STEPS = {
    ("pending", "pending"),  # read again, or found valid
    ("pending", "submitting"),
    ("pending", "rejected"),
    ("submitting", "submitting"),  # another station's request may still arrive
    ("submitting", "ceded"),  # to another station of the pool
    ("submitted", "ceded"),
    ("signed", "ceded"),
    ("submitting", "pending"),  # proved not accepted
    ("submitting", "submitted"),
    ("submitting", "rejected"),
    ("submitted", "submitted"),  # UpdateJob gave it another SIGNATURE
    ("submitted", "signed"),
    ("submitted", "rejected"),  # ended at the service before its drive came back
    ("signed", "submitted"),  # UpdateJob gave it another SIGNATURE
}


def job(state):
    """A job in that state."""
    return Job(1, "HD001", "NTFS", "a.yml", "ab12", state, 1.0)


@pytest.mark.parametrize(("old", "new"), [*product(STATES, STATES)])
def test_steps(old, new):
    """The steps of the design may be taken, and no other: there is no way back to a second job."""
    if (old, new) in STEPS:
        check_step(STATES[old], STATES[new])
    else:
        with pytest.raises(RuntimeError, match="is never followed by"):
            check_step(STATES[old], STATES[new])


def test_every_state_has_its_steps():
    """No state is missing in the table."""
    assert set(FOLLOWS) == {type(state) for state in STATES.values()}


def test_nothing_leads_from_submitted_to_another_job():
    """Once the service has the job, no chain of steps sends another request for it."""
    reached, ways = set(), [Submitted]
    while ways:
        reached.add(state := ways.pop())
        ways += [after for after in FOLLOWS[state] if after not in reached]

    assert reached == {Submitted, Signed, Rejected, Ceded}


@pytest.mark.parametrize("state", STATES)
def test_job_id_is_known_from_the_answer_on(state):
    """A job has a JobId once the service has given it one."""
    job_id = "K7M3X" if state in {"submitted", "signed"} else ""

    assert job(STATES[state]).job_id == job_id
    fields = {"bay": "", "device_id": "HD001", "job_id": job_id, "state": state.capitalize()}
    assert about(job(STATES[state])) == fields


@pytest.mark.parametrize(
    ("progress", "is_closed"),
    [
        (None, False),
        (Progress(1.0, None, None, is_terminal=False), False),
        (Progress(1.0, "Complete", None, is_terminal=True), True),
    ],
)
def test_closed_is_what_the_service_is_done_with(progress, is_closed):
    """A job is closed by a terminal word of the service; one never asked about is open."""
    assert dataclasses.replace(job(STATES["signed"]), progress=progress).is_closed == is_closed


DAY = 24 * 3600


@pytest.mark.parametrize(
    ("heard_after", "progress", "expected"),
    [
        (23 * DAY, {}, False),
        (23 * DAY + 1, {}, True),
        (29 * DAY, {"location_code": "NotReceived"}, True),
        (29 * DAY, {"location_code": "AtAWS"}, False),
        (29 * DAY, {"is_terminal": True}, False),
    ],
)
def test_late_is_a_drive_that_has_not_arrived_in_the_last_week(heard_after, progress, expected):
    """A job expires 30 days after it was made; the service's last report counts."""
    state = STATES["signed"]
    heard = {"progress_code": "Pending", "progress_message": None, "is_terminal": False} | progress
    late = dataclasses.replace(
        job(state), progress=Progress(state.submitted_at + heard_after, **heard)
    )

    assert is_late(late) is expected
    assert not is_late(dataclasses.replace(late, progress=None))
    assert not is_late(dataclasses.replace(late, state=STATES["submitting"]))


@pytest.mark.parametrize("state", STATES)
def test_states_never_change(state):
    """A new state is a new value."""
    field = dataclasses.fields(STATES[state])[0].name

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(STATES[state], field, "x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        job(STATES[state]).name = "x"
